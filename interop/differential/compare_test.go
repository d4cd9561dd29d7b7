package differential

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"vetch/interop/harness"
)

func kv(key, value string, version, mod int64) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), Version: version, CreateRevision: 2, ModRevision: mod}
}

func header(revision int64) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: 1, MemberId: 2, RaftTerm: 3, Revision: revision}
}

func failure(code codes.Code, text string) answer { return answer{err: status.New(code, text)} }

// TestCompareFindsPlantedDifferences changes one thing in an otherwise equal answer; each change must be found.
func TestCompareFindsPlantedDifferences(t *testing.T) {
	request := &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("z")}
	base := func() *pb.RangeResponse {
		return &pb.RangeResponse{Header: header(9), Kvs: []*mvccpb.KeyValue{kv("a", "1", 1, 2), kv("b", "2", 3, 9)}, Count: 3, More: true}
	}
	if err := Compare(request, answer{message: base()}, answer{message: base()}); err != nil {
		t.Fatalf("equal answers: %v", err)
	}
	for name, plant := range map[string]func(*pb.RangeResponse){
		"value":            func(r *pb.RangeResponse) { r.Kvs[1].Value = []byte("3") },
		"version":          func(r *pb.RangeResponse) { r.Kvs[1].Version++ },
		"create revision":  func(r *pb.RangeResponse) { r.Kvs[1].CreateRevision++ },
		"mod revision":     func(r *pb.RangeResponse) { r.Kvs[1].ModRevision-- },
		"lease":            func(r *pb.RangeResponse) { r.Kvs[0].Lease = 7 },
		"order":            func(r *pb.RangeResponse) { slices.Reverse(r.Kvs) },
		"missing key":      func(r *pb.RangeResponse) { r.Kvs = r.Kvs[:1] },
		"count":            func(r *pb.RangeResponse) { r.Count++ },
		"more":             func(r *pb.RangeResponse) { r.More = false },
		"header revision":  func(r *pb.RangeResponse) { r.Header.Revision++ },
		"header cluster":   func(r *pb.RangeResponse) { r.Header.ClusterId = 0 },
		"header member":    func(r *pb.RangeResponse) { r.Header.MemberId = 77 },
		"header raft term": func(r *pb.RangeResponse) { r.Header.RaftTerm = 0 },
		"no header":        func(r *pb.RangeResponse) { r.Header = nil },
		"unknown field":    func(r *pb.RangeResponse) { r.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			changed := base()
			plant(changed)
			if Compare(request, answer{message: base()}, answer{message: changed}) == nil {
				t.Errorf("not found: %v", changed)
			}
		})
	}
}

func TestCompareFindsPlantedErrors(t *testing.T) {
	request := &pb.PutRequest{}
	good := answer{message: &pb.PutResponse{Header: header(2)}}
	fail := failure(codes.InvalidArgument, "etcdserver: key is not provided")
	if err := Compare(request, fail, failure(codes.InvalidArgument, "etcdserver: key is not provided")); err != nil {
		t.Errorf("equal errors: %v", err)
	}
	for name, pair := range map[string][2]answer{
		"code":         {fail, failure(codes.NotFound, "etcdserver: key is not provided")},
		"text":         {fail, failure(codes.InvalidArgument, "etcdserver: key not provided")},
		"accepted":     {fail, good},
		"not accepted": {good, fail},
	} {
		if Compare(request, pair[0], pair[1]) == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

// TestTiesAreTheOnlyFreedomOfASort has more results than etcd sorts stably.
func TestTiesAreTheOnlyFreedomOfASort(t *testing.T) {
	request := &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("z"), SortTarget: pb.RangeRequest_VERSION, Limit: 4}
	base := func(kvs ...*mvccpb.KeyValue) answer {
		return answer{message: &pb.RangeResponse{Header: header(30), Kvs: kvs, Count: 20, More: true}}
	}
	a, b, c, d, e := kv("a", "", 1, 9), kv("b", "", 1, 8), kv("c", "", 2, 7), kv("d", "", 2, 6), kv("e", "", 2, 5)
	if err := Compare(request, base(a, b, c, d), base(b, a, e, c)); err != nil {
		t.Errorf("ties in another order, and others at the cut: %v", err)
	}
	if Compare(request, base(a, b, c, d), base(a, c, b, d)) == nil {
		t.Error("wrong order not found")
	}
	if Compare(request, base(a, b, c, d), base(a, e, c, d)) == nil {
		t.Error("a missing element that is not at the cut not found")
	}
	small := func(kvs ...*mvccpb.KeyValue) answer {
		return answer{message: &pb.RangeResponse{Header: header(30), Kvs: kvs, Count: 12}}
	}
	if Compare(request, small(a, b), small(b, a)) == nil {
		t.Error("ties of a small result must stay in key order")
	}
	inTxn := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: request}}}}
	txn := func(r answer) answer {
		return answer{message: &pb.TxnResponse{Succeeded: true, Responses: []*pb.ResponseOp{
			{Response: &pb.ResponseOp_ResponseRange{ResponseRange: r.message.(*pb.RangeResponse)}}}}}
	}
	if err := Compare(inTxn, txn(base(a, b, c, d)), txn(base(b, a, e, c))); err != nil {
		t.Errorf("ties inside a transaction: %v", err)
	}
	if Compare(inTxn, txn(base(a, b, c, d)), txn(base(a, c, b, d))) == nil {
		t.Error("wrong order inside a transaction not found")
	}
}

