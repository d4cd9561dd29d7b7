package differential

import (
	"bytes"
	"slices"
	"sort"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// The known differences, all of them. Each is either left out by the generator or mapped away by reconcile:
//
//   - Ids and terms (cluster, member, raft term, server-chosen lease ids) and listen URLs: each server has its own; side.normalize
//     maps them to common values and leaves wrong ones visible.
//   - MemberList: members are listed in the order of their ids, which depend on ports; the order is checked, and then all are compared by name.
//   - Ties of a range sorted by anything but the key: etcd's sort is not stable, so above 12 results (where its sort routine stops being
//     an insertion sort) equal elements come in no promised order, and a limit may cut anywhere in the last group of equals.
//   - RangeStream with a sort target and a limit that cuts: etcd counts what lies behind the last key it has sent in key order, though
//     it sent in another; Vetch counts the range. Such requests cannot be told from plain ones here, so their count is left out in both.
//   - TimeToLive: remaining seconds depend on when the lease was granted, up to the time one run takes; keys of a lease are unordered.
//   - Leases: the order follows the expiry times; compared as a set.
//   - Status: raft indexes and database sizes count what each implementation stores; only that they are set is compared.
//   - Maintenance.Hash covers membership and the physical state of the database, which differs by design: not sent.
//   - HashKV(0) after Compact(0): etcd keeps answering with the hash it cached for revision 0, a defect: not sent.
//   - HashKV at a compacted revision after a restart: etcd has forgotten the hash its compaction took and computes another one, with that
//     revision as its own compact revision; Vetch keeps the hashes of the last ten compactions on disk. Until the restart both are compared.
//   - A put with ignore_value or ignore_lease of a key deleted by an open-ended delete of the same transaction ends the etcd process:
//     not sent (avoidEtcdPanic).
//   - Watch: how events of several revisions are grouped into responses, and the header revision of event responses, depend on whether
//     the watcher was catching up; compared are the events, created and canceled responses of each watcher in order, and each
//     response's own rules (checkResponse).

// stableSortLimit is the size up to which etcd's sort keeps the key order of ties.
const stableSortLimit = 12

// reconcile maps away the known differences in two answers to request. It changes them in place.
func reconcile(request, a, b proto.Message) {
	switch q := request.(type) {
	case *pb.RangeRequest:
		if x, ok := a.(*pb.RangeResponse); ok {
			if y, ok := b.(*pb.RangeResponse); ok {
				if q.SortTarget != pb.RangeRequest_KEY && q.SortOrder == pb.RangeRequest_NONE && x.More && y.More {
					x.Count, y.Count = max(x.Count, y.Count), max(x.Count, y.Count)
				}
				reconcileRange(q, x, y)
			}
		}
	case *pb.TxnRequest:
		reconcileTxn(q, a.(*pb.TxnResponse), b.(*pb.TxnResponse))
	case *pb.LeaseTimeToLiveRequest:
		reconcileTimeToLive(a.(*pb.LeaseTimeToLiveResponse))
		reconcileTimeToLive(b.(*pb.LeaseTimeToLiveResponse))
	case *pb.LeaseLeasesRequest:
		for _, m := range []proto.Message{a, b} {
			sort.Slice(m.(*pb.LeaseLeasesResponse).Leases, func(i, j int) bool {
				l := m.(*pb.LeaseLeasesResponse).Leases
				return l[i].ID < l[j].ID
			})
		}
	case *pb.HashKVRequest:
		reconcileHashKV(q, a.(*pb.HashKVResponse), b.(*pb.HashKVResponse))
	case *pb.MemberListRequest:
		for _, m := range []proto.Message{a, b} {
			slices.SortFunc(m.(*pb.MemberListResponse).Members, func(x, y *pb.Member) int { return strings.Compare(x.Name, y.Name) })
		}
	case *pb.StatusRequest:
		reconcileStatus(a.(*pb.StatusResponse))
		reconcileStatus(b.(*pb.StatusResponse))
	}
}

// reconcileHashKV takes etcd's answer where etcd (a) has forgotten a compaction's hash and the other side has not.
func reconcileHashKV(q *pb.HashKVRequest, a, b *pb.HashKVResponse) {
	forgotten := a.CompactRevision == q.Revision && a.HashRevision == q.Revision
	kept := b.HashRevision == q.Revision && b.CompactRevision < q.Revision
	if forgotten && kept {
		b.Hash, b.CompactRevision = a.Hash, a.CompactRevision
	}
}

func reconcileTxn(q *pb.TxnRequest, a, b *pb.TxnResponse) {
	if a.Succeeded != b.Succeeded {
		return
	}
	ops := q.Failure
	if a.Succeeded {
		ops = q.Success
	}
	if len(a.Responses) != len(ops) || len(b.Responses) != len(ops) {
		return
	}
	for i, op := range ops {
		if r := op.GetRequestRange(); r != nil && a.Responses[i].GetResponseRange() != nil && b.Responses[i].GetResponseRange() != nil {
			reconcileRange(r, a.Responses[i].GetResponseRange(), b.Responses[i].GetResponseRange())
		}
		if t := op.GetRequestTxn(); t != nil && a.Responses[i].GetResponseTxn() != nil && b.Responses[i].GetResponseTxn() != nil {
			reconcileTxn(t, a.Responses[i].GetResponseTxn(), b.Responses[i].GetResponseTxn())
		}
	}
}

// reconcileRange puts ties in key order and forgets which of the ties at the cut a limit has kept.
func reconcileRange(q *pb.RangeRequest, a, b *pb.RangeResponse) {
	if q.SortTarget == pb.RangeRequest_KEY || a.Count <= stableSortLimit {
		return
	}
	for _, r := range []*pb.RangeResponse{a, b} {
		tie := func(x, y *mvccpb.KeyValue) bool { return compareBy(q.SortTarget, x, y) == 0 }
		if q.SortTarget == pb.RangeRequest_VALUE && q.KeysOnly {
			tie = func(_, _ *mvccpb.KeyValue) bool { return true } // the values that decide are not in the answer
		}
		for start := 0; start < len(r.Kvs); {
			end := start + 1
			for end < len(r.Kvs) && tie(r.Kvs[start], r.Kvs[end]) {
				end++
			}
			group := r.Kvs[start:end]
			slices.SortFunc(group, func(x, y *mvccpb.KeyValue) int { return bytes.Compare(x.Key, y.Key) })
			if end == len(r.Kvs) && r.More {
				for i := range group {
					group[i] = sortField(q.SortTarget, group[i])
				}
			}
			start = end
		}
	}
}

func compareBy(target pb.RangeRequest_SortTarget, x, y *mvccpb.KeyValue) int {
	switch target {
	case pb.RangeRequest_VERSION:
		return int(x.Version - y.Version)
	case pb.RangeRequest_CREATE:
		return int(x.CreateRevision - y.CreateRevision)
	case pb.RangeRequest_MOD:
		return int(x.ModRevision - y.ModRevision)
	case pb.RangeRequest_VALUE:
		return bytes.Compare(x.Value, y.Value)
	default:
		return bytes.Compare(x.Key, y.Key)
	}
}

// sortField keeps only what the sort looked at.
func sortField(target pb.RangeRequest_SortTarget, kv *mvccpb.KeyValue) *mvccpb.KeyValue {
	switch target {
	case pb.RangeRequest_VERSION:
		return &mvccpb.KeyValue{Version: kv.Version}
	case pb.RangeRequest_CREATE:
		return &mvccpb.KeyValue{CreateRevision: kv.CreateRevision}
	case pb.RangeRequest_MOD:
		return &mvccpb.KeyValue{ModRevision: kv.ModRevision}
	default:
		return &mvccpb.KeyValue{Value: kv.Value}
	}
}

// runSeconds is more than a run takes: a lease that has lost at most this much of its time reads as fresh.
const runSeconds = 240

func reconcileTimeToLive(r *pb.LeaseTimeToLiveResponse) {
	if lost := r.GrantedTTL - r.TTL; lost >= 0 && lost < runSeconds {
		r.TTL = r.GrantedTTL
	}
	slices.SortFunc(r.Keys, bytes.Compare)
}

func reconcileStatus(r *pb.StatusResponse) {
	for _, n := range []*int64{&r.DbSize, &r.DbSizeInUse} {
		if *n > 0 {
			*n = 1
		}
	}
	for _, n := range []*uint64{&r.RaftIndex, &r.RaftAppliedIndex} {
		if *n > 0 {
			*n = 1
		}
	}
}
