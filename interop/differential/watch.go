package differential

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// patience is how long a watch stream may take to deliver what is due.
const patience = 20 * time.Second

// watchStream is one Watch RPC of one side with everything it has delivered.
type watchStream struct {
	side *side
	rpc  pb.Watch_WatchClient

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when anything below changes
	failed  error         // of the stream, or a broken rule
	// logs holds, per created watcher in order of creation, its created, event and canceled items.
	logs [][]*pb.WatchResponse
	// live maps a watch id to its entry in logs until its cancel is answered. After a compaction cancel the id stays taken.
	live map[int64]int
	// creates counts created responses, cancels canceled ones without created; compacted lists ids cancelled by a compaction.
	creates, cancels int
	compacted        []int64
	// progress is the newest revision of a response with watch id -1.
	progress int64
	lastMod  map[int64]int64
}

func openWatchStream(ctx context.Context, s *side) (*watchStream, error) {
	rpc, err := s.raw.Watch.Watch(ctx)
	if err != nil {
		return nil, err
	}
	w := &watchStream{side: s, rpc: rpc, changed: make(chan struct{}), live: map[int64]int{}, lastMod: map[int64]int64{}}
	go w.receive()
	return w, nil
}

func (w *watchStream) receive() {
	for {
		r, err := w.rpc.Recv()
		if err == nil {
			w.side.normalize(r)
		}
		w.mu.Lock()
		if err == nil {
			err = w.record(r)
		}
		if err != nil && w.failed == nil {
			w.failed = err
		}
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// record files one response. The lock is held.
func (w *watchStream) record(r *pb.WatchResponse) error {
	h := r.Header
	if h == nil || h.ClusterId != 1 || h.MemberId != 2 || h.RaftTerm != 3 {
		return fmt.Errorf("watch response with a wrong header: %v", r)
	}
	switch {
	case r.Created:
		w.creates++
		if !r.Canceled {
			w.live[r.WatchId] = len(w.logs)
			delete(w.lastMod, r.WatchId)
		}
		w.logs = append(w.logs, []*pb.WatchResponse{r})
		return nil
	case r.Canceled:
		return w.recordCanceled(r)
	case r.WatchId == -1 && len(r.Events) == 0:
		w.progress = max(w.progress, h.Revision)
		return nil
	}
	if err := w.checkResponse(r); err != nil {
		return err
	}
	n := w.live[r.WatchId]
	for _, e := range r.Events {
		w.logs[n] = append(w.logs[n], &pb.WatchResponse{WatchId: r.WatchId, Events: []*mvccpb.Event{e}})
	}
	return nil
}

func (w *watchStream) recordCanceled(r *pb.WatchResponse) error {
	n, ok := w.live[r.WatchId]
	if !ok {
		return fmt.Errorf("cancel of a watcher that does not exist: %v", r)
	}
	w.logs[n] = append(w.logs[n], r)
	if r.CompactRevision != 0 {
		w.compacted = append(w.compacted, r.WatchId)
		return nil
	}
	w.cancels++
	delete(w.live, r.WatchId)
	w.compacted = slices.DeleteFunc(w.compacted, func(id int64) bool { return id == r.WatchId })
	return nil
}

// checkResponse holds one event response against the rules every single one must keep. No stream here has events big enough for a
// fragmented response.
func (w *watchStream) checkResponse(r *pb.WatchResponse) error {
	if _, ok := w.live[r.WatchId]; !ok {
		return fmt.Errorf("events for a watcher that does not exist: %v", r)
	}
	if len(r.Events) == 0 {
		return fmt.Errorf("empty response without a reason: %v", r)
	}
	if r.Fragment {
		return fmt.Errorf("small response sent as a fragment: %v", r)
	}
	last := w.lastMod[r.WatchId]
	for i, e := range r.Events {
		if e.Kv.ModRevision < last || (i == 0 && e.Kv.ModRevision == last) {
			return fmt.Errorf("revision %d after %d, or split over responses: %v", e.Kv.ModRevision, last, r)
		}
		last = e.Kv.ModRevision
	}
	w.lastMod[r.WatchId] = last
	if r.Header.Revision < last {
		return fmt.Errorf("header revision %d below that of an event: %v", r.Header.Revision, r)
	}
	return nil
}

// wait blocks until done, which runs under the lock, is true.
func (w *watchStream) wait(what string, done func() bool) error {
	timeout := time.After(patience)
	for {
		w.mu.Lock()
		ok, failed, changed := done(), w.failed, w.changed
		w.mu.Unlock()
		if failed != nil {
			return fmt.Errorf("%s: watch stream: %w", w.side.name, failed)
		}
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-timeout:
			return fmt.Errorf("%s: watch stream: %s: nothing within %v", w.side.name, what, patience)
		}
	}
}

// create starts a watcher and waits for the answer, and if compactedAt says that its start has been compacted, also for the cancel
// that follows in its own time, so that later steps find it there on both sides.
func (w *watchStream) create(r *pb.WatchCreateRequest, compactedAt int64) error {
	w.mu.Lock()
	before := w.creates
	w.mu.Unlock()
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: proto.CloneOf(r)}}
	if err := w.rpc.Send(request); err != nil {
		return fmt.Errorf("%s: %w", w.side.name, err)
	}
	if err := w.wait("created response", func() bool { return w.creates > before }); err != nil {
		return err
	}
	if r.StartRevision <= 0 || r.StartRevision >= compactedAt {
		return nil
	}
	return w.wait("cancel by compaction", func() bool {
		log := w.logs[len(w.logs)-1]
		return log[0].Canceled || len(log) > 1
	})
}