func TestTimeToLiveMayOnlyCountDown(t *testing.T) {
	request := &pb.LeaseTimeToLiveRequest{ID: 1}
	ttl := func(granted, left int64) answer {
		return answer{message: &pb.LeaseTimeToLiveResponse{Header: header(2), ID: 1, GrantedTTL: granted, TTL: left}}
	}
	if err := Compare(request, ttl(600, 599), ttl(600, 597)); err != nil {
		t.Error(err)
	}
	for _, wrong := range []answer{ttl(600, 601), ttl(600, 100), ttl(601, 599), ttl(0, -1)} {
		if Compare(request, ttl(600, 599), wrong) == nil {
			t.Errorf("not found: %v", wrong)
		}
	}
}

// TestWatchRulesAreChecked feeds one stream responses that break a rule.
func TestWatchRulesAreChecked(t *testing.T) {
	event := func(id int64, revisions ...int64) *pb.WatchResponse {
		r := &pb.WatchResponse{Header: header(50), WatchId: id}
		for _, rev := range revisions {
			r.Events = append(r.Events, &mvccpb.Event{Kv: kv("a", "", 1, rev)})
		}
		return r
	}
	change := func(r *pb.WatchResponse, f func(*pb.WatchResponse)) *pb.WatchResponse { f(r); return r }
	for name, c := range map[string]struct {
		responses []*pb.WatchResponse
		breaks    bool
	}{
		"in order":             {[]*pb.WatchResponse{event(0, 5, 5, 6), event(0, 7)}, false},
		"going back":           {[]*pb.WatchResponse{event(0, 5), event(0, 4)}, true},
		"going back in one":    {[]*pb.WatchResponse{event(0, 5, 4)}, true},
		"split revision":       {[]*pb.WatchResponse{event(0, 5), event(0, 5, 6)}, true},
		"unknown watcher":      {[]*pb.WatchResponse{event(3, 5)}, true},
		"empty":                {[]*pb.WatchResponse{event(0)}, true},
		"header behind events": {[]*pb.WatchResponse{event(0, 51)}, true},
		"no header":            {[]*pb.WatchResponse{change(event(0, 5), func(r *pb.WatchResponse) { r.Header = nil })}, true},
		"wrong cluster":        {[]*pb.WatchResponse{change(event(0, 5), func(r *pb.WatchResponse) { r.Header.ClusterId = 9 })}, true},
		"fragment":             {[]*pb.WatchResponse{change(event(0, 5), func(r *pb.WatchResponse) { r.Fragment = true })}, true},
		"cancel of nobody":     {[]*pb.WatchResponse{{Header: header(50), WatchId: 3, Canceled: true}}, true},
	} {
		w := &watchStream{live: map[int64]int{}, lastMod: map[int64]int64{}}
		err := w.record(&pb.WatchResponse{Header: header(4), Created: true})
		for _, r := range c.responses {
			err = errors.Join(err, w.record(r))
		}
		if (err != nil) != c.breaks {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRunFindsPlantedFaults runs etcd against itself and changes one answer of one side under way.
func TestRunFindsPlantedFaults(t *testing.T) {
	oracle := harness.StartTarget(t, harness.Etcd, harness.Options{Fast: true})
	for name, plant := range map[string]func(rpc string, subject *answer){
		"value of a put with prev_kv": func(_ string, a *answer) {
			if r, ok := a.message.(*pb.PutResponse); ok && r.PrevKv != nil {
				r.PrevKv.Version++
			}
		},
		"branch of a transaction": func(_ string, a *answer) {
			if r, ok := a.message.(*pb.TxnResponse); ok {
				r.Succeeded = !r.Succeeded
			}
		},
		"hash": func(_ string, a *answer) {
			if r, ok := a.message.(*pb.HashKVResponse); ok {
				r.Hash++
			}
		},
		"text of an error": func(_ string, a *answer) {
			if a.err != nil && a.err.Code() == codes.OutOfRange {
				a.err = status.New(codes.OutOfRange, a.err.Message()+".")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			subject := harness.StartTarget(t, harness.Etcd, harness.Options{Fast: true})
			run, err := NewRun(harness.Context(t), 1, Profile{}, harness.StartTarget(t, harness.Etcd, harness.Options{Fast: true}), subject)
			if err != nil {
				t.Fatal(err)
			}
			run.beforeCompare = plant
			var d *Difference
			if err := run.Steps(harness.Context(t), numbers(200), Profile{}); !errors.As(err, &d) {
				t.Fatalf("planted fault not found: %v", err)
			}
		})
	}
	t.Run("write behind the back", func(t *testing.T) {
		run, err := NewRun(harness.Context(t), 1, Profile{}, oracle, harness.StartTarget(t, harness.Etcd, harness.Options{Fast: true}))
		if err != nil {
			t.Fatal(err)
		}
		steal(t, run)
		var d *Difference
		if err := run.Steps(harness.Context(t), numbers(5), Profile{}); !errors.As(err, &d) {
			t.Fatalf("planted write not found: %v", err)
		}
	})
}

// steal writes to one side only.
func steal(t *testing.T, run *Run) {
	t.Helper()
	if _, err := run.subject.raw.KV.Put(context.Background(), &pb.PutRequest{Key: []byte("stolen")}); err != nil {
		t.Fatal(err)
	}
}

// TestStreamsDifferWhenAnEventIsLost compares two streams of which one lacks, changes or repeats an item.
func TestStreamsDifferWhenAnEventIsLost(t *testing.T) {
	event := func(rev int64) *pb.WatchResponse {
		return &pb.WatchResponse{Header: header(rev), Events: []*mvccpb.Event{{Kv: kv("a", "", 1, rev)}}}
	}
	created := &pb.WatchResponse{Header: header(4), Created: true}
	stream := func(items ...*pb.WatchResponse) *watchStream {
		w := &watchStream{live: map[int64]int{}, lastMod: map[int64]int64{}}
		for _, i := range items {
			if err := w.record(proto.CloneOf(i)); err != nil {
				t.Fatal(err)
			}
		}
		return w
	}
	run := &Run{Seen: map[string]int{}}
	if err := run.compareStreams(stream(created, event(5), event(6)), stream(created, event(5), event(6))); err != nil {
		t.Error(err)
	}
	other := proto.CloneOf(created)
	other.Header.Revision = 5
	for name, subject := range map[string]*watchStream{
		"lost":          stream(created, event(6)),
		"lost last":     stream(created, event(5)),
		"one too many":  stream(created, event(5), event(6), event(7)),
		"other event":   stream(created, event(5), event(7)),
		"no watcher":    stream(),
		"other created": stream(other, event(5), event(6)),
	} {
		if err := run.compareStreams(stream(created, event(5), event(6)), subject); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

func TestShrinkFindsTheShortestFailingRun(t *testing.T) {
	fails := func(steps []int) bool { return slices.Contains(steps, 17) && slices.Contains(steps, 80) }
	got := shrink(numbers(100), 200, fails)
	if !slices.Equal(got, []int{17, 80}) {
		t.Errorf("got %v", got)
	}
	if s := formatSteps([]int{1, 2, 3, 7, 9, 10}); s != "1-3,7,9-10" {
		t.Errorf("got %s", s)
	}
	for _, bad := range []string{"", "x", "1-", "1-x"} {
		if _, err := parseSteps(bad); err == nil || !strings.Contains(err.Error(), "-diff.steps") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func numbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
