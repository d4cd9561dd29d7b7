package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"vetch/interop/harness"
)

// fixture is a fresh server with a plain gRPC connection.
type fixture struct {
	*testing.T
	*harness.Raw
	server *harness.Server
	ctx    context.Context
}

func setup(t *testing.T, flags ...string) *fixture {
	t.Parallel()
	s := harness.Start(t, flags...)
	return &fixture{T: t, Raw: s.Dial(), server: s, ctx: harness.Context(t)}
}

// must returns v, or ends the test.
func must[V any](t testing.TB, v V, err error) V {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (f *fixture) put(key, value string) *pb.PutResponse {
	f.Helper()
	r, err := f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte(key), Value: []byte(value)})
	return must(f, r, err)
}

func (f *fixture) get(q *pb.RangeRequest) *pb.RangeResponse {
	f.Helper()
	r, err := f.KV.Range(f.ctx, q)
	return must(f, r, err)
}

func (f *fixture) txn(q *pb.TxnRequest) *pb.TxnResponse {
	f.Helper()
	r, err := f.KV.Txn(f.ctx, q)
	return must(f, r, err)
}

func (f *fixture) grant(id, ttl int64) *pb.LeaseGrantResponse {
	f.Helper()
	r, err := f.Lease.LeaseGrant(f.ctx, &pb.LeaseGrantRequest{ID: id, TTL: ttl})
	return must(f, r, err)
}

func (f *fixture) revision() int64 {
	f.Helper()
	return f.get(&pb.RangeRequest{Key: []byte("\x00none")}).Header.Revision
}

func (f *fixture) compact(revision int64) {
	f.Helper()
	if _, err := f.KV.Compact(f.ctx, &pb.CompactionRequest{Revision: revision, Physical: true}); err != nil {
		f.Fatal(err)
	}
}

// wantError is the exact code and text of an error.
func wantError(t testing.TB, err error, code codes.Code, text string) {
	t.Helper()
	s := status.Convert(err)
	if err == nil || s.Code() != code || s.Message() != text {
		t.Errorf("got %v %q, want %v %q", s.Code(), s.Message(), code, text)
	}
}

func putOp(key, value string) *pb.RequestOp {
	return op(&pb.PutRequest{Key: []byte(key), Value: []byte(value)})
}

// op wraps a request for a transaction.
func op(request any) *pb.RequestOp {
	switch q := request.(type) {
	case *pb.PutRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: q}}
	case *pb.RangeRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: q}}
	case *pb.DeleteRangeRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: q}}
	case *pb.TxnRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: q}}
	default:
		panic(fmt.Sprintf("no request op for %T", request))
	}
}

// brief is key=value@mod pairs, or without values for keys_only.
func brief(kvs []*mvccpb.KeyValue) string {
	var parts []string
	for _, kv := range kvs {
		parts = append(parts, fmt.Sprintf("%s=%s@%d", kv.Key, kv.Value, kv.ModRevision))
	}
	return strings.Join(parts, " ")
}

func want[V comparable](t testing.TB, what string, got, want V) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

type kv = mvccpb.KeyValue

func drain(t testing.TB, stream pb.KV_RangeStreamClient) []*pb.RangeResponse {
	t.Helper()
	var chunks []*pb.RangeResponse
	for {
		c, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return chunks
		}
		if err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, c.RangeResponse)
	}
}

// line is its arguments with a space between each.
func line(args ...any) string { return strings.TrimSuffix(fmt.Sprintln(args...), "\n") }
