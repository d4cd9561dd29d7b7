package contract

import (
	"fmt"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"vetch/interop/harness"
)

// expiryPatience bounds the wait for an expiry, which is due within about a second of the time to live. A loaded machine may be slow;
// that it is not early is exact.
const expiryPatience = 30 * time.Second

func (f *fixture) timeToLive(id int64, keys bool) *pb.LeaseTimeToLiveResponse {
	f.Helper()
	r, err := f.Lease.LeaseTimeToLive(f.ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: keys})
	return must(f, r, err)
}

func (f *fixture) putLeased(key string, lease int64) {
	f.Helper()
	if _, err := f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte(key), Lease: lease}); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) leases() []int64 {
	f.Helper()
	r, err := f.Lease.LeaseLeases(f.ctx, &pb.LeaseLeasesRequest{})
	var ids []int64
	for _, l := range must(f, r, err).Leases {
		ids = append(ids, l.ID)
	}
	return ids
}

func TestLeaseGrant(t *testing.T) {
	f := setup(t)
	r := f.grant(0, 1000)
	if r.ID <= 0 || r.TTL != 1000 || r.Error != "" || r.Header.Revision != 1 {
		t.Errorf("server-chosen id: %v", r)
	}
	want(t, "chosen id", line(f.grant(77, 500).ID, f.grant(-5, 600).ID), "77 -5")
	for _, ttl := range []int64{0, 1, -100} {
		want(t, fmt.Sprintf("TTL %d is raised to the minimum", ttl), f.grant(0, ttl).TTL, 2)
	}
	want(t, "longest", f.grant(78, 9_000_000_000).TTL, 9_000_000_000)
	_, err := f.Lease.LeaseGrant(f.ctx, &pb.LeaseGrantRequest{ID: 77, TTL: 5})
	wantError(t, err, codes.FailedPrecondition, "etcdserver: lease already exists")
	unknown := f.timeToLive(4711, true)
	want(t, "unknown", line(unknown.ID, unknown.TTL, unknown.GrantedTTL, len(unknown.Keys)), "4711 -1 0 0")
	ids := f.leases()
	for _, id := range []int64{77, -5, 78, r.ID} {
		want(t, fmt.Sprintf("lease %d is listed", id), slices.Contains(ids, id), true)
	}
}

func TestLeaseMinimumFollowsElectionTimeout(t *testing.T) {
	f := setup(t, "--heartbeat-interval=200", "--election-timeout=3000")
	want(t, "1.5 election timeouts, rounded up", f.grant(1, 1).TTL, 5)
}

func TestLeaseKeys(t *testing.T) {
	f := setup(t)
	f.grant(1, 1000)
	f.grant(2, 1000)
	keys := func(id int64) string {
		var s []string
		for _, k := range f.timeToLive(id, true).Keys {
			s = append(s, string(k))
		}
		slices.Sort(s)
		return fmt.Sprint(s)
	}
	f.putLeased("a", 1)
	f.putLeased("b", 1)
	f.putLeased("c", 1)
	want(t, "attached", keys(1), "[a b c]")
	f.putLeased("a", 2)
	want(t, "moved", keys(1)+keys(2), "[b c][a]")
	f.putLeased("b", 0)
	want(t, "detached", keys(1), "[c]")
	if _, err := f.KV.DeleteRange(f.ctx, &pb.DeleteRangeRequest{Key: []byte("c")}); err != nil {
		t.Fatal(err)
	}
	want(t, "deleted", keys(1), "[]")
	before := f.revision()
	if _, err := f.Lease.LeaseRevoke(f.ctx, &pb.LeaseRevokeRequest{ID: 1}); err != nil {
		t.Fatal(err)
	}
	want(t, "revoke without keys: revision", f.revision(), before)
	r, err := f.Lease.LeaseRevoke(f.ctx, &pb.LeaseRevokeRequest{ID: 2})
	must(t, r, err)
	want(t, "revoke with keys: revision", f.revision(), before+1)
	want(t, "key", f.get(&pb.RangeRequest{Key: []byte("a")}).Count, 0)
	want(t, "leases", len(f.leases()), 0)
}

func TestLeaseExpiry(t *testing.T) {
	f := setup(t)
	s := f.watch()
	s.create(allKeys())
	started := time.Now()
	f.grant(1, 2)
	f.putLeased("z", 1)
	f.putLeased("a", 1)
	f.putLeased("m", 1)
	s.events(3)
	events, responses := s.events(3)
	want(t, "expiry", story(events), "DELETE a@5 DELETE m@5 DELETE z@5")
	want(t, "in one response", responses, 1)
	if took := time.Since(started); took < 2*time.Second || took > expiryPatience {
		t.Errorf("expired after %v", took)
	}
	want(t, "gone", line(f.timeToLive(1, false).TTL, len(f.leases())), "-1 0")
}

