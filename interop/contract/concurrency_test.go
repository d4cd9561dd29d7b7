package contract

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func session(t testing.TB, c *clientv3.Client, ttl int) *concurrency.Session {
	t.Helper()
	s, err := concurrency.NewSession(c, concurrency.WithTTL(ttl))
	must(t, s, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestMutex has several sessions increment a counter that is only right if they exclude each other.
func TestMutex(t *testing.T) {
	f := setup(t)
	const workers, rounds = 5, 8
	var wg sync.WaitGroup
	for range workers {
		c := f.server.Client()
		s := session(t, c, 60)
		wg.Go(func() {
			m := concurrency.NewMutex(s, "/lock")
			for range rounds {
				if err := m.Lock(f.ctx); err != nil {
					t.Error(err)
					return
				}
				r, err := c.Get(f.ctx, "counter")
				if err != nil {
					t.Error(err)
					return
				}
				n := 0
				if len(r.Kvs) > 0 {
					n, _ = strconv.Atoi(string(r.Kvs[0].Value))
				}
				if _, err := c.Put(f.ctx, "counter", strconv.Itoa(n+1)); err != nil {
					t.Error(err)
				}
				if err := m.Unlock(f.ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r, err := f.server.Client().Get(f.ctx, "counter")
	want(t, "counter", string(must(t, r, err).Kvs[0].Value), strconv.Itoa(workers*rounds))
}

func TestMutexTryLockAndExpiry(t *testing.T) {
	f := setup(t)
	c := f.server.Client()
	dying, err := concurrency.NewSession(c, concurrency.WithTTL(2))
	must(t, dying, err)
	first := concurrency.NewMutex(dying, "/lock")
	if err := first.Lock(f.ctx); err != nil {
		t.Fatal(err)
	}
	second := concurrency.NewMutex(session(t, c, 60), "/lock")
	if err := second.TryLock(f.ctx); !errors.Is(err, concurrency.ErrLocked) {
		t.Errorf("TryLock of a held lock: %v", err)
	}
	waiting, cancel := context.WithTimeout(f.ctx, 300*time.Millisecond)
	defer cancel()
	if err := second.Lock(waiting); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock of a held lock: %v", err)
	}
	dying.Orphan() // no more keep-alives: the lease runs out, and with it the lock
	if err := second.Lock(f.ctx); err != nil {
		t.Error(err)
	}
	r, err := c.Txn(f.ctx).If(first.IsOwner()).Then(clientv3.OpPut("fenced", "")).Commit()
	want(t, "the former owner's guarded write", must(t, r, err).Succeeded, false)
	if err := second.Unlock(f.ctx); err != nil {
		t.Error(err)
	}
}

func TestElection(t *testing.T) {
	f := setup(t)
	observer := f.server.Client()
	e1 := concurrency.NewElection(session(t, f.server.Client(), 60), "/election")
	e2 := concurrency.NewElection(session(t, f.server.Client(), 60), "/election")
	if _, err := e1.Leader(f.ctx); !errors.Is(err, concurrency.ErrElectionNoLeader) {
		t.Errorf("leader of an empty election: %v", err)
	}
	if err := e1.Campaign(f.ctx, "one"); err != nil {
		t.Fatal(err)
	}
	observed := concurrency.NewElection(session(t, observer, 60), "/election").Observe(f.ctx)
	sees := func(value string) {
		t.Helper()
		select {
		case r := <-observed:
			want(t, "observed leader", string(r.Kvs[0].Value), value)
		case <-time.After(time.Minute):
			t.Fatalf("leader %q not observed", value)
		}
	}
	sees("one")
	won := make(chan error, 1)
	go func() { won <- e2.Campaign(f.ctx, "two") }()
	if err := e1.Proclaim(f.ctx, "one again"); err != nil {
		t.Fatal(err)
	}
	sees("one again")
	select {
	case err := <-won:
		t.Fatalf("second candidate won beside the first: %v", err)
	default:
	}
	if err := e1.Resign(f.ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-won; err != nil {
		t.Fatal(err)
	}
	sees("two")
	r, err := e2.Leader(f.ctx)
	want(t, "leader", string(must(t, r, err).Kvs[0].Value), "two")
	if err := e1.Proclaim(f.ctx, "late"); !errors.Is(err, concurrency.ErrElectionNotLeader) {
		t.Errorf("proclaim after resigning: %v", err)
	}
}

// TestSTM moves money between accounts from several clients; every isolation level that promises it keeps the sum.
func TestSTM(t *testing.T) {
	f := setup(t)
	c := f.server.Client()
	const accounts, workers, rounds = 4, 4, 15
	for _, isolation := range []concurrency.Isolation{concurrency.SerializableSnapshot, concurrency.Serializable, concurrency.RepeatableReads} {
		prefix := fmt.Sprintf("stm%d/", isolation)
		for i := range accounts {
			f.put(fmt.Sprint(prefix, i), "100")
		}
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range rounds {
					from, to := fmt.Sprint(prefix, (w+i)%accounts), fmt.Sprint(prefix, (w+2*i+1)%accounts)
					if from == to {
						continue
					}
					_, err := concurrency.NewSTM(c, func(s concurrency.STM) error {
						a, _ := strconv.Atoi(s.Get(from))
						b, _ := strconv.Atoi(s.Get(to))
						s.Put(from, strconv.Itoa(a-1))
						s.Put(to, strconv.Itoa(b+1))
						return nil
					}, concurrency.WithIsolation(isolation), concurrency.WithAbortContext(f.ctx))
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		r, err := c.Get(f.ctx, prefix, clientv3.WithPrefix())
		sum := 0
		for _, kv := range must(t, r, err).Kvs {
			n, _ := strconv.Atoi(string(kv.Value))
			sum += n
		}
		want(t, prefix+" sum", sum, accounts*100)
	}
}
