package contract

import (
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

func compare(key string, result pb.Compare_CompareResult, union any) *pb.Compare {
	c := &pb.Compare{Key: []byte(key), Result: result}
	switch u := union.(type) {
	case *pb.Compare_Version:
		c.Target, c.TargetUnion = pb.Compare_VERSION, u
	case *pb.Compare_CreateRevision:
		c.Target, c.TargetUnion = pb.Compare_CREATE, u
	case *pb.Compare_ModRevision:
		c.Target, c.TargetUnion = pb.Compare_MOD, u
	case *pb.Compare_Value:
		c.Target, c.TargetUnion = pb.Compare_VALUE, u
	case *pb.Compare_Lease:
		c.Target, c.TargetUnion = pb.Compare_LEASE, u
	}
	return c
}

func TestCompare(t *testing.T) {
	f := setup(t)
	f.grant(5, 1000)
	f.put("a", "m")                                                                                            // 2
	f.put("a", "m")                                                                                            // 3
	if _, err := f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte("b"), Value: []byte("n"), Lease: 5}); err != nil { // 4
		t.Fatal(err)
	}
	const eq, ne, gt, lt = pb.Compare_EQUAL, pb.Compare_NOT_EQUAL, pb.Compare_GREATER, pb.Compare_LESS
	value := func(v string) any { return &pb.Compare_Value{Value: []byte(v)} }
	ranged := func(c *pb.Compare, end string) *pb.Compare { c.RangeEnd = []byte(end); return c }
	for i, c := range []struct {
		compare *pb.Compare
		holds   bool
	}{
		{compare("a", eq, &pb.Compare_Version{Version: 2}), true},
		{compare("a", gt, &pb.Compare_Version{Version: 2}), false},
		{compare("a", eq, &pb.Compare_CreateRevision{CreateRevision: 2}), true},
		{compare("a", eq, &pb.Compare_ModRevision{ModRevision: 3}), true},
		{compare("a", lt, &pb.Compare_ModRevision{ModRevision: 4}), true},
		{compare("a", ne, &pb.Compare_ModRevision{ModRevision: 3}), false},
		{compare("a", eq, value("m")), true},
		{compare("a", gt, value("l")), true},
		{compare("a", lt, value("ma")), true},
		{compare("b", eq, &pb.Compare_Lease{Lease: 5}), true},
		{compare("a", eq, &pb.Compare_Lease{Lease: 0}), true},
		// An absent key: numbers are zero, and no comparison of its value holds.
		{compare("x", eq, &pb.Compare_Version{Version: 0}), true},
		{compare("x", eq, &pb.Compare_ModRevision{ModRevision: 0}), true},
		{compare("x", lt, &pb.Compare_CreateRevision{CreateRevision: 1}), true},
		{compare("x", eq, &pb.Compare_Lease{Lease: 0}), true},
		{compare("x", eq, value("")), false},
		{compare("x", ne, value("y")), false},
		{compare("x", gt, value("")), false},
		{compare("x", lt, value("y")), false},
		// A range: all keys must satisfy it; without keys it is one absent key.
		{ranged(compare("a", gt, &pb.Compare_Version{Version: 0}), "c"), true},
		{ranged(compare("a", eq, &pb.Compare_Version{Version: 2}), "c"), false},
		{ranged(compare("x", eq, &pb.Compare_Version{Version: 0}), "z"), true},
		{ranged(compare("x", ne, value("q")), "z"), false},
		{ranged(compare("a", gt, value("l")), "\x00"), true},
		// A union that is absent compares with zero.
		{&pb.Compare{Key: []byte("x"), Target: pb.Compare_MOD}, true},
		{&pb.Compare{Key: []byte("a"), Target: pb.Compare_MOD}, false},
	} {
		r := f.txn(&pb.TxnRequest{Compare: []*pb.Compare{c.compare}})
		want(t, fmt.Sprintf("%d: %v", i, c.compare), r.Succeeded, c.holds)
	}
}

