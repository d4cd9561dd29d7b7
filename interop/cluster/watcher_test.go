package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"vetch/interop/harness"
)

// watcher follows all keys from the first revision on.
type watcher struct {
	t    *testing.T
	name string
	// through is the only member it asks, or nil if it asks all.
	through *harness.Server

	mu     sync.Mutex
	events []string
	newest int64
	failed error
}

func startWatcher(t *testing.T, name string, c *clientv3.Client) *watcher {
	w := &watcher{t: t, name: name}
	ctx, cancel := context.WithCancel(t.Context())
	responses := c.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r := range responses {
			w.take(r)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *watcher) take(r clientv3.WatchResponse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := r.Err(); err != nil && w.failed == nil {
		w.failed = err
	}
	for _, e := range r.Events {
		if e.Kv.ModRevision < w.newest && w.failed == nil {
			w.failed = fmt.Errorf("revision %d after %d", e.Kv.ModRevision, w.newest)
		}
		w.newest = e.Kv.ModRevision
		w.events = append(w.events, describe(e.Kv.ModRevision, e.Type.String(), string(e.Kv.Key), string(e.Kv.Value)))
	}
}

// describe is an event as a line.
func describe(revision int64, kind, key, value string) string {
	return fmt.Sprintf("%d %s %s=%s", revision, kind, key, value)
}

func revisionOf(event string) int64 {
	number, _, _ := strings.Cut(event, " ")
	revision, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		panic(err)
	}
	return revision
}

// awaitRevision waits until the watcher has seen a revision.
func (w *watcher) awaitRevision(revision int64) {
	w.t.Helper()
	harness.Eventually(w.t, recovery, fmt.Sprintf("watcher %q is at revision %d", w.name, revision), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.failed != nil {
			w.t.Fatalf("watcher %q: %v", w.name, w.failed)
		}
		return w.newest >= revision
	})
}

// upTo is what was seen up to a revision.
func (w *watcher) upTo(revision int64) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, event := range w.events {
		if revisionOf(event) > revision {
			return append([]string(nil), w.events[:i]...)
		}
	}
	return append([]string(nil), w.events...)
}

// check demands that exactly the history was seen.
func (w *watcher) check(history []string) {
	w.t.Helper()
	seen := w.upTo(revisionOf(history[len(history)-1]))
	for i := range max(len(seen), len(history)) {
		if i >= len(seen) || i >= len(history) || seen[i] != history[i] {
			around := func(events []string) []string { return events[min(max(0, i-2), len(events)):min(i+3, len(events))] }
			w.t.Errorf("watcher %q saw %d events, the history has %d; from the first difference on (-history +seen):\n%s", w.name,
				len(seen), len(history), cmp.Diff(around(history), around(seen)))
			return
		}
	}
}
