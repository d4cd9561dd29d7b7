package cluster

import (
	"errors"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"vetch/interop/harness"
)

// TestQuorumLost kills two of three. What asked for a leader ends and is refused, what did not waits, and goes on when there is one again.
func TestQuorumLost(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	survivor := c.Others(c.Leader())[0]
	client, raw := survivor.Client(), survivor.Dial()
	ctx := harness.Context(t)
	needy := clientv3.WithRequireLeader(ctx)

	demanding := client.Watch(needy, "k", clientv3.WithCreatedNotify())
	patient := client.Watch(ctx, "k", clientv3.WithCreatedNotify())
	for _, w := range []clientv3.WatchChan{demanding, patient} {
		if r := receive(t, w); !r.Created {
			t.Fatalf("%+v", r)
		}
	}
	lease, err := client.Grant(ctx, 600)
	if err != nil {
		t.Fatal(err)
	}
	keepAlive, err := raw.Lease.LeaseKeepAlive(needy)
	if err == nil {
		err = keepAlive.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease.ID)})
	}
	if err == nil {
		_, err = keepAlive.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(needy, "k", "1"); err != nil {
		t.Fatal(err)
	}
	for _, w := range []clientv3.WatchChan{demanding, patient} {
		if r := receive(t, w); len(r.Events) != 1 {
			t.Fatalf("%+v", r)
		}
	}

	dead := c.Others(survivor)
	for _, m := range dead {
		m.Kill()
	}
	if r := receive(t, demanding); !errors.Is(r.Err(), rpctypes.ErrNoLeader) {
		t.Errorf("the watch that requires a leader: %+v, %v", r, r.Err())
	}
	if _, open := <-demanding; open {
		t.Error("the watch that requires a leader goes on")
	}
	_, err = keepAlive.Recv()
	wantNoLeader(t, "keepalive stream", err)
	_, err = raw.KV.Put(needy, &pb.PutRequest{Key: []byte("k"), Value: []byte("refused")})
	wantNoLeader(t, "put", err)
	_, err = raw.KV.Range(needy, &pb.RangeRequest{Key: []byte("k"), Serializable: true})
	wantNoLeader(t, "serializable read that requires a leader", err)
	stream, err := raw.Watch.Watch(needy)
	if err == nil {
		_, err = stream.Recv()
	}
	wantNoLeader(t, "new watch stream", err)

	if r, err := client.Get(ctx, "k", clientv3.WithSerializable()); err != nil || string(r.Kvs[0].Value) != "1" {
		t.Errorf("serializable read: %v, %v", r, err)
	}
	var calls sync.WaitGroup
	calls.Go(func() {
		timed(t, "a grant", codes.DeadlineExceeded, "context deadline exceeded", func() error {
			_, err := raw.Lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 60})
			return err
		})
	})
	calls.Go(func() {
		timed(t, "the time that a lease has left", codes.Unavailable, "etcdserver: no leader", func() error {
			_, err := raw.Lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: int64(lease.ID)})
			return err
		})
	})
	calls.Go(func() {
		timed(t, "a linearizable list of the members", codes.Unavailable, "etcdserver: request timed out", func() error {
			_, err := raw.Cluster.MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
			return err
		})
	})
	calls.Go(func() {
		timed(t, "a promotion", codes.Unavailable, "etcdserver: no leader", func() error {
			_, err := raw.Cluster.MemberPromote(ctx, &pb.MemberPromoteRequest{ID: 1})
			return err
		})
	})
	calls.Go(func() {
		timed(t, "a put that does not require a leader", codes.DeadlineExceeded, "context deadline exceeded", func() error {
			_, err := raw.KV.Put(ctx, &pb.PutRequest{Key: []byte("k"), Value: []byte("refused")})
			return err
		})
	})
	calls.Go(func() {
		timed(t, "a linearizable read", codes.Unavailable, "etcdserver: request timed out", func() error {
			_, err := raw.KV.Range(ctx, &pb.RangeRequest{Key: []byte("k")})
			return err
		})
	})
	calls.Wait()

	dead[0].Restart()
	c.Leader(survivor, dead[0])
	if _, err := client.Put(needy, "k", "2"); err != nil {
		t.Error(err)
	}
	for value := ""; value != "2"; {
		r := receive(t, patient)
		if r.Err() != nil || len(r.Events) == 0 {
			t.Fatalf("the watch that does not require a leader: %+v, %v", r, r.Err())
		}
		value = string(r.Events[len(r.Events)-1].Kv.Value)
	}
	dead[1].Restart()
	c.WaitHashesEqual()
}

func wantNoLeader(t *testing.T, what string, err error) {
	t.Helper()
	s := status.Convert(err)
	if err == nil || s.Code() != codes.Unavailable || s.Message() != "etcdserver: no leader" {
		t.Errorf("%s: got %v, want Unavailable, etcdserver: no leader", what, err)
	}
}

// timed demands an error after etcd's own deadline: 5 s and two election timeouts.
func timed(t *testing.T, what string, code codes.Code, text string, call func() error) {
	t.Helper()
	began := time.Now()
	err := call()
	took := time.Since(began)
	if s := status.Convert(err); err == nil || s.Code() != code || s.Message() != text {
		t.Errorf("%s: got %v, want %v %q", what, err, code, text)
	}
	if took < 6*time.Second || took > 20*time.Second {
		t.Errorf("%s: refused after %v, etcd's deadline is 7 s", what, took)
	}
}

func receive(t *testing.T, w clientv3.WatchChan) clientv3.WatchResponse {
	t.Helper()
	select {
	case r, open := <-w:
		if !open {
			t.Fatal("the watch has ended")
		}
		return r
	case <-time.After(recovery):
		t.Fatal("no watch response")
	}
	panic("unreachable")
}
