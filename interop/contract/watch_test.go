package contract

import (
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/metadata"
)

// stream is one Watch RPC, read response by response.
type stream struct {
	f   *fixture
	rpc pb.Watch_WatchClient
}

func (f *fixture) watch() *stream {
	f.Helper()
	rpc, err := f.Watch.Watch(f.ctx)
	return &stream{f: f, rpc: must(f, rpc, err)}
}

func (s *stream) send(r *pb.WatchRequest) {
	s.f.Helper()
	if err := s.rpc.Send(r); err != nil {
		s.f.Fatal(err)
	}
}

func (s *stream) recv() *pb.WatchResponse {
	s.f.Helper()
	r, err := s.rpc.Recv()
	return must(s.f, r, err)
}

// create starts a watcher and returns the answer.
func (s *stream) create(q *pb.WatchCreateRequest) *pb.WatchResponse {
	s.f.Helper()
	s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: q}})
	r := s.recv()
	if !r.Created || len(r.Events) != 0 || r.Header == nil || r.Header.ClusterId == 0 || r.Header.MemberId == 0 || r.Header.RaftTerm == 0 {
		s.f.Fatalf("answer to %v: %v", q, r)
	}
	return r
}

func (s *stream) cancel(id int64) {
	s.f.Helper()
	s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}})
}

