package differential

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"vetch/interop/harness"
)

// Profile says what a seed exercises beside the common requests.
type Profile struct {
	// AttachServerLeases attaches keys to leases whose ids the servers chose, which leaves out HashKV.
	AttachServerLeases bool
	// RestartAt is the step before which both servers are killed and started again; 0 = never.
	RestartAt int
}

// ProfileOf gives one seed in three server-chosen leases on keys, and one in four a restart half way.
func ProfileOf(seed uint64, steps int) Profile {
	p := Profile{AttachServerLeases: seed%3 == 0}
	if seed%4 == 1 {
		p.RestartAt = steps / 2
	}
	return p
}

// settleEvery is how many steps may pass between two comparisons of the watch streams.
const settleEvery = 25

// Run drives one seed through both servers.
type Run struct {
	seed     uint64
	world    World
	oracle   *side
	subject  *side
	requests int
	// Seen counts etcd's answers, by RPC and, for errors, text, and the watch responses; see TestDifferential.
	Seen  map[string]int
	trace []string
	// beforeCompare is a fault planted by tests of the comparison.
	beforeCompare func(rpc string, subject *answer)
}

// Difference is the first disagreement of a run.
type Difference struct {
	Step  int
	What  string
	Trace []string // the last requests, the offending one at the end
}

func (d *Difference) Error() string {
	return fmt.Sprintf("step %d: %s\nlast requests:\n  %s", d.Step, d.What, strings.Join(d.Trace, "\n  "))
}

// NewRun connects to two fresh servers.
func NewRun(ctx context.Context, seed uint64, profile Profile, oracle, subject *harness.Server) (*Run, error) {
	return newRun(ctx, seed, profile, &side{server: oracle}, &side{server: subject})
}

// NewFollowerRun connects to a follower of each of two fresh clusters: to the members of one name, so that answers which name members can be
// compared.
func NewFollowerRun(ctx context.Context, seed uint64, profile Profile, oracle, subject *harness.Cluster) (*Run, error) {
	leaders := []string{oracle.Leader().Name(), subject.Leader().Name()}
	follows := func(m *harness.Server) bool { return !slices.Contains(leaders, m.Name()) }
	i := slices.IndexFunc(oracle.Members, follows)
	return newRun(ctx, seed, profile, &side{server: oracle.Members[i], cluster: oracle}, &side{server: subject.Members[i], cluster: subject})
}

func newRun(ctx context.Context, seed uint64, profile Profile, oracle, subject *side) (*Run, error) {
	oracle.name, subject.name = "etcd", "subject"
	oracle.leases, subject.leases = newLeaseMap(), newLeaseMap()
	r := &Run{seed: seed, Seen: map[string]int{}, oracle: oracle, subject: subject}
	r.world = World{Compacted: -1, AttachServerLeases: profile.AttachServerLeases}
	return r, r.connect(ctx)
}

func (r *Run) connect(ctx context.Context) error {
	for _, s := range r.sides() {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	r.world.Watches = [streamCount][]int64{}
	_, _, err := r.both(ctx, rpcRange(&pb.RangeRequest{Key: []byte("start")}))
	return err
}

func (r *Run) sides() []*side { return []*side{r.oracle, r.subject} }

// Steps runs the numbered steps and returns the first difference.
func (r *Run) Steps(ctx context.Context, numbers []int, profile Profile) error {
	for i, n := range numbers {
		if profile.RestartAt != 0 && n >= profile.RestartAt && (i == 0 || numbers[i-1] < profile.RestartAt) {
			if err := r.restart(ctx); err != nil {
				return r.difference(n, err)
			}
		}
		c := choice{Rand: rand.New(rand.NewPCG(r.seed, uint64(n))), w: &r.world}
		if err := r.step(ctx, c); err != nil {
			return r.difference(n, err)
		}
		if i%settleEvery == settleEvery-1 || i == len(numbers)-1 {
			if err := r.settle(ctx); err != nil {
				return r.difference(n, err)
			}
			if err := r.hashKV(ctx, 0); err != nil {
				return r.difference(n, err)
			}
		}
	}
	return nil
}

func (r *Run) difference(step int, err error) error {
	return &Difference{Step: step, What: err.Error(), Trace: r.trace}
}

func (r *Run) restart(ctx context.Context) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	for _, s := range r.sides() {
		s.server.Kill()
		s.server.Restart()
	}
	r.note("restart of both")
	return r.connect(ctx)
}

func (r *Run) note(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, args...))
	if len(r.trace) > 40 {
		r.trace = slices.Clone(r.trace[len(r.trace)-20:])
	}
}

