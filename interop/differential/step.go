package differential

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

func rpcRange(q *pb.RangeRequest) call {
	return rpc("Range", q, func(ctx context.Context, s *side, q *pb.RangeRequest) (*pb.RangeResponse, error) {
		return s.raw.KV.Range(ctx, q)
	})
}

// rpcRangeStream joins the chunks, whose sizes are the server's business, and demands that header, more and count come last only.
func rpcRangeStream(q *pb.RangeRequest) call {
	return rpc("RangeStream", q, func(ctx context.Context, s *side, q *pb.RangeRequest) (*pb.RangeResponse, error) {
		stream, err := s.raw.KV.RangeStream(ctx, q)
		if err != nil {
			return nil, err
		}
		all := &pb.RangeResponse{}
		for {
			chunk, err := stream.Recv()
			if err == io.EOF {
				return all, nil
			}
			if err != nil {
				return nil, err
			}
			if all.Header != nil || all.More || all.Count != 0 {
				return nil, fmt.Errorf("chunk after the one with header, more or count: %v", chunk)
			}
			proto.Merge(all, chunk.RangeResponse)
		}
	})
}

func rpcPut(q *pb.PutRequest) call {
	return rpc("Put", q, func(ctx context.Context, s *side, q *pb.PutRequest) (*pb.PutResponse, error) {
		return s.raw.KV.Put(ctx, q)
	})
}

func rpcDelete(q *pb.DeleteRangeRequest) call {
	return rpc("DeleteRange", q, func(ctx context.Context, s *side, q *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
		return s.raw.KV.DeleteRange(ctx, q)
	})
}

func rpcTxn(q *pb.TxnRequest) call {
	return rpc("Txn", q, func(ctx context.Context, s *side, q *pb.TxnRequest) (*pb.TxnResponse, error) {
		return s.raw.KV.Txn(ctx, q)
	})
}

func rpcCompact(q *pb.CompactionRequest) call {
	return rpc("Compact", q, func(ctx context.Context, s *side, q *pb.CompactionRequest) (*pb.CompactionResponse, error) {
		return s.raw.KV.Compact(ctx, q)
	})
}

func rpcGrant(q *pb.LeaseGrantRequest) call {
	return rpc("LeaseGrant", q, func(ctx context.Context, s *side, q *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
		return s.raw.Lease.LeaseGrant(ctx, q)
	})
}

func rpcRevoke(q *pb.LeaseRevokeRequest) call {
	return rpc("LeaseRevoke", q, func(ctx context.Context, s *side, q *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
		return s.raw.Lease.LeaseRevoke(ctx, q)
	})
}

func rpcKeepAlive(q *pb.LeaseKeepAliveRequest) call {
	return rpc("LeaseKeepAlive", q, func(_ context.Context, s *side, q *pb.LeaseKeepAliveRequest) (*pb.LeaseKeepAliveResponse, error) {
		if err := s.keepAlive.Send(q); err != nil {
			return nil, err
		}
		return s.keepAlive.Recv()
	})
}

func rpcTimeToLive(q *pb.LeaseTimeToLiveRequest) call {
	return rpc("LeaseTimeToLive", q, func(ctx context.Context, s *side, q *pb.LeaseTimeToLiveRequest) (*pb.LeaseTimeToLiveResponse, error) {
		return s.raw.Lease.LeaseTimeToLive(ctx, q)
	})
}

func rpcLeases() call {
	return rpc("LeaseLeases", &pb.LeaseLeasesRequest{}, func(ctx context.Context, s *side, q *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
		return s.raw.Lease.LeaseLeases(ctx, q)
	})
}

func rpcHashKV(q *pb.HashKVRequest) call {
	return rpc("HashKV", q, func(ctx context.Context, s *side, q *pb.HashKVRequest) (*pb.HashKVResponse, error) {
		return s.raw.Maintenance.HashKV(ctx, q)
	})
}

func rpcStatus() call {
	return rpc("Status", &pb.StatusRequest{}, func(ctx context.Context, s *side, q *pb.StatusRequest) (*pb.StatusResponse, error) {
		return s.raw.Maintenance.Status(ctx, q)
	})
}

func rpcMemberList(q *pb.MemberListRequest) call {
	return rpc("MemberList", q, func(ctx context.Context, s *side, q *pb.MemberListRequest) (*pb.MemberListResponse, error) {
		r, err := s.raw.Cluster.MemberList(ctx, q)
		if err == nil && !slices.IsSortedFunc(r.Members, func(a, b *pb.Member) int { return cmp.Compare(a.ID, b.ID) }) {
			return nil, fmt.Errorf("members are not in the order of their ids: %v", r.Members)
		}
		return r, err
	})
}