func (s *stream) requestProgress() {
	s.f.Helper()
	s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

// events reads responses until n events have come, and returns them with the number of responses.
func (s *stream) events(n int) ([]*mvccpb.Event, int) {
	s.f.Helper()
	var events []*mvccpb.Event
	responses := 0
	for len(events) < n {
		r := s.recv()
		if len(r.Events) == 0 || r.Created || r.Canceled {
			s.f.Fatalf("got %v, want events", r)
		}
		events = append(events, r.Events...)
		responses++
	}
	if len(events) > n {
		s.f.Fatalf("%d events, want %d: %v", len(events), n, events)
	}
	return events, responses
}

// story is events as text: PUT key=value@mod(create,version) or DELETE key@mod, with the previous value after a bar.
func story(events []*mvccpb.Event) string {
	var parts []string
	for _, e := range events {
		s := fmt.Sprintf("PUT %s=%s@%d(%d,%d)", e.Kv.Key, e.Kv.Value, e.Kv.ModRevision, e.Kv.CreateRevision, e.Kv.Version)
		if e.Type == mvccpb.Event_DELETE {
			s = fmt.Sprintf("DELETE %s@%d", e.Kv.Key, e.Kv.ModRevision)
			if len(e.Kv.Value) != 0 || e.Kv.CreateRevision != 0 || e.Kv.Version != 0 || e.Kv.Lease != 0 {
				s += fmt.Sprintf(" with too much: %v", e.Kv)
			}
		}
		if e.PrevKv != nil {
			s += fmt.Sprintf("|%s@%d", e.PrevKv.Value, e.PrevKv.ModRevision)
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

var allKeys = func() *pb.WatchCreateRequest { return &pb.WatchCreateRequest{Key: everything, RangeEnd: everything} }

func TestWatchEvents(t *testing.T) {
	f := setup(t)
	f.put("b", "0") // 2
	s := f.watch()
	q := allKeys()
	q.PrevKv = true
	created := s.create(q)
	want(t, "created", line(created.WatchId, created.Canceled, created.Header.Revision), "0 false 2")

	f.txn(&pb.TxnRequest{Success: []*pb.RequestOp{putOp("z", "1"), putOp("a", "2"), op(&pb.DeleteRangeRequest{Key: []byte("b")})}})
	events, responses := s.events(3)
	want(t, "one transaction, in the order of its operations", story(events), "PUT z=1@3(3,1) PUT a=2@3(3,1) DELETE b@3|0@2")
	want(t, "responses for one revision", responses, 1)
	f.put("a", "3")
	r := s.recv()
	want(t, "update", story(r.Events), "PUT a=3@4(3,2)|2@3")
	want(t, "header", r.Header.Revision, 4)
	f.grant(9, 1000)
	for _, k := range []string{"l3", "l1", "l2"} {
		if _, err := f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte(k), Lease: 9}); err != nil {
			t.Fatal(err)
		}
	}
	put, _ := s.events(3)
	want(t, "lease in events", put[0].Kv.Lease, 9)
	if _, err := f.Lease.LeaseRevoke(f.ctx, &pb.LeaseRevokeRequest{ID: 9}); err != nil {
		t.Fatal(err)
	}
	revoked, responses := s.events(3)
	want(t, "revoke: keys in byte order, one revision", story(revoked), "DELETE l1@8|@6 DELETE l2@8|@7 DELETE l3@8|@5")
	want(t, "revoke: responses", responses, 1)

	// The same again from the past, on a second watcher and without prev_kv.
	past := f.watch()
	q = allKeys()
	q.StartRevision = 2
	past.create(q)
	events, _ = past.events(11)
	want(t, "from the past", story(events), "PUT b=0@2(2,1) PUT z=1@3(3,1) PUT a=2@3(3,1) DELETE b@3 PUT a=3@4(3,2) "+
		"PUT l3=@5(5,1) PUT l1=@6(6,1) PUT l2=@7(7,1) DELETE l1@8 DELETE l2@8 DELETE l3@8")
}

func TestWatchIDs(t *testing.T) {
	f := setup(t)
	s := f.watch()
	id := func(wanted int64) int64 {
		t.Helper()
		return s.create(&pb.WatchCreateRequest{Key: []byte("k"), WatchId: wanted}).WatchId
	}
	want(t, "chosen", id(5), 5)
	want(t, "chosen", id(1), 1)
	for _, automatic := range []int64{0, 2, 3, 4, 6} {
		want(t, "automatic ids skip those in use", id(0), automatic)
	}
	want(t, "negative", id(-7), -7)
	want(t, "even -1", id(-1), -1)
	for name, c := range map[string]struct {
		q      *pb.WatchCreateRequest
		reason string
	}{
		"duplicate":          {&pb.WatchCreateRequest{Key: []byte("k"), WatchId: 5}, "mvcc: duplicate watch ID provided on the WatchStream"},
		"duplicate negative": {&pb.WatchCreateRequest{Key: []byte("k"), WatchId: -7}, "mvcc: duplicate watch ID provided on the WatchStream"},
		"empty range":        {&pb.WatchCreateRequest{Key: []byte("k"), RangeEnd: []byte("k")}, "mvcc: watcher range is empty"},
		"inverted range":     {&pb.WatchCreateRequest{Key: []byte("k"), RangeEnd: []byte("a")}, "mvcc: watcher range is empty"},
		"negative revision":  {&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: -1}, "etcdserver: mvcc: required revision has been compacted"},
	} {
		r := s.create(c.q)
		want(t, name, line(r.WatchId, r.Canceled, r.CancelReason, r.CompactRevision), line(-1, true, c.reason, 0))
	}
	// An id that was cancelled can be chosen again.
	s.cancel(5)
	r := s.recv()
	want(t, "cancel", line(r.WatchId, r.Canceled, r.CancelReason, r.CompactRevision), "5 true  0")
	want(t, "chosen again", id(5), 5)
	// The empty key is the smallest key.
	other := f.watch()
	other.create(&pb.WatchCreateRequest{RangeEnd: []byte{0}})
	f.put("\x00", "v")
	events, _ := other.events(1)
	want(t, "empty key", story(events), "PUT \x00=v@2(2,1)")
}

func TestWatchStartRevision(t *testing.T) {
	f := setup(t)
	for i := range 5 {
		f.put("k", fmt.Sprint(i)) // 2..6
	}
	f.compact(4)
	s := f.watch()
	// Below the compacted revision: created as usual, then a separate cancel.
	r := s.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: 3})
	want(t, "created", line(r.WatchId, r.Canceled), "0 false")
	r = s.recv()
	want(t, "cancel", line(r.WatchId, r.Canceled, r.Created, r.CompactRevision, r.CancelReason, r.Header.Revision), "0 true false 4  0")
	dup := s.create(&pb.WatchCreateRequest{Key: []byte("k"), WatchId: 1})
	want(t, "next id", dup.WatchId, 1)
	s.cancel(0) // the id stays taken until the client cancels it, and that is answered
	r = s.recv()
	want(t, "answer to the cancel", line(r.WatchId, r.Canceled, r.CompactRevision), "0 true 0")

	at := f.watch()
	at.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: 4, PrevKv: true})
	events, _ := at.events(3)
	want(t, "the compacted revision itself, previous value gone", story(events), "PUT k=2@4(2,3) PUT k=3@5(2,4)|2@4 PUT k=4@6(2,5)|3@5")

	future := f.watch()
	future.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: 9})
	for i := range 4 {
		f.put("k", fmt.Sprint(7+i)) // 7..10
	}
	events, _ = future.events(2)
	want(t, "future", story(events), "PUT k=9@9(2,8) PUT k=10@10(2,9)")
}

func TestWatchFilters(t *testing.T) {
	f := setup(t)
	s := f.watch()
	filtered := func(filters ...pb.WatchCreateRequest_FilterType) {
		q := allKeys()
		q.Filters = filters
		s.create(q)
	}
	filtered(pb.WatchCreateRequest_NOPUT)                                 // id 0
	filtered(pb.WatchCreateRequest_NODELETE)                              // id 1
	filtered(pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE) // id 2
	f.put("a", "1")
	f.txn(&pb.TxnRequest{Success: []*pb.RequestOp{op(&pb.DeleteRangeRequest{Key: []byte("a")}), putOp("b", "2")}})
	got := map[int64]string{}
	for range 3 {
		r := s.recv()
		got[r.WatchId] += story(r.Events) + ";"
	}
	want(t, "without puts", got[0], "DELETE a@3;")
	want(t, "without deletes", got[1], "PUT a=1@2(2,1);PUT b=2@3(3,1);")
	want(t, "without both", got[2], "")
}

