package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"vetch/interop/harness"
)

const (
	// writers put keys through all members, each as fast as it is answered but for pace.
	writers = 4
	pace    = 5 * time.Millisecond
	// roamingTimeout lets a client of all members give up and ask another one soon.
	roamingTimeout = 500 * time.Millisecond
	// pinnedTimeout is long: a request sent to a paused member is still waited for when that goes on, and must then be answered truly.
	pinnedTimeout = 20 * time.Second
	// recovery is how long a cluster may take to acknowledge again. Seconds are usual; machines may be loaded.
	recovery = time.Minute
)

const registerKey = "register"

// load writes, reads and watches until it is finished, through whatever happens to the members meanwhile.
type load struct {
	t        *testing.T
	cluster  *harness.Cluster
	ctx      context.Context
	end      context.CancelFunc
	running  sync.WaitGroup
	all      *clientv3.Client
	register register
	watchers []*watcher

	acknowledged, failed atomic.Int64
	mu                   sync.Mutex
	revisions            map[string]int64 // of the acknowledged puts
	lastAck              time.Time
	longestGap           time.Duration
}

// startLoad begins with the members the cluster has now.
func startLoad(t *testing.T, c *harness.Cluster) *load {
	l := &load{t: t, cluster: c, all: c.Client(), revisions: map[string]int64{}}
	l.ctx, l.end = context.WithCancel(t.Context())
	t.Cleanup(func() { l.end(); l.running.Wait() })
	l.watchers = append(l.watchers, startWatcher(t, "all", l.all))
	for i := range writers {
		l.running.Go(func() { l.put(i) })
	}
	l.running.Go(func() { l.swap("all", l.all, roamingTimeout) })
	for _, m := range c.Members {
		pinned := l.watch(m)
		l.running.Go(func() { l.swap(m.Name(), pinned, pinnedTimeout) })
		l.running.Go(func() { l.read(m.Name(), pinned) })
	}
	return l
}

// watch follows everything through one member, and gives the client it does that with.
func (l *load) watch(m *harness.Server) *clientv3.Client {
	c := m.Client()
	w := startWatcher(l.t, m.Name(), c)
	w.through = m
	l.watchers = append(l.watchers, w)
	return c
}

// each repeats operation, paced, until the load is finished.
func (l *load) each(timeout time.Duration, operation func(ctx context.Context, n int)) {
	ticks := time.NewTicker(pace)
	defer ticks.Stop()
	for n := 0; ; n++ {
		ctx, cancel := context.WithTimeout(l.ctx, timeout)
		operation(ctx, n)
		cancel()
		select {
		case <-l.ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// put puts keys of its own, each once.
func (l *load) put(writer int) {
	l.each(roamingTimeout, func(ctx context.Context, n int) {
		key := fmt.Sprintf("put/%d/%d", writer, n)
		r, err := l.all.Put(ctx, key, key)
		if err != nil {
			l.failed.Add(1)
			return
		}
		l.acknowledged.Add(1)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.revisions[key] = r.Header.Revision
		now := time.Now()
		if !l.lastAck.IsZero() {
			l.longestGap = max(l.longestGap, now.Sub(l.lastAck))
		}
		l.lastAck = now
	})
}

// swap writes the register if it is as last seen.
func (l *load) swap(by string, c *clientv3.Client, timeout time.Duration) {
	var modified int64
	l.each(timeout, func(ctx context.Context, n int) {
		value := fmt.Sprintf("%s/%d", by, n)
		l.register.attempt(value)
		sent := time.Now()
		r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(registerKey), "=", modified)).
			Then(clientv3.OpPut(registerKey, value), clientv3.OpGet(registerKey)).
			Else(clientv3.OpGet(registerKey)).Commit()
		if err != nil {
			return // it may have happened, or happen yet
		}
		got := (*clientv3.GetResponse)(r.Responses[len(r.Responses)-1].GetResponseRange())
		modified = l.saw(by, sent, got, r.Succeeded)
	})
}

// read reads the register.
func (l *load) read(by string, c *clientv3.Client) {
	l.each(pinnedTimeout, func(ctx context.Context, _ int) {
		sent := time.Now()
		if got, err := c.Get(ctx, registerKey); err == nil {
			l.saw(by, sent, got, false)
		}
	})
}

func (l *load) saw(by string, sent time.Time, got *clientv3.GetResponse, wrote bool) (modified int64) {
	o := observation{by: by, sent: sent, answered: time.Now(), wrote: wrote}
	if len(got.Kvs) == 1 {
		o.version, o.value, modified = got.Kvs[0].Version, string(got.Kvs[0].Value), got.Kvs[0].ModRevision
	}
	l.register.observe(o)
	return modified
}

// awaitWrites waits until that many more puts are acknowledged.
func (l *load) awaitWrites(more int64) {
	l.t.Helper()
	target := l.acknowledged.Load() + more
	harness.Eventually(l.t, recovery, fmt.Sprintf("%d more puts are acknowledged", more), func() bool { return l.acknowledged.Load() >= target })
}

// revision is the newest that an acknowledged put has made.
func (l *load) revision() (newest int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, revision := range l.revisions {
		newest = max(newest, revision)
	}
	return newest
}

// gap is the longest time without an acknowledgement since the last call.
func (l *load) gap() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	longest := l.longestGap
	l.longestGap = 0
	return longest
}