func rpcAlarm(q *pb.AlarmRequest) call {
	return rpc("Alarm", q, func(ctx context.Context, s *side, q *pb.AlarmRequest) (*pb.AlarmResponse, error) {
		return s.raw.Maintenance.Alarm(ctx, q)
	})
}

// step sends one random request, or a few that belong together.
func (r *Run) step(ctx context.Context, c choice) error {
	switch n := c.IntN(100); {
	case n < 22:
		return r.one(ctx, rpcPut(c.putRequest()))
	case n < 40:
		return r.one(ctx, rpcRange(c.rangeRequest()))
	case n < 44:
		return r.one(ctx, rpcRangeStream(c.rangeRequest()))
	case n < 51:
		return r.one(ctx, rpcDelete(c.deleteRequest()))
	case n < 72:
		return r.one(ctx, rpcTxn(c.txnRequest()))
	case n < 74:
		return r.compact(ctx, c)
	case n < 84:
		return r.lease(ctx, c)
	case n < 89:
		return r.createWatch(ctx, c)
	case n < 91:
		return r.cancelWatch(ctx, c)
	case n < 97:
		return r.hashKV(ctx, c.hashRevision())
	default:
		return r.one(ctx, pick(c, rpcStatus(), rpcMemberList(&pb.MemberListRequest{Linearizable: c.oneIn(2)}),
			rpcAlarm(&pb.AlarmRequest{Action: pb.AlarmRequest_GET}), rpcAlarm(&pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE})))
	}
}

func (r *Run) one(ctx context.Context, c call) error {
	_, _, err := r.both(ctx, c)
	return err
}

// compact first lets the streams catch up: whether a watcher that is behind is cut off by a compaction depends on its luck.
func (r *Run) compact(ctx context.Context, c choice) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	return r.one(ctx, rpcCompact(c.compactRequest()))
}

func (r *Run) lease(ctx context.Context, c choice) error {
	switch c.IntN(11) {
	case 0, 1, 2:
		return r.one(ctx, rpcGrant(c.grantRequest()))
	case 3:
		return r.shortLease(ctx, c)
	case 4, 5:
		return r.one(ctx, rpcRevoke(&pb.LeaseRevokeRequest{ID: c.anyLease()}))
	case 6, 7:
		return r.one(ctx, rpcKeepAlive(&pb.LeaseKeepAliveRequest{ID: c.anyLease()}))
	case 8, 9:
		return r.one(ctx, rpcTimeToLive(&pb.LeaseTimeToLiveRequest{ID: c.anyLease(), Keys: c.oneIn(2)}))
	default:
		return r.one(ctx, rpcLeases())
	}
}

// shortLease asks for less than the minimum time to live, and revokes at once so that no expiry can hit the run.
func (r *Run) shortLease(ctx context.Context, c choice) error {
	const id = 1000
	for _, call := range []call{
		rpcGrant(&pb.LeaseGrantRequest{ID: id, TTL: pick(c, int64(0), 1, -5)}),
		rpcPut(&pb.PutRequest{Key: []byte("a"), Lease: id}),
		rpcPut(&pb.PutRequest{Key: []byte("k/1"), Lease: id}),
		rpcRevoke(&pb.LeaseRevokeRequest{ID: id}),
	} {
		if err := r.one(ctx, call); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) hashKV(ctx context.Context, revision int64) error {
	if r.world.AttachServerLeases || (revision == 0 && r.world.ZeroCompaction) {
		return nil
	}
	return r.one(ctx, rpcHashKV(&pb.HashKVRequest{Revision: revision}))
}

func (r *Run) createWatch(_ context.Context, c choice) error {
	stream := c.IntN(streamCount)
	request := c.watchCreateRequest(stream)
	r.note("Watch stream %d: create %v", stream, request)
	r.requests++
	for _, s := range r.sides() {
		if err := s.streams[stream].create(request, r.world.Compacted); err != nil {
			return fmt.Errorf("create of watcher %v (%v): %w", request, &r.world, err)
		}
	}
	r.world.Watches[stream] = r.oracle.streams[stream].liveIDs()
	return nil
}

// cancelWatch first lets the streams catch up: how far a watcher that is behind gets before its cancel depends on its luck.
func (r *Run) cancelWatch(ctx context.Context, c choice) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	stream := c.IntN(streamCount)
	id := c.Int64N(8)
	if live := r.world.Watches[stream]; len(live) > 0 && !c.oneIn(4) {
		id = live[c.IntN(len(live))]
	}
	r.note("Watch stream %d: cancel %d", stream, id)
	r.requests++
	for _, s := range r.sides() {
		if err := s.streams[stream].cancel(id); err != nil {
			return fmt.Errorf("cancel of watcher %d (%v): %w", id, &r.world, err)
		}
	}
	return nil
}
