package contract

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// next is the next response of a clientv3 watch.
func next(t testing.TB, ch clientv3.WatchChan) clientv3.WatchResponse {
	t.Helper()
	select {
	case r, ok := <-ch:
		if !ok {
			t.Fatal("watch channel closed")
		}
		return r
	case <-time.After(time.Minute):
		t.Fatal("no watch response within a minute")
		panic("unreachable")
	}
}

func TestThousandWatchers(t *testing.T) {
	f := setup(t)
	c := f.server.Client()
	const watchers = 1000
	var channels []clientv3.WatchChan
	for i := range watchers {
		key, opts := "k", []clientv3.OpOption{clientv3.WithCreatedNotify()}
		if i%2 == 1 {
			opts = append(opts, clientv3.WithPrefix())
		}
		channels = append(channels, c.Watch(f.ctx, key, opts...))
	}
	for i, ch := range channels {
		if r := next(t, ch); !r.Created {
			t.Fatalf("watcher %d: %+v", i, r)
		}
	}
	const puts = 5
	for i := range puts {
		f.put("k", fmt.Sprint(i))
	}
	for i, ch := range channels {
		for n := 0; n < puts; {
			for _, e := range next(t, ch).Events {
				if e.Kv.ModRevision != int64(n+2) || string(e.Kv.Value) != fmt.Sprint(n) {
					t.Fatalf("watcher %d: event %v, want number %d", i, e, n)
				}
				n++
			}
		}
	}
}

// TestWatchResumesAfterRestart kills the server under watchers. clientv3 resumes from the last revision it saw, without gap or repetition.
func TestWatchResumesAfterRestart(t *testing.T) {
	f := setup(t)
	c := f.server.Client()
	ch := c.Watch(f.ctx, "k", clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithPrevKV())
	if r := next(t, ch); !r.Created {
		t.Fatalf("%+v", r)
	}
	expect := int64(2)
	read := func(n int) {
		t.Helper()
		for n > 0 {
			r := next(t, ch)
			for _, e := range r.Events {
				if e.Kv.ModRevision != expect {
					t.Fatalf("event at revision %d, want %d", e.Kv.ModRevision, expect)
				}
				expect++
				n--
			}
		}
	}
	for range 3 {
		for i := range 10 {
			f.put(fmt.Sprint("k", i%3), "v")
		}
		read(7) // the rest is still under way when the server ends
		f.server.Kill()
		f.server.Restart()
		f.waitConnected()
		for i := range 10 {
			f.put(fmt.Sprint("k", i%3), "w")
		}
		read(13)
	}
}

// waitConnected makes the plain connection usable again after a restart.
func (f *fixture) waitConnected() {
	f.Helper()
	f.Conn.ResetConnectBackoff()
	f.Raw = f.server.Dial()
}

// TestWatchMissesCompaction: what a resuming watcher needs has been compacted, which ends it with the compacted revision.
func TestWatchMissesCompaction(t *testing.T) {
	f := setup(t)
	c := f.server.Client()
	for range 9 {
		f.put("k", "v")
	}
	f.compact(8)
	ch := c.Watch(f.ctx, "k", clientv3.WithRev(3))
	r := next(t, ch)
	want(t, "compacted at", r.CompactRevision, 8)
	want(t, "error", r.Err(), rpctypes.ErrCompacted)
	if _, open := <-ch; open {
		t.Error("channel still open")
	}
}

func TestProgressNotify(t *testing.T) {
	f := setup(t, "--watch-progress-notify-interval=200ms")
	c := f.server.Client()
	f.put("other", "v")
	ch := c.Watch(f.ctx, "k", clientv3.WithProgressNotify())
	r := next(t, ch)
	if !r.IsProgressNotify() || r.Header.Revision != 2 {
		t.Errorf("%+v", r)
	}
	f.put("other", "v")
	for r.Header.Revision != 3 {
		if r = next(t, ch); !r.IsProgressNotify() {
			t.Errorf("%+v", r)
		}
	}
	f.put("k", "v")
	for r = next(t, ch); r.IsProgressNotify(); r = next(t, ch) {
	}
	want(t, "event", len(r.Events), 1)

	s := f.watch()
	s.create(allKeys())
	q := allKeys()
	q.ProgressNotify = true
	s.create(q)
	raw := s.recv()
	want(t, "own watch id, no events, current revision", line(raw.WatchId, len(raw.Events), raw.Header.Revision), "1 0 4")
}

func TestRequestProgressWithClient(t *testing.T) {
	f := setup(t)
	c := f.server.Client()
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	ch := c.Watch(ctx, "k", clientv3.WithCreatedNotify())
	next(t, ch)
	f.put("k", "v")
	f.put("other", "v")
	if r := next(t, ch); len(r.Events) != 1 {
		t.Fatalf("%+v", r)
	}
	if err := c.RequestProgress(ctx); err != nil {
		t.Fatal(err)
	}
	r := next(t, ch)
	want(t, "progress", line(r.IsProgressNotify(), r.Header.Revision), "true 3")
}
