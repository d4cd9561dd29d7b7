package kube

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// testEventExpiry: the keys of events hang on few shared leases, stay as long as promised, and go when the leases expire; a watch sees each go.
func testEventExpiry(t *testing.T, c *cluster, namespace string) {
	const count = 100
	events := c.clients.CoreV1().Events(namespace)
	start := listConfigMaps(t, c, namespace, metav1.ListOptions{}).ResourceVersion
	watcher, err := events.Watch(t.Context(), metav1.ListOptions{ResourceVersion: start})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	created := time.Now()
	inParallel(t, 8, count, func(i int) error {
		_, err := events.Create(t.Context(), event(namespace, i), metav1.CreateOptions{})
		return err
	})
	checkEventLeases(t, c, namespace, count)

	deadline := time.After(eventTTL + 20*time.Second)
	seen := map[watch.EventType]map[string]bool{watch.Added: {}, watch.Deleted: {}}
	for len(seen[watch.Deleted]) < count {
		select {
		case got, open := <-watcher.ResultChan():
			if !open {
				t.Fatal("the watch on events ended")
			}
			object, isObject := got.Object.(metav1.Object)
			if !isObject || seen[got.Type] == nil {
				t.Fatalf("unexpected %s: %v", got.Type, got.Object)
			}
			seen[got.Type][object.GetName()] = true
			if age := time.Since(created); got.Type == watch.Deleted && age < eventTTL {
				t.Errorf("%s gone after %v, before its time of %v", object.GetName(), age, eventTTL)
			}
		case <-deadline:
			t.Fatalf("%d of %d events have expired", len(seen[watch.Deleted]), count)
		}
	}
	if len(seen[watch.Added]) != count {
		t.Errorf("the watch saw %d of %d events appear", len(seen[watch.Added]), count)
	}
	eventually(t, "the list is empty", 5*time.Second, func(ctx context.Context) error {
		list, err := events.List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("%d left", len(list.Items))
		}
		return err
	})
}

// checkEventLeases looks into the storage: every event's key has a lease, and the server knows each lease with the keys on it.
func checkEventLeases(t *testing.T, c *cluster, namespace string, count int) {
	t.Helper()
	client := c.members[0].client(t)
	prefix := "/registry/events/" + namespace + "/"
	stored, err := client.Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if len(stored.Kvs) != count {
		t.Fatalf("%d keys under %s, want %d", len(stored.Kvs), prefix, count)
	}
	onLease := map[clientv3.LeaseID]map[string]bool{}
	for _, kv := range stored.Kvs {
		id := clientv3.LeaseID(kv.Lease)
		if onLease[id] == nil {
			onLease[id] = map[string]bool{}
		}
		onLease[id][string(kv.Key)] = true
	}
	t.Logf("%d events on %d leases", count, len(onLease))
	for id, keys := range onLease {
		if id == clientv3.NoLease {
			t.Fatalf("%d events without a lease", len(keys))
		}
		lease, err := client.TimeToLive(t.Context(), id, clientv3.WithAttachedKeys())
		if err != nil {
			t.Fatal(err)
		}
		if granted := time.Duration(lease.GrantedTTL) * time.Second; lease.TTL <= 0 || granted < eventTTL {
			t.Errorf("lease %x: TTL %d of %d s, the apiserver keeps events %v", id, lease.TTL, lease.GrantedTTL, eventTTL)
		}
		attached := map[string]bool{}
		for _, key := range lease.Keys {
			attached[string(key)] = true
		}
		for key := range keys {
			if !attached[key] {
				t.Errorf("%s names lease %x, which does not name it", key, id)
			}
		}
	}
}
