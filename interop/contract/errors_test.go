package contract

import (
	"context"
	"errors"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"vetch/interop/harness"
)

// TestErrors is the table of errors that a single member without authentication can answer with, code and text exact.
func TestErrors(t *testing.T) {
	f := setup(t)
	f.grant(5, 1000)
	for range 5 {
		f.put("k", "v") // up to revision 6
	}
	f.compact(3)
	k := []byte("k")
	rng := func(q *pb.RangeRequest) error { _, err := f.KV.Range(f.ctx, q); return err }
	put := func(q *pb.PutRequest) error { _, err := f.KV.Put(f.ctx, q); return err }
	txn := func(ops ...*pb.RequestOp) error {
		_, err := f.KV.Txn(f.ctx, &pb.TxnRequest{Success: ops})
		return err
	}
	compact := func(rev int64) error {
		_, err := f.KV.Compact(f.ctx, &pb.CompactionRequest{Revision: rev})
		return err
	}
	grant := func(id, ttl int64) error {
		_, err := f.Lease.LeaseGrant(f.ctx, &pb.LeaseGrantRequest{ID: id, TTL: ttl})
		return err
	}
	hashKV := func(rev int64) error {
		_, err := f.Maintenance.HashKV(f.ctx, &pb.HashKVRequest{Revision: rev})
		return err
	}
	del := func(q *pb.DeleteRangeRequest) error { _, err := f.KV.DeleteRange(f.ctx, q); return err }
	const (
		noKey     = "etcdserver: key is not provided"
		notFound  = "etcdserver: key not found"
		value     = "etcdserver: value is provided"
		lease     = "etcdserver: lease is provided"
		sort      = "etcdserver: invalid sort option"
		compacted = "etcdserver: mvcc: required revision has been compacted"
		future    = "etcdserver: mvcc: required revision is a future revision"
		noLease   = "etcdserver: requested lease not found"
		tooLarge  = "etcdserver: request is too large"
	)
	for _, c := range []struct {
		name string
		err  error
		code codes.Code
		text string
	}{
		{"range without a key", rng(&pb.RangeRequest{}), codes.InvalidArgument, noKey},
		{"put without a key", put(&pb.PutRequest{}), codes.InvalidArgument, noKey},
		{"delete without a key", del(&pb.DeleteRangeRequest{}), codes.InvalidArgument, noKey},
		{"put without a key in a txn", txn(putOp("", "v")), codes.InvalidArgument, noKey},
		{"range without a key in a txn", txn(op(&pb.RangeRequest{})), codes.InvalidArgument, noKey},
		{"delete without a key in a txn", txn(op(&pb.DeleteRangeRequest{})), codes.InvalidArgument, noKey},
		{"range without a key in a nested txn", txn(op(&pb.TxnRequest{Failure: []*pb.RequestOp{op(&pb.RangeRequest{})}})), codes.InvalidArgument, noKey},
		{"compare without a key", txn(op(&pb.TxnRequest{Compare: []*pb.Compare{{}}})), codes.InvalidArgument, noKey},
		{"empty operation", txn(&pb.RequestOp{}), codes.InvalidArgument, notFound},
		{"ignore_value of nothing", put(&pb.PutRequest{Key: []byte("x"), IgnoreValue: true}), codes.InvalidArgument, notFound},
		{"ignore_lease of nothing", put(&pb.PutRequest{Key: []byte("x"), IgnoreLease: true}), codes.InvalidArgument, notFound},
		{"ignore_value with a value", put(&pb.PutRequest{Key: k, Value: k, IgnoreValue: true}), codes.InvalidArgument, value},
		{"ignore_lease with a lease", put(&pb.PutRequest{Key: k, Lease: 5, IgnoreLease: true}), codes.InvalidArgument, lease},
		{"put with an unknown lease", put(&pb.PutRequest{Key: k, Lease: 6}), codes.NotFound, noLease},
		{"put without a key and with an unknown lease", put(&pb.PutRequest{Lease: 6}), codes.InvalidArgument, noKey},
		{"sort order", rng(&pb.RangeRequest{Key: k, SortOrder: 9}), codes.InvalidArgument, sort},
		{"sort target", rng(&pb.RangeRequest{Key: k, SortTarget: 9}), codes.InvalidArgument, sort},
		{"sort target in a txn", txn(op(&pb.RangeRequest{Key: k, SortTarget: -1})), codes.InvalidArgument, sort},
		{"range at a compacted revision", rng(&pb.RangeRequest{Key: k, Revision: 2}), codes.OutOfRange, compacted},
		{"serializable, too", rng(&pb.RangeRequest{Key: k, Revision: 2, Serializable: true}), codes.OutOfRange, compacted},
		{"range in a txn at a compacted revision", txn(op(&pb.RangeRequest{Key: k, Revision: 2})), codes.OutOfRange, compacted},
		{"and in one that writes", txn(putOp("y", ""), op(&pb.RangeRequest{Key: k, Revision: 2})), codes.OutOfRange, compacted},
		{"range in the future", rng(&pb.RangeRequest{Key: k, Revision: 7}), codes.OutOfRange, future},
		{"count in the future", rng(&pb.RangeRequest{Key: k, Revision: 7, CountOnly: true}), codes.OutOfRange, future},
		{"compact again", compact(3), codes.OutOfRange, compacted},
		{"compact below", compact(-1), codes.OutOfRange, compacted},
		{"compact in the future", compact(7), codes.OutOfRange, future},
		{"hash at a compacted revision", hashKV(2), codes.OutOfRange, compacted},
		{"hash in the future", hashKV(7), codes.OutOfRange, future},
		{"lease in use", grant(5, 10), codes.FailedPrecondition, "etcdserver: lease already exists"},
		{"lease too long", grant(6, 9_000_000_001), codes.OutOfRange, "etcdserver: too large lease TTL"},
		{"revoke of an unknown lease", second(f.Lease.LeaseRevoke(f.ctx, &pb.LeaseRevokeRequest{ID: 6})), codes.NotFound, noLease},
		{"value of the size limit", put(&pb.PutRequest{Key: k, Value: make([]byte, 1572864)}), codes.InvalidArgument, tooLarge},
		{"message above the receive limit", put(&pb.PutRequest{Key: k, Value: make([]byte, 2097152)}), codes.ResourceExhausted,
			"grpc: received message larger than max (2097160 vs. 2097152)"},
		{"health of a service", second(f.Health.Check(f.ctx, &healthpb.HealthCheckRequest{Service: "etcdserverpb.KV"})), codes.NotFound, "unknown service"},
	} {
		t.Run(c.name, func(t *testing.T) { wantError(t, c.err, c.code, c.text) })
	}
	want(t, "revision after all these", f.revision(), 6)
}