func TestTxnRevisions(t *testing.T) {
	f := setup(t)
	f.put("old", "1") // 2
	r := f.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
		op(&pb.RangeRequest{Key: []byte("a")}),
		putOp("a", "1"),
		op(&pb.RangeRequest{Key: []byte("a")}),
		op(&pb.TxnRequest{Success: []*pb.RequestOp{putOp("b", "2"), op(&pb.DeleteRangeRequest{Key: []byte("old"), PrevKv: true})}}),
		op(&pb.DeleteRangeRequest{Key: []byte("none")}),
	}})
	want(t, "one revision for all changes", r.Header.Revision, 3)
	inner := func(h *pb.ResponseHeader) string {
		if h == nil {
			return "absent"
		}
		return fmt.Sprint(h.ClusterId, h.MemberId, h.RaftTerm, h.Revision)
	}
	want(t, "range before the first change", inner(r.Responses[0].GetResponseRange().Header), "0 0 0 2")
	want(t, "put", inner(r.Responses[1].GetResponsePut().Header), "0 0 0 3")
	want(t, "range after it", inner(r.Responses[2].GetResponseRange().Header), "0 0 0 3")
	want(t, "range sees the put", brief(r.Responses[2].GetResponseRange().Kvs), "a=1@3")
	nested := r.Responses[3].GetResponseTxn()
	want(t, "nested header", inner(nested.Header), "0 0 0 0")
	want(t, "nested delete", brief(nested.Responses[1].GetResponseDeleteRange().PrevKvs), "old=1@2")
	want(t, "delete of nothing", inner(r.Responses[4].GetResponseDeleteRange().Header), "0 0 0 3")
	want(t, "both puts", brief(f.get(&pb.RangeRequest{Key: everything, RangeEnd: everything}).Kvs), "a=1@3 b=2@3")

	empty := f.txn(&pb.TxnRequest{})
	want(t, "empty", line(empty.Succeeded, empty.Header.Revision), "true 3")
	nothing := f.txn(&pb.TxnRequest{Success: []*pb.RequestOp{op(&pb.DeleteRangeRequest{Key: []byte("none")})}})
	want(t, "nothing changed", nothing.Header.Revision, 3)
}

// TestTxnLooksBeforeItWrites: comparisons, nested ones too, and the checks of the operations see the state before the transaction.
func TestTxnLooksBeforeItWrites(t *testing.T) {
	f := setup(t)
	f.put("k", "old") // 2
	r := f.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
		putOp("k", "new"),
		op(&pb.TxnRequest{
			Compare: []*pb.Compare{compare("k", pb.Compare_EQUAL, &pb.Compare_Value{Value: []byte("old")})},
			Success: []*pb.RequestOp{putOp("took", "success")},
			Failure: []*pb.RequestOp{putOp("took", "failure")},
		}),
	}})
	want(t, "nested comparison", r.Responses[1].GetResponseTxn().Succeeded, true)

	for name, c := range map[string]struct {
		op   *pb.RequestOp
		code codes.Code
		text string
	}{
		"ignore_value of a key put just before": {op(&pb.PutRequest{Key: []byte("fresh"), IgnoreValue: true}), codes.InvalidArgument, "etcdserver: duplicate key given in txn request"},
		"ignore_value of a missing key":         {op(&pb.PutRequest{Key: []byte("none"), IgnoreValue: true}), codes.InvalidArgument, "etcdserver: key not found"},
		"range at the revision it will have":    {op(&pb.RangeRequest{Key: []byte("k"), Revision: 4}), codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"},
		"missing lease":                         {op(&pb.PutRequest{Key: []byte("leased"), Lease: 99}), codes.NotFound, "etcdserver: requested lease not found"},
	} {
		_, err := f.KV.Txn(f.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{putOp("fresh", "1"), c.op}})
		t.Log(name)
		wantError(t, err, c.code, c.text)
		want(t, name+": nothing was written", f.get(&pb.RangeRequest{Key: []byte("fresh")}).Count, 0)
	}
	// In the branch of a nested transaction the duplicate check does not see the put, and the check of the operation refuses it.
	_, err := f.KV.Txn(f.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{
		op(&pb.TxnRequest{Success: []*pb.RequestOp{putOp("fresh", "1")}}),
		op(&pb.PutRequest{Key: []byte("gone"), IgnoreLease: true}),
	}})
	wantError(t, err, codes.InvalidArgument, "etcdserver: key not found")
	want(t, "revision", f.revision(), 3)

	// The branch that does not run is not checked.
	ok := f.txn(&pb.TxnRequest{Failure: []*pb.RequestOp{op(&pb.PutRequest{Key: []byte("none"), IgnoreValue: true})}})
	want(t, "unused branch", ok.Succeeded, true)
}

