package differential

import (
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// choice draws requests from one step's random source.
type choice struct {
	*rand.Rand
	w *World
}

func pick[T any](c choice, from ...T) T { return from[c.IntN(len(from))] }

func (c choice) oneIn(n int) bool { return c.IntN(n) == 0 }

// The key space is small, so that requests meet each other's keys, and holds the border cases of range ends.
var keys = []string{
	"a", "a\x00", "ab", "abc", "a\xff", "b", "b\xff\xff", "c", "\x00", "\xff", "\xff\xff",
	"k/1", "k/2", "k/3", "k/4", "k/5", "k/6",
}

func (c choice) key() []byte {
	if c.oneIn(40) {
		return nil
	}
	return []byte(pick(c, keys...))
}

// rangeEnd is an end for a range that starts at key: none, open, a prefix, or any other key, before or after it.
func (c choice) rangeEnd(key []byte) []byte {
	switch c.IntN(10) {
	case 0, 1, 2, 3:
		return nil
	case 4, 5:
		return []byte{0}
	case 6, 7:
		return prefixEnd(key)
	case 8:
		return append(append([]byte{}, key...), 0)
	default:
		return []byte(pick(c, keys...))
	}
}

// prefixEnd is the end of the range of all keys with the prefix.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte{}, prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0}
}

func (c choice) value() []byte {
	switch c.IntN(12) {
	case 0:
		return nil
	case 1:
		return make([]byte, c.IntN(3000))
	default:
		return []byte(pick(c, "v0", "v1", "v2", "v3", "v4"))
	}
}

// revision is one to read at: mostly the latest, else around the compacted and the current one.
func (c choice) revision() int64 {
	switch c.IntN(16) {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		return 0
	case 8, 9, 10:
		return max(1, c.w.Rev-c.Int64N(12))
	case 11:
		return c.w.Compacted
	case 12:
		return max(0, c.w.Compacted-1)
	case 13:
		return c.w.Rev + 1
	case 14:
		return c.w.Rev + 1 + c.Int64N(5)
	default:
		return pick(c, int64(-1), 1)
	}
}

// bound is a value for the min/max revision filters.
func (c choice) bound() int64 {
	if !c.oneIn(6) {
		return 0
	}
	return c.w.Rev - c.Int64N(20) + 1
}

// lease is one to attach a key to: mostly none.
func (c choice) lease() int64 {
	if !c.oneIn(4) {
		return 0
	}
	if c.w.AttachServerLeases && c.w.ServerLeases > 0 && c.oneIn(2) {
		return firstSymbolicLease + c.Int64N(int64(c.w.ServerLeases))
	}
	return c.clientLease()
}

func (c choice) clientLease() int64 { return pick(c, int64(1), 2, 3, 4, -7) }

// anyLease is an id for lease requests: one that was granted, or may not have been.
func (c choice) anyLease() int64 {
	if c.w.ServerLeases > 0 && c.oneIn(3) {
		return firstSymbolicLease + c.Int64N(int64(c.w.ServerLeases))
	}
	if c.oneIn(10) {
		return pick(c, int64(0), 99)
	}
	return c.clientLease()
}

func (c choice) rangeRequest() *pb.RangeRequest {
	r := &pb.RangeRequest{Key: c.key(), Revision: c.revision()}
	r.RangeEnd = c.rangeEnd(r.Key)
	r.Limit = pick(c, int64(0), 0, 0, 1, 2, 3, 5, 100, -1)
	if c.oneIn(3) {
		r.SortOrder = pick(c, pb.RangeRequest_NONE, pb.RangeRequest_ASCEND, pb.RangeRequest_DESCEND)
		r.SortTarget = pick(c, pb.RangeRequest_KEY, pb.RangeRequest_VERSION, pb.RangeRequest_CREATE, pb.RangeRequest_MOD, pb.RangeRequest_VALUE)
		if c.oneIn(40) {
			r.SortOrder = pick(c, pb.RangeRequest_SortOrder(3), -1)
		}
		if c.oneIn(40) {
			r.SortTarget = pick(c, pb.RangeRequest_SortTarget(5), -1)
		}
	}
	r.Serializable = c.oneIn(4)
	r.KeysOnly = c.oneIn(5)
	r.CountOnly = c.oneIn(8)
	r.MinModRevision, r.MaxModRevision = c.bound(), c.bound()
	r.MinCreateRevision, r.MaxCreateRevision = c.bound(), c.bound()
	return r
}