func (w *watchStream) sendCancel(id int64) error {
	return w.rpc.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}})
}

// cancel ends a watcher and waits for the answer. An unknown id is answered with silence, which the next settle proves.
func (w *watchStream) cancel(id int64) error {
	w.mu.Lock()
	_, exists := w.live[id]
	before := w.cancels
	w.mu.Unlock()
	if err := w.sendCancel(id); err != nil {
		return fmt.Errorf("%s: %w", w.side.name, err)
	}
	if !exists {
		return nil
	}
	return w.wait(fmt.Sprintf("answer to the cancel of %d", id), func() bool { _, there := w.live[id]; return !there && w.cancels > before })
}

var errNotYet = errors.New("not yet")

// settle waits until the stream has delivered everything up to rev. It asks for progress again and again, as a client must,
// and cancels watchers that a compaction has ended, because their ids stay taken and suppress progress.
func (w *watchStream) settle(rev int64) error {
	deadline := time.Now().Add(patience)
	for {
		err := w.settleOnce(rev)
		if !errors.Is(err, errNotYet) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: watch stream: no progress to revision %d within %v", w.side.name, rev, patience)
		}
	}
}

func (w *watchStream) settleOnce(rev int64) error {
	w.mu.Lock()
	ended, alive, progress, failed := w.compacted, len(w.live), w.progress, w.failed
	w.compacted = nil
	changed := w.changed
	w.mu.Unlock()
	switch {
	case failed != nil:
		return fmt.Errorf("%s: watch stream: %w", w.side.name, failed)
	case progress > rev:
		return fmt.Errorf("%s: progress at revision %d, but the store is at %d", w.side.name, progress, rev)
	case len(ended) == 0 && (alive == 0 || progress == rev):
		return nil
	}
	for _, id := range ended {
		if err := w.cancel(id); err != nil {
			return err
		}
	}
	if err := w.rpc.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}); err != nil {
		return fmt.Errorf("%s: %w", w.side.name, err)
	}
	select {
	case <-changed:
	case <-time.After(30 * time.Millisecond):
	}
	return errNotYet
}

func (w *watchStream) liveIDs() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]int64, 0, len(w.live))
	for id := range w.live {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