func TestTxnDuplicateKeys(t *testing.T) {
	f := setup(t)
	del := func(key, end string) *pb.RequestOp {
		return op(&pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)})
	}
	nest := func(success, failure []*pb.RequestOp) *pb.RequestOp {
		return op(&pb.TxnRequest{Success: success, Failure: failure})
	}
	ops := func(o ...*pb.RequestOp) []*pb.RequestOp { return o }
	for name, c := range map[string]struct {
		ops     []*pb.RequestOp
		refused bool
	}{
		"put, put":                        {ops(putOp("a", ""), putOp("a", "")), true},
		"put, delete":                     {ops(putOp("a", ""), del("a", "")), true},
		"delete of a range, put in it":    {ops(del("a", "c"), putOp("b", "")), true},
		"put, nested put":                 {ops(putOp("a", ""), nest(ops(putOp("a", "")), nil)), true},
		"nested delete, put":              {ops(nest(ops(del("a", "c")), nil), putOp("b", "")), true},
		"then and else of one nested txn": {ops(nest(ops(putOp("a", "")), ops(putOp("a", "")))), false},
		"two nested txns":                 {ops(nest(ops(putOp("a", "")), nil), nest(ops(putOp("a", "")), nil)), true},
		"overlapping deletes":             {ops(del("a", "c"), del("b", "d")), false},
		"delete beside the put":           {ops(del("a", "b"), putOp("b", "")), false},
		"open delete is not seen":         {ops(putOp("x", ""), del("a", "\x00")), false},
	} {
		_, err := f.KV.Txn(f.ctx, &pb.TxnRequest{Success: c.ops})
		if c.refused {
			t.Log(name)
			wantError(t, err, codes.InvalidArgument, "etcdserver: duplicate key given in txn request")
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	both := &pb.TxnRequest{Success: ops(putOp("a", "1")), Failure: ops(putOp("a", "2"))}
	if _, err := f.KV.Txn(f.ctx, both); err != nil {
		t.Errorf("the two branches are separate: %v", err)
	}
}

func TestTxnOperationLimit(t *testing.T) {
	f := setup(t)
	reads := func(n int) []*pb.RequestOp {
		var ops []*pb.RequestOp
		for range n {
			ops = append(ops, op(&pb.RangeRequest{Key: []byte("k")}))
		}
		return ops
	}
	var compares []*pb.Compare
	for range 129 {
		compares = append(compares, compare("k", pb.Compare_EQUAL, &pb.Compare_Version{}))
	}
	for name, c := range map[string]struct {
		q  *pb.TxnRequest
		ok bool
	}{
		"128 of each":         {&pb.TxnRequest{Compare: compares[:128], Success: reads(128), Failure: reads(128)}, true},
		"129 compares":        {&pb.TxnRequest{Compare: compares}, false},
		"129 in success":      {&pb.TxnRequest{Success: reads(129)}, false},
		"129 in failure":      {&pb.TxnRequest{Failure: reads(129)}, false},
		"127 in a txn of one": {&pb.TxnRequest{Success: []*pb.RequestOp{op(&pb.TxnRequest{Success: reads(127)})}}, true},
		"128 in a txn of one": {&pb.TxnRequest{Success: []*pb.RequestOp{op(&pb.TxnRequest{Success: reads(128)})}}, false},
	} {
		_, err := f.KV.Txn(f.ctx, c.q)
		if c.ok && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !c.ok {
			t.Log(name)
			wantError(t, err, codes.InvalidArgument, "etcdserver: too many operations in txn request")
		}
	}
}

func TestMaxTxnOpsFlag(t *testing.T) {
	f := setup(t, "--max-txn-ops=2")
	if _, err := f.KV.Txn(f.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{putOp("a", ""), putOp("b", "")}}); err != nil {
		t.Error(err)
	}
	_, err := f.KV.Txn(f.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{putOp("a", ""), putOp("b", ""), putOp("c", "")}})
	wantError(t, err, codes.InvalidArgument, "etcdserver: too many operations in txn request")
}