func (c choice) putRequest() *pb.PutRequest {
	r := &pb.PutRequest{Key: c.key(), Value: c.value(), Lease: c.lease(), PrevKv: c.oneIn(3)}
	if c.oneIn(8) {
		r.IgnoreValue = true
		if !c.oneIn(6) {
			r.Value = nil
		}
	}
	if c.oneIn(8) {
		r.IgnoreLease = true
		if !c.oneIn(6) {
			r.Lease = 0
		}
	}
	return r
}

func (c choice) deleteRequest() *pb.DeleteRangeRequest {
	r := &pb.DeleteRangeRequest{Key: c.key(), PrevKv: c.oneIn(2)}
	if c.oneIn(3) {
		r.RangeEnd = c.rangeEnd(r.Key)
	}
	return r
}

func (c choice) compactRequest() *pb.CompactionRequest {
	// Asynchronous compactions would race with HashKV, which reports the hash a finished one has stored.
	r := &pb.CompactionRequest{Physical: !c.w.AttachServerLeases || c.oneIn(2)}
	switch c.IntN(12) {
	case 0:
		r.Revision = c.w.Compacted
	case 1:
		r.Revision = c.w.Rev + 1
	case 2:
		r.Revision = c.w.Rev
	case 3:
		r.Revision = pick(c, int64(0), -1, 1)
	default:
		r.Revision = max(c.w.Compacted, c.w.Rev-c.Int64N(30))
	}
	return r
}

func (c choice) grantRequest() *pb.LeaseGrantRequest {
	r := &pb.LeaseGrantRequest{TTL: pick(c, int64(600), 3600, 100_000, 9_000_000_000)}
	if c.oneIn(12) {
		r.TTL = pick(c, int64(9_000_000_001), 1<<62)
	}
	if !c.oneIn(3) {
		r.ID = c.clientLease()
	}
	return r
}

func (c choice) watchCreateRequest(stream int) *pb.WatchCreateRequest {
	r := &pb.WatchCreateRequest{Key: c.key(), PrevKv: c.oneIn(2), ProgressNotify: c.oneIn(3), Fragment: c.oneIn(3)}
	r.RangeEnd = c.rangeEnd(r.Key)
	if c.oneIn(4) {
		r.WatchId = pick(c, int64(1), 2, 3, 5, -3)
	}
	if c.oneIn(3) {
		r.Filters = pick(c,
			[]pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT},
			[]pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE},
			[]pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE, pb.WatchCreateRequest_NODELETE},
			[]pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE})
	}
	if stream == streamFuture {
		r.StartRevision = c.w.Rev + c.Int64N(8)
		return r
	}
	switch c.IntN(8) {
	case 0, 1, 2:
	case 3:
		r.StartRevision = max(1, c.w.Compacted)
	case 4:
		r.StartRevision = max(1, c.w.Compacted-1)
	case 5:
		r.StartRevision = pick(c, int64(1), -1)
	default:
		r.StartRevision = max(1, c.w.Rev-c.Int64N(25))
	}
	return r
}

// hashRevision is one to ask HashKV for.
func (c choice) hashRevision() int64 {
	switch c.IntN(6) {
	case 0:
		return max(0, c.w.Compacted)
	case 1:
		return max(1, c.w.Rev-c.Int64N(20))
	case 2:
		return pick(c, c.w.Rev+1, max(0, c.w.Compacted-1), c.w.Rev)
	default:
		return 0
	}
}