// finish ends the load and holds all that was seen against what the members hold.
func (l *load) finish() {
	l.t.Helper()
	l.end()
	l.running.Wait()
	fence := l.fence()
	history := l.histories(fence)
	for _, w := range l.watchers {
		if w.through != nil && !slices.Contains(l.cluster.Members, w.through) {
			continue // it has been removed
		}
		w.awaitRevision(fence)
		w.check(history)
	}
	l.checkAcknowledged(history)
	for _, m := range l.cluster.Members {
		sent := time.Now()
		got, err := m.Client().Get(harness.Context(l.t), registerKey)
		if err != nil {
			l.t.Fatal(err)
		}
		l.saw("at last "+m.Name(), sent, got, false)
	}
	if err := l.register.check(); err != nil {
		l.t.Error(err)
	}
	l.cluster.WaitHashesEqual()
	l.t.Logf("%d puts acknowledged, %d of unknown outcome, %d observations of the register, %d revisions", l.acknowledged.Load(),
		l.failed.Load(), len(l.register.observations), fence)
}

// fence is the revision of a last write.
func (l *load) fence() (revision int64) {
	l.t.Helper()
	harness.Eventually(l.t, recovery, "the last put is acknowledged", func() bool {
		ctx, cancel := context.WithTimeout(l.t.Context(), roamingTimeout)
		defer cancel()
		r, err := l.all.Put(ctx, "fence", "")
		if err == nil {
			revision = r.Header.Revision
		}
		return err == nil
	})
	return revision
}

// histories reads the whole history from every member. They must be one, and without a gap: every write of the load is one revision.
func (l *load) histories(fence int64) []string {
	l.t.Helper()
	var first []string
	for _, m := range l.cluster.Members {
		w := startWatcher(l.t, "history of "+m.Name(), m.Client())
		w.awaitRevision(fence)
		if first == nil {
			first = w.upTo(fence)
			for i, event := range first {
				if revision := revisionOf(event); revision != int64(i+2) {
					l.t.Fatalf("the history of %s has no single event at revision %d: %s", m.Name(), i+2, event)
				}
			}
		}
		w.check(first)
	}
	return first
}

func (l *load) checkAcknowledged(history []string) {
	l.t.Helper()
	held := make(map[string]bool, len(history))
	for _, event := range history {
		held[event] = true
	}
	missing := 0
	for key, revision := range l.revisions {
		if !held[describe(revision, "PUT", key, key)] {
			if missing++; missing < 10 {
				l.t.Errorf("acknowledged, but not in the history: %s at revision %d", key, revision)
			}
		}
	}
}