func TestLeaseKeepAlive(t *testing.T) {
	f := setup(t)
	f.grant(1, 2)
	f.grant(2, 2)
	f.putLeased("kept", 1)
	f.putLeased("lost", 2)
	ka, err := f.Lease.LeaseKeepAlive(f.ctx)
	must(t, ka, err)
	alive := func(id int64) *pb.LeaseKeepAliveResponse {
		t.Helper()
		if err := ka.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
		r, err := ka.Recv()
		return must(t, r, err)
	}
	// Until the lease that is not kept has gone, keep the other.
	harness.Eventually(t, expiryPatience, "the lease that is not kept alive expires", func() bool {
		if r := alive(1); r.ID != 1 || r.TTL != 2 || r.Header == nil || r.Header.Revision == 0 {
			t.Fatalf("keep-alive: %v", r)
		}
		return f.get(&pb.RangeRequest{Key: []byte("lost")}).Count == 0
	})
	for range 20 { // for longer than the time to live once more
		alive(1)
		time.Sleep(150 * time.Millisecond)
	}
	want(t, "kept", f.get(&pb.RangeRequest{Key: []byte("kept")}).Count, 1)
	want(t, "expired: TTL 0, and the stream stays", line(alive(2).TTL, alive(4711).TTL, alive(1).TTL), "0 0 2")
	// Several requests at once are answered in order.
	for _, id := range []int64{1, 9, 1, 8} {
		if err := ka.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []int64{1, 9, 1, 8} {
		r, err := ka.Recv()
		want(t, "order", must(t, r, err).ID, id)
	}
}

// TestLeaseClient is the usual life of a lease in clientv3: kept alive in the background, then abandoned.
func TestLeaseClient(t *testing.T) {
	f := setup(t)
	keeper := f.server.Client()
	lease, err := keeper.Grant(f.ctx, 2)
	must(t, lease, err)
	ch, err := keeper.KeepAlive(f.ctx, lease.ID)
	must(t, ch, err)
	if _, err := keeper.Put(f.ctx, "k", "v", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if r, ok := <-ch; !ok || r.TTL != 2 {
			t.Fatalf("keep-alive %v %v", r, ok)
		}
	}
	want(t, "kept for longer than its time to live", f.get(&pb.RangeRequest{Key: []byte("k")}).Count, 1)
	if err := keeper.Close(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, expiryPatience, "expiry after the client has gone", func() bool {
		return f.get(&pb.RangeRequest{Key: []byte("k")}).Count == 0
	})
}

// TestManyLeasesExpire: all go, and those with more time stay.
func TestManyLeasesExpire(t *testing.T) {
	f := setup(t)
	const n = 1000
	for id := int64(1); id <= n; id++ {
		f.grant(id, 2)
		if id%100 == 0 {
			f.putLeased(fmt.Sprint("k", id), id)
		}
	}
	f.grant(n+1, 1000)
	f.putLeased("stays", n+1)
	harness.Eventually(t, expiryPatience, "1000 leases expire", func() bool { return len(f.leases()) == 1 })
	// Where granting takes longer than the leases last, the first end before the last begin: the keys are
	// told by name, not by revision.
	left := []string{}
	for _, kv := range f.get(&pb.RangeRequest{Key: everything, RangeEnd: everything, KeysOnly: true}).Kvs {
		left = append(left, string(kv.Key))
	}
	want(t, "keys left", fmt.Sprint(left), "[stays]")
}

func TestLeasesSurviveRestart(t *testing.T) {
	f := setup(t)
	f.grant(1, 1000)
	f.grant(2, 3)
	f.putLeased("long", 1)
	f.putLeased("short", 2)
	f.server.Kill()
	f.server.Restart()
	f.waitConnected()
	r := f.timeToLive(1, true)
	want(t, "long lease", line(r.GrantedTTL, r.TTL > 900 && r.TTL <= 1000, len(r.Keys)), "1000 true 1")
	harness.Eventually(t, expiryPatience, "expiry of the short lease", func() bool {
		return f.get(&pb.RangeRequest{Key: []byte("short")}).Count == 0
	})
	want(t, "the long one's key", f.get(&pb.RangeRequest{Key: []byte("long")}).Count, 1)
}
