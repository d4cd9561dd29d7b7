package contract

import (
	"fmt"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// TestRequestSizeIsExact: --max-request-bytes bounds the message that etcd would log, to the byte: the request in its field, and a header
// with a request id. The id's varint is longer for some members than for others, as its highest bits are the lowest of the member's id.
// Leases are left out: with a limit that a grant could reach, etcd cannot log its own first entries and never serves.
func TestRequestSizeIsExact(t *testing.T) {
	const limit = 4000
	f := setup(t, fmt.Sprintf("--max-request-bytes=%d", limit))
	f.server.WaitSettled()
	members, err := f.Cluster.MemberList(f.ctx, &pb.MemberListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	member := members.Members[0].ID
	now := uint64(time.Now().UnixMilli()) & (1<<40 - 1)
	id := member<<48 | now<<8
	size := func(request proto.Message) int {
		message := &pb.InternalRaftRequest{Header: &pb.RequestHeader{ID: id}}
		switch q := request.(type) {
		case *pb.PutRequest:
			message.Put = q
		case *pb.DeleteRangeRequest:
			message.DeleteRange = q
		case *pb.TxnRequest:
			message.Txn = q
		default:
			t.Fatalf("no field for %T", request)
		}
		return proto.Size(message)
	}
	t.Logf("member %x: an id of %d bytes", member, protowire.SizeVarint(id))

	bytesOf := func(n int) []byte { return make([]byte, n) }
	for name, c := range map[string]struct {
		request func(n int) proto.Message
		call    func(proto.Message) error
	}{
		"put a value": {
			func(n int) proto.Message { return &pb.PutRequest{Key: []byte("k"), Value: bytesOf(n)} },
			func(q proto.Message) error { return second(f.KV.Put(f.ctx, q.(*pb.PutRequest))) },
		},
		"put a key": {
			func(n int) proto.Message { return &pb.PutRequest{Key: bytesOf(n), PrevKv: true} },
			func(q proto.Message) error { return second(f.KV.Put(f.ctx, q.(*pb.PutRequest))) },
		},
		"delete": {
			func(n int) proto.Message { return &pb.DeleteRangeRequest{Key: bytesOf(n)} },
			func(q proto.Message) error { return second(f.KV.DeleteRange(f.ctx, q.(*pb.DeleteRangeRequest))) },
		},
		"txn": {
			func(n int) proto.Message {
				return &pb.TxnRequest{
					Compare: []*pb.Compare{{Key: []byte("k"), Target: pb.Compare_VERSION, TargetUnion: &pb.Compare_Version{Version: 9}}},
					Success: []*pb.RequestOp{putOp("a", "b"), op(&pb.PutRequest{Key: []byte("k"), Value: bytesOf(n)})},
				}
			},
			func(q proto.Message) error { return second(f.KV.Txn(f.ctx, q.(*pb.TxnRequest))) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := limit
			for size(c.request(n)) > limit {
				n--
			}
			want(t, "size of the largest", size(c.request(n)), limit)
			if err := c.call(c.request(n)); err != nil {
				t.Errorf("%d bytes: %v", limit, err)
			}
			wantError(t, c.call(c.request(n+1)), codes.InvalidArgument, "etcdserver: request is too large")
		})
	}
}