func second[V any](_ V, err error) error { return err }

// TestRequestSizeBoundary: the limit is on the whole encoded proposal, so a value a little below it passes.
func TestRequestSizeBoundary(t *testing.T) {
	f := setup(t)
	for name, c := range map[string]struct {
		size int
		ok   bool
	}{"below": {1572864 - 512, true}, "at": {1572864, false}} {
		_, err := f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte("k"), Value: make([]byte, c.size)})
		if c.ok && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !c.ok {
			wantError(t, err, codes.InvalidArgument, "etcdserver: request is too large")
		}
	}
	// The sum of a transaction counts.
	half := strings.Repeat("x", 900_000)
	_, err := f.KV.Txn(f.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{putOp("a", half), putOp("b", half)}})
	wantError(t, err, codes.InvalidArgument, "etcdserver: request is too large")
	// Answers may be larger than requests.
	f.put("big/1", half)
	f.put("big/2", half)
	f.put("big/3", half)
	r := f.get(&pb.RangeRequest{Key: []byte("big/"), RangeEnd: []byte("big0")})
	want(t, "keys in an answer of 2.7 MB", len(r.Kvs), 3)
}

func TestMaxRequestBytesFlag(t *testing.T) {
	f := setup(t, "--max-request-bytes=10000")
	if _, err := f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 9000)}); err != nil {
		t.Error(err)
	}
	_, err := f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 10000)})
	wantError(t, err, codes.InvalidArgument, "etcdserver: request is too large")
	_, err = f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 540_000)})
	wantError(t, err, codes.ResourceExhausted, "grpc: received message larger than max (540007 vs. 534288)")
}

// TestUnknownAlarmAction cannot be proved against etcd, whose process ends with a nil dereference. The server under test must not.
func TestUnknownAlarmAction(t *testing.T) {
	if target, err := harness.UnderTest(); err != nil || target == harness.Etcd {
		t.Skip("etcd's process ends when it meets an unknown alarm action", err)
	}
	f := setup(t)
	_, err := f.Maintenance.Alarm(f.ctx, &pb.AlarmRequest{Action: 9})
	want(t, "code", status.Code(err), codes.InvalidArgument)
	want(t, "still alive", f.put("k", "v").Header.Revision, 2)
}

// TestClientErrors: clientv3 turns code and text back into its own error values, which programs compare with.
func TestClientErrors(t *testing.T) {
	f := setup(t)
	c := f.server.Client()
	for range 3 {
		f.put("k", "v")
	}
	f.compact(3)
	for name, pair := range map[string][2]error{
		"compacted":       {second(c.Get(f.ctx, "k", clientv3.WithRev(2))), rpctypes.ErrCompacted},
		"future":          {second(c.Get(f.ctx, "k", clientv3.WithRev(9))), rpctypes.ErrFutureRev},
		"lease not found": {second(c.Revoke(f.ctx, 9)), rpctypes.ErrLeaseNotFound},
		"empty key":       {second(c.Put(f.ctx, "", "v")), rpctypes.ErrEmptyKey},
	} {
		if !errors.Is(pair[0], pair[1]) {
			t.Errorf("%s: got %v", name, pair[0])
		}
	}
}

// TestMetadata: what clients send along must not disturb.
func TestMetadata(t *testing.T) {
	f := setup(t)
	ctx := metadata.NewOutgoingContext(f.ctx, metadata.Pairs("client-api-version", "3.7", "hasleader", "true", "token", "ignored", "authorization", "Bearer ignored"))
	if _, err := f.KV.Put(ctx, &pb.PutRequest{Key: []byte("k")}); err != nil {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.KV.Put(canceled, &pb.PutRequest{Key: []byte("k")})
	wantError(t, err, codes.Canceled, "context canceled")
}