// TestWatchCancel: nothing more comes for a cancelled watcher, and the cancel of an unknown id is not answered. The progress response is
// the fence that shows both.
func TestWatchCancel(t *testing.T) {
	f := setup(t)
	s := f.watch()
	s.create(allKeys())
	s.create(allKeys())
	s.cancel(0)
	r := s.recv()
	want(t, "cancel", line(r.WatchId, r.Canceled, r.CancelReason), "0 true ")
	s.cancel(77)
	s.send(&pb.WatchRequest{}) // ignored
	f.put("k", "v")
	r = s.recv()
	want(t, "the other watcher goes on", line(r.WatchId, len(r.Events)), "1 1")
	s.requestProgress()
	r = s.recv()
	want(t, "progress", line(r.WatchId, len(r.Events), r.Canceled, r.Created, r.Header.Revision), "-1 0 false false 2")
	if err := s.rpc.CloseSend(); err != nil {
		t.Fatal(err)
	}
	f.put("k", "w")
	want(t, "after the half close", story(s.recv().Events), "PUT k=w@3(2,2)")
}

// TestWatchProgressRequest: progress at revision R comes after every event up to R, and not while a watcher starts in the future.
func TestWatchProgressRequest(t *testing.T) {
	f := setup(t)
	s := f.watch()
	s.requestProgress() // no watcher: dropped
	s.create(allKeys())
	for i := range 200 {
		f.put(fmt.Sprint("k", i%7), "v")
	}
	s.requestProgress()
	last, seen := int64(0), 0
	for {
		r := s.recv()
		if r.WatchId == -1 {
			want(t, "events before progress", line(last, seen, r.Header.Revision), "201 200 201")
			break
		}
		for _, e := range r.Events {
			last = e.Kv.ModRevision
			seen++
		}
	}
	s.create(&pb.WatchCreateRequest{Key: []byte("f"), StartRevision: 204})
	s.requestProgress() // dropped
	f.put("f", "1")     // 202, for watcher 0
	want(t, "no progress while one starts in the future", story(s.recv().Events), "PUT f=1@202(202,1)")
	f.put("f", "2") // 203
	f.put("f", "3") // 204, for both
	s.recv()
	s.recv()
	s.recv()
	s.requestProgress()
	r := s.recv()
	want(t, "progress once it has started", line(r.WatchId, r.Header.Revision, len(r.Events)), "-1 204 0")
}

func TestWatchWithLeaderRequired(t *testing.T) {
	f := setup(t)
	rpc, err := f.Watch.Watch(metadata.AppendToOutgoingContext(f.ctx, "hasleader", "true"))
	s := &stream{f: f, rpc: must(t, rpc, err)}
	s.create(allKeys())
	f.put("k", "v")
	events, _ := s.events(1)
	want(t, "event", story(events), "PUT k=v@2(2,1)")
}

// TestWatchFragment makes one revision whose response is larger than the fragment threshold of 2 MiB: 14 keys of 100 kB with their
// previous values.
func TestWatchFragment(t *testing.T) {
	f := setup(t)
	big := func(fill string) {
		t.Helper()
		var ops []*pb.RequestOp
		for i := range 14 {
			ops = append(ops, putOp(fmt.Sprintf("k%02d", i), strings.Repeat(fill, 100_000)))
		}
		f.txn(&pb.TxnRequest{Success: ops})
	}
	big("a") // 2
	fragmented, whole := f.watch(), f.watch()
	q := allKeys()
	q.PrevKv, q.Fragment = true, true
	fragmented.create(q)
	q = allKeys()
	q.PrevKv = true
	whole.create(q)
	big("b") // 3

	r := whole.recv()
	want(t, "whole: events in one response", line(len(r.Events), r.Fragment), "14 false")
	next, responses := 0, 0
	for more := true; more; responses++ {
		r := fragmented.recv()
		for _, e := range r.Events {
			want(t, "event", fmt.Sprintf("%s %d %d %d", e.Kv.Key, e.Kv.ModRevision, len(e.Kv.Value), len(e.PrevKv.Value)), fmt.Sprintf("k%02d 3 100000 100000", next))
			next++
		}
		more = r.Fragment
		want(t, "fragment only before the last", more, next < 14)
	}
	want(t, "events", next, 14)
	if responses < 2 {
		t.Errorf("2.8 MB in %d responses", responses)
	}
	f.put("small", "v")
	want(t, "small responses are whole", fragmented.recv().Fragment, false)
}

// TestSlowWatcher writes far more than a stream buffers while nobody reads: writes go on, and then everything arrives once, in order.
func TestSlowWatcher(t *testing.T) {
	f := setup(t)
	s := f.watch()
	s.create(allKeys())
	const puts = 1500
	value := strings.Repeat("v", 30_000)
	for i := range puts {
		f.put("k", fmt.Sprint(i, value))
	}
	next := int64(2)
	for next < 2+puts {
		for _, e := range s.recv().Events {
			if e.Kv.ModRevision != next || !strings.HasPrefix(string(e.Kv.Value), fmt.Sprint(next-2, "v")) {
				t.Fatalf("event at %d, want %d", e.Kv.ModRevision, next)
			}
			next++
		}
	}
	f.put("k", "end")
	events, _ := s.events(1)
	want(t, "live again", events[0].Kv.ModRevision, 2+puts)
}
