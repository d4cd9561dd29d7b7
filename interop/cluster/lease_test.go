package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"vetch/interop/harness"
)

// expirySlack is how late an expiry may be. Where nothing else goes on it is half a second.
const expirySlack = 10 * time.Second

// TestLeaseOutlivesLeader keeps a lease alive through a follower while the leader is killed, and leaves another one alone. A new leader gives
// every lease its whole time anew, so neither may be gone early, and both must go in the end.
func TestLeaseOutlivesLeader(t *testing.T) {
	t.Parallel()
	const keptTTL, leftTTL = 4, 7
	c := harness.StartCluster(t, 3)
	leader := c.Leader()
	follower := c.Others(leader)[0]
	client := follower.Client()
	ctx := harness.Context(t)
	deletions := watchDeletions(t, client)

	kept := grant(t, client, keptTTL, "kept")
	leftAt := time.Now()
	grant(t, client, leftTTL, "left")

	renewed := renew(t, client, kept)
	leader.Kill()
	// Twice the time to live with the leader gone.
	for end := time.Now().Add(2 * keptTTL * time.Second); time.Now().Before(end); {
		renewed = renew(t, client, kept)
		select {
		case d := <-deletions:
			if d.key == "kept" {
				t.Fatalf("expired %v after it was renewed", d.at.Sub(renewed))
			}
			checkExpiry(t, d, leftAt, leftTTL)
			deletions <- d // for the end
		case <-time.After(300 * time.Millisecond):
		}
		if r, err := client.Get(ctx, "kept"); err == nil && len(r.Kvs) != 1 {
			t.Fatal("the key of a lease that is kept alive is gone")
		}
	}
	next := c.Leader(c.Others(leader)...)
	tookOver := time.Now()
	gone := map[string]bool{}
	for len(gone) < 2 {
		select {
		case d := <-deletions:
			gone[d.key] = true
			since, ttl := renewed, keptTTL
			if d.key == "left" {
				since, ttl = leftAt, leftTTL
			}
			checkExpiry(t, d, since, ttl)
			if late := d.at.Sub(tookOver) - time.Duration(ttl)*time.Second; late > expirySlack {
				t.Errorf("%s went %v late", d.key, late)
			}
		case <-time.After(recovery):
			t.Fatalf("gone are only %v, with %s as leader", gone, next.Name())
		}
	}
	if _, err := client.KeepAliveOnce(ctx, kept); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Errorf("renewal of an expired lease: %v", err)
	}
	leader.Restart()
	c.WaitHashesEqual()
}

// TestLeaseFollowsLeadership: leadership moves again and again, and each leader gives leases their time anew; only one that stays expires them.
func TestLeaseFollowsLeadership(t *testing.T) {
	t.Parallel()
	const ttl = 3
	c := harness.StartCluster(t, 3)
	client := c.Client()
	deletions := watchDeletions(t, client)
	granted := time.Now()
	grant(t, client, ttl, "k")
	leader := c.Leader()
	for range 3 {
		next := c.Others(leader)[0]
		moveLeader(t, leader, next)
		leader = c.Leader()
	}
	moved := time.Now()
	select {
	case d := <-deletions:
		checkExpiry(t, d, granted, ttl)
		if late := d.at.Sub(moved) - ttl*time.Second; late > expirySlack {
			t.Errorf("went %v late", late)
		}
	case <-time.After(recovery):
		t.Fatal("the lease did not expire")
	}
	c.WaitHashesEqual()
}

func moveLeader(t *testing.T, from, to *harness.Server) {
	t.Helper()
	status, err := to.Client().Status(harness.Context(t), to.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.Client().MoveLeader(harness.Context(t), status.Header.MemberId); err != nil {
		t.Fatal(err)
	}
}

// deletion is a key that went, and when it was seen to.
type deletion struct {
	key string
	at  time.Time
}

func watchDeletions(t *testing.T, c *clientv3.Client) chan deletion {
	deletions := make(chan deletion, 100)
	ctx, cancel := context.WithCancel(t.Context())
	responses := c.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithFilterPut())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r := range responses {
			for _, e := range r.Events {
				deletions <- deletion{string(e.Kv.Key), time.Now()}
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return deletions
}

// grant makes a lease with one key.
func grant(t *testing.T, c *clientv3.Client, ttl int64, key string) clientv3.LeaseID {
	t.Helper()
	l, err := c.Grant(harness.Context(t), ttl)
	if err == nil {
		_, err = c.Put(harness.Context(t), key, "", clientv3.WithLease(l.ID))
	}
	if err != nil {
		t.Fatal(err)
	}
	return l.ID
}

// renew keeps a lease alive, however often that has to be asked for, and tells when the request that was answered was sent.
func renew(t *testing.T, c *clientv3.Client, lease clientv3.LeaseID) (sent time.Time) {
	t.Helper()
	harness.Eventually(t, recovery, "the lease is renewed", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		sent = time.Now()
		_, err := c.KeepAliveOnce(ctx, lease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			t.Fatal("the lease is gone though it was kept alive")
		}
		return err == nil
	})
	return sent
}

// checkExpiry: never before the time to live is over.
func checkExpiry(t *testing.T, d deletion, since time.Time, ttl int) {
	t.Helper()
	lived := d.at.Sub(since)
	t.Logf("%s went %v after it was last renewed", d.key, lived)
	if lived < time.Duration(ttl)*time.Second {
		t.Errorf("%s went after %v, its lease was for %d s", d.key, lived, ttl)
	}
}
