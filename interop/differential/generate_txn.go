package differential

import pb "go.etcd.io/etcd/api/v3/etcdserverpb"

const maxTxnDepth = 3

func (c choice) txnRequest() *pb.TxnRequest {
	t := c.txnAt(1)
	if c.oneIn(60) {
		for range 127 + c.IntN(3) {
			t.Success = append(t.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("a")}}})
		}
	}
	avoidEtcdPanic(t)
	return t
}

func (c choice) txnAt(depth int) *pb.TxnRequest {
	t := &pb.TxnRequest{}
	for range c.IntN(4) {
		t.Compare = append(t.Compare, c.compare())
	}
	for range c.IntN(4) {
		t.Success = append(t.Success, c.op(depth))
	}
	for range c.IntN(3) {
		t.Failure = append(t.Failure, c.op(depth))
	}
	return t
}

func (c choice) op(depth int) *pb.RequestOp {
	switch n := c.IntN(20); {
	case n < 8:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: c.putRequest()}}
	case n < 14:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: c.rangeRequest()}}
	case n < 17:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: c.deleteRequest()}}
	default:
		if depth < maxTxnDepth {
			return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: c.txnAt(depth + 1)}}
		}
		if c.oneIn(10) {
			return &pb.RequestOp{}
		}
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("b")}}}
	}
}

// compare draws a comparison; now and then its union does not fit its target or is absent, which compares with zero,
// or an enum has a number nobody knows.
func (c choice) compare() *pb.Compare {
	cmp := &pb.Compare{
		Key:    c.key(),
		Result: pick(c, pb.Compare_EQUAL, pb.Compare_EQUAL, pb.Compare_NOT_EQUAL, pb.Compare_GREATER, pb.Compare_LESS),
		Target: pick(c, pb.Compare_VERSION, pb.Compare_CREATE, pb.Compare_MOD, pb.Compare_VALUE, pb.Compare_LEASE),
	}
	if c.oneIn(4) {
		cmp.RangeEnd = c.rangeEnd(cmp.Key)
	}
	union := cmp.Target
	if c.oneIn(15) {
		union = pick(c, pb.Compare_VERSION, pb.Compare_CREATE, pb.Compare_MOD, pb.Compare_VALUE, pb.Compare_LEASE)
	}
	switch union {
	case pb.Compare_VERSION:
		cmp.TargetUnion = &pb.Compare_Version{Version: c.Int64N(4)}
	case pb.Compare_CREATE:
		cmp.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: pick(c, 0, c.w.Rev-c.Int64N(20))}
	case pb.Compare_MOD:
		cmp.TargetUnion = &pb.Compare_ModRevision{ModRevision: pick(c, 0, c.w.Rev-c.Int64N(20))}
	case pb.Compare_VALUE:
		cmp.TargetUnion = &pb.Compare_Value{Value: c.value()}
	case pb.Compare_LEASE:
		cmp.TargetUnion = &pb.Compare_Lease{Lease: c.lease()}
	}
	if c.oneIn(25) {
		cmp.TargetUnion = nil
	}
	if c.oneIn(80) {
		cmp.Result = 9
	}
	if c.oneIn(80) {
		cmp.Target = 9
	}
	return cmp
}

// avoidEtcdPanic closes the open-ended deletes of a transaction that also puts with ignore_value or ignore_lease. etcd's check
// for duplicate keys does not see an open-ended delete, so such a put could meet a key deleted just before it, which etcd answers
// by ending the process.
func avoidEtcdPanic(t *pb.TxnRequest) {
	ignores := false
	walkOps(t, func(op *pb.RequestOp) {
		if p := op.GetRequestPut(); p != nil {
			ignores = ignores || p.IgnoreValue || p.IgnoreLease
		}
	})
	if !ignores {
		return
	}
	walkOps(t, func(op *pb.RequestOp) {
		if d := op.GetRequestDeleteRange(); d != nil && string(d.RangeEnd) == "\x00" {
			d.RangeEnd = nil
		}
	})
}

func walkOps(t *pb.TxnRequest, visit func(*pb.RequestOp)) {
	for _, ops := range [][]*pb.RequestOp{t.Success, t.Failure} {
		for _, op := range ops {
			visit(op)
			if nested := op.GetRequestTxn(); nested != nil {
				walkOps(nested, visit)
			}
		}
	}
}