// both sends one call to both servers at the same time, compares the answers, and returns etcd's, which also updates the world.
func (r *Run) both(ctx context.Context, c call) (oracle, subject answer, err error) {
	r.note("%s %v", c.rpc, c.request)
	r.requests++
	var wg sync.WaitGroup
	wg.Go(func() { subject = r.subject.do(ctx, c) })
	oracle = r.oracle.do(ctx, c)
	wg.Wait()
	if r.beforeCompare != nil {
		r.beforeCompare(c.rpc, &subject)
	}
	if err := Compare(c.request, oracle, subject); err != nil {
		return oracle, subject, fmt.Errorf("%s %v (%v): %w", c.rpc, c.request, &r.world, err)
	}
	r.Seen[c.rpc]++
	if oracle.err != nil {
		r.Seen[oracle.err.Message()]++
	}
	r.learn(c.request, oracle)
	return oracle, subject, nil
}

// learn updates the world from etcd's answer.
func (r *Run) learn(request proto.Message, a answer) {
	if a.err != nil {
		return
	}
	if h, ok := a.message.(interface{ GetHeader() *pb.ResponseHeader }); ok && h.GetHeader() != nil {
		r.world.Rev = max(r.world.Rev, h.GetHeader().Revision)
	}
	switch q := request.(type) {
	case *pb.CompactionRequest:
		r.world.Compacted = q.Revision
		r.world.ZeroCompaction = r.world.ZeroCompaction || q.Revision == 0
	case *pb.LeaseGrantRequest:
		if q.ID == 0 {
			r.world.ServerLeases++
		}
	}
}

// Compare reports how the subject's answer differs from etcd's, or nil. Known differences are mapped away.
func Compare(request proto.Message, oracle, subject answer) error {
	if oracle.err != nil || subject.err != nil {
		if oracle.err != nil && subject.err != nil &&
			oracle.err.Code() == subject.err.Code() && oracle.err.Message() == subject.err.Message() {
			return nil
		}
		return fmt.Errorf("answers differ\n  etcd:    %v\n  subject: %v", oracle, subject)
	}
	before := [2]string{oracle.String(), subject.String()}
	reconcile(request, oracle.message, subject.message)
	if diff := cmp.Diff(oracle.message, subject.message, protocmp.Transform()); diff != "" {
		return fmt.Errorf("answers differ (-etcd +subject):\n%s  etcd:    %s\n  subject: %s", diff, before[0], before[1])
	}
	return nil
}

// settle waits until all streams of both sides have delivered everything, and compares them.
//
// It first writes, so that the progress it then waits for cannot be that of an earlier request. Watchers that start in the
// future suppress progress, so it writes until there are none.
func (r *Run) settle(ctx context.Context) error {
	writes := 1
	if len(r.world.Watches[streamFuture]) > 0 {
		writes = 10
	}
	for range writes {
		if _, _, err := r.both(ctx, rpcPut(&pb.PutRequest{Key: []byte("~fence")})); err != nil {
			return err
		}
		r.requests-- // random requests are what counts
	}
	for i := range r.oracle.streams {
		for _, s := range r.sides() {
			if err := s.streams[i].settle(r.world.Rev); err != nil {
				return err
			}
		}
		if err := r.compareStreams(r.oracle.streams[i], r.subject.streams[i]); err != nil {
			return fmt.Errorf("watch stream %d: %w", i, err)
		}
		r.world.Watches[i] = r.oracle.streams[i].liveIDs()
	}
	return nil
}

// compareStreams compares, watcher by watcher, everything two streams have delivered, and forgets it.
func (r *Run) compareStreams(oracle, subject *watchStream) error {
	a, b := oracle.take(), subject.take()
	if len(a) != len(b) {
		return fmt.Errorf("etcd created %d watchers, subject %d", len(a), len(b))
	}
	for i := range a {
		if diff := cmp.Diff(a[i], b[i], protocmp.Transform(), protocmp.IgnoreFields(&pb.WatchResponse{}, "header"),
			protocmp.IgnoreUnknown()); diff != "" {
			return fmt.Errorf("watcher %d differs (-etcd +subject):\n%s", i, diff)
		}
		for j := range a[i] {
			r.sawWatch(a[i][j])
			if x, y := a[i][j].Header, b[i][j].Header; !proto.Equal(x, y) {
				return fmt.Errorf("watcher %d: header of %v: etcd %v, subject %v", i, a[i][j], x, y)
			}
		}
	}
	return nil
}

// take returns what was delivered since the last call, without the watchers that have ended before.
func (w *watchStream) take() [][]*pb.WatchResponse {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([][]*pb.WatchResponse, len(w.logs))
	for i, log := range w.logs {
		out[i] = log
		w.logs[i] = nil
	}
	return out
}

func (r *Run) sawWatch(w *pb.WatchResponse) {
	switch {
	case w.Created && !w.Canceled:
		r.Seen["watch created"]++
	case w.Canceled && w.CompactRevision != 0:
		r.Seen["watch compacted"]++
	case w.Canceled && w.CancelReason != "":
		r.Seen["watch refused: "+w.CancelReason]++
	case w.Canceled:
		r.Seen["watch canceled"]++
	case w.Events[0].PrevKv != nil:
		r.Seen["event with prev_kv"]++
	default:
		r.Seen["event"]++
	}
}
