package contract

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"vetch/interop/harness"
)

// TestEverythingSurvivesKill compares all that can be read before and after a SIGKILL.
func TestEverythingSurvivesKill(t *testing.T) {
	f := setup(t)
	f.grant(1, 5000)
	for i := range 60 {
		f.put(fmt.Sprint("k", i%9), fmt.Sprint(i))
		if i%10 == 0 {
			if _, err := f.KV.DeleteRange(f.ctx, &pb.DeleteRangeRequest{Key: fmt.Appendf(nil, "k%d", i%9)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.putLeased("leased", 1)
	f.compact(20)
	snapshot := func() string {
		all := ""
		for revision := int64(20); revision <= f.revision(); revision++ {
			r := f.get(&pb.RangeRequest{Key: everything, RangeEnd: everything, Revision: revision})
			all += fmt.Sprintln(r.Header.Revision, r.Count, r.Kvs)
		}
		h, err := f.Maintenance.HashKV(f.ctx, &pb.HashKVRequest{})
		must(t, h, err)
		l := f.timeToLive(1, true)
		return all + line(h.Hash, h.CompactRevision, h.HashRevision, l.GrantedTTL, len(l.Keys))
	}
	before := snapshot()
	for range 2 {
		f.server.Kill()
		f.server.Restart()
		f.waitConnected()
		want(t, "content", snapshot(), before)
	}
	_, err := f.KV.Range(f.ctx, &pb.RangeRequest{Key: []byte("k"), Revision: 19})
	wantError(t, err, codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted")
	s := f.watch()
	q := allKeys()
	q.StartRevision = f.revision()
	s.create(q)
	events, _ := s.events(1)
	want(t, "history", string(events[0].Kv.Key), "leased")
}

// TestAcknowledgedWritesSurviveKill kills the server under parallel writers: what was acknowledged is there, with its revision.
func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	f := setup(t)
	const writers = 8
	var acknowledged sync.Map // key -> revision
	for round := range 3 {
		var wg sync.WaitGroup
		var n atomic.Int64
		enough := make(chan struct{})
		for w := range writers {
			wg.Go(func() {
				for i := 0; ; i++ {
					key := fmt.Sprintf("%d/%d/%d", round, w, i)
					r, err := f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte(key), Value: []byte(key)})
					if err != nil {
						if c := status.Code(err); c != codes.Unavailable {
							t.Errorf("put while the server is killed: %v", err)
						}
						return
					}
					acknowledged.Store(key, r.Header.Revision)
					if n.Add(1) == 400 {
						close(enough)
					}
				}
			})
		}
		<-enough
		f.server.Kill()
		wg.Wait()
		f.server.Restart()
		f.waitConnected()
		highest := int64(0)
		acknowledged.Range(func(key, revision any) bool {
			r := f.get(&pb.RangeRequest{Key: []byte(key.(string))})
			want(t, "acknowledged "+key.(string), brief(r.Kvs), fmt.Sprintf("%s=%s@%d", key, key, revision))
			highest = max(highest, revision.(int64))
			return true
		})
		if now := f.revision(); now < highest {
			t.Errorf("revision went back to %d, %d was acknowledged", now, highest)
		}
	}
}

// TestDataDirIsLocked: a second process on the same folder waits, and serves what is there once the first has ended.
func TestDataDirIsLocked(t *testing.T) {
	f := setup(t)
	f.put("k", "v")
	second := harness.StartTarget(t, f.server.Target, harness.Options{DataDir: f.server.DataDir, NoWait: true})
	raw := second.Dial()
	for range 15 { // that it does not serve can only be shown by asking for a while
		ctx, cancel := context.WithTimeout(f.ctx, 100*time.Millisecond)
		_, err := raw.KV.Range(ctx, &pb.RangeRequest{Key: []byte("k")})
		cancel()
		if err == nil {
			t.Fatal("two processes serve one data folder")
		}
		if !second.Alive() {
			t.Fatalf("the second process ended instead of waiting:\n%s", second.Log())
		}
	}
	want(t, "the first goes on", f.put("k", "w").Header.Revision, 3)
	f.server.Kill()
	second.WaitReady()
	r, err := second.Dial().KV.Range(f.ctx, &pb.RangeRequest{Key: []byte("k")})
	want(t, "value", brief(must(t, r, err).Kvs), "k=w@3")
}

// TestTerminate: SIGTERM ends the process as etcd's does, and nothing is lost.
func TestTerminate(t *testing.T) {
	f := setup(t)
	f.put("k", "v")
	watching := f.watch()
	watching.create(allKeys())
	state := f.server.Stop()
	ws := state.Sys().(syscall.WaitStatus)
	if !(ws.Signaled() && ws.Signal() == syscall.SIGTERM) && state.ExitCode() != 0 {
		t.Errorf("ended with %v", state)
	}
	if _, err := watching.rpc.Recv(); err == nil {
		t.Error("the watch stream did not end")
	}
	f.server.Restart()
	f.waitConnected()
	want(t, "value", brief(f.get(&pb.RangeRequest{Key: []byte("k")}).Kvs), "k=v@2")
}
