package kube

import (
	"context"
	"errors"
	"fmt"
	"path"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// testCrashes stops the server under test in the middle of writes, lists and a watch: three times by SIGKILL, once by SIGTERM with all streams
// open. The apiserver recovers by itself each time; nothing acknowledged is lost, no list is stale, the watch has seen every write in
// order, and the leases of events go on: no event is gone before its time, and none stays.
func testCrashes(t *testing.T, c *cluster, namespace string) {
	member := c.members[0]
	kill := func() { member.process.kill(); member.start(t) }
	testOutages(t, c, namespace, kill, kill, kill, func() { member.process.stop(t, 15*time.Second); member.start(t) })
}

// testLeadersLost kills the leader of several members, which go on without it, and later get it back; then the same by SIGTERM. All is held to
// what testCrashes demands.
func testLeadersLost(t *testing.T, c *cluster, namespace string) {
	var lost *target
	back := func() { lost.start(t) }
	kill := func() { lost = c.leader(t); lost.process.kill() }
	stop := func() { lost = c.leader(t); lost.process.stop(t, 15*time.Second) }
	testOutages(t, c, namespace, kill, back, kill, back, stop, back)
}

// testOutages does one thing after the other to the server under test, under load, and demands after each that all goes on.
func testOutages(t *testing.T, c *cluster, namespace string, outages ...func()) {
	const writesBetween = 200
	created := time.Now()
	createEvents(t, c, namespace)
	l := startLoad(t, c, namespace)
	l.awaitWrites(writesBetween)
	for number, outage := range outages {
		began := time.Now()
		outage()
		done := time.Since(began)
		l.awaitWrites(1)
		recovered := time.Since(began)
		lists := l.lists.Load()
		l.awaitWrites(writesBetween)
		eventually(t, "kube-apiserver is ready again", recoveryTimeout, c.ready)
		eventually(t, "lists go on", recoveryTimeout, func(context.Context) error {
			if l.lists.Load() < lists+2 {
				return errors.New("no list since the outage")
			}
			return nil
		})
		t.Logf("outage %d: over after %.1f s, first write acknowledged after %.1f s", number+1, done.Seconds(), recovered.Seconds())
	}
	seen := l.stop()
	if err := c.api.dead(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		return
	}
	t.Logf("%d writes acknowledged, %d of unknown outcome, %d lists, %d events", l.acknowledged.Load(), l.failed.Load(), l.lists.Load(), len(seen))
	checkWatched(t, l, seen)
	checkFinalState(t, l)
	checkEventsOutlive(t, c, namespace, created)
}

// eventsUnderCrash is how many events lie in the storage, on leases, while the server is stopped.
const eventsUnderCrash = 30

func createEvents(t *testing.T, c *cluster, namespace string) {
	t.Helper()
	for i := range eventsUnderCrash {
		if _, err := c.clients.CoreV1().Events(namespace).Create(t.Context(), event(namespace, i), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// checkEventsOutlive: events made before the restarts are there until their time is over, and then go. A restart may grant a lease its whole
// TTL anew, so the end may come that much later.
func checkEventsOutlive(t *testing.T, c *cluster, namespace string, created time.Time) {
	t.Helper()
	count := func(ctx context.Context) (int, error) {
		list, err := c.clients.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{})
		return len(list.Items), err
	}
	left, err := count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(created); left != eventsUnderCrash && age < eventTTL {
		t.Errorf("%d of %d events are left after %v, they were to stay %v", left, eventsUnderCrash, age, eventTTL)
	}
	checkEventLeases(t, c, namespace, left)
	eventually(t, "the events made before the restarts expire", eventTTL+20*time.Second, func(ctx context.Context) error {
		left, err := count(ctx)
		if err == nil && left > 0 {
			err = fmt.Errorf("%d left", left)
		}
		return err
	})
}

// awaitWrites waits until that many more writes are acknowledged.
func (l *load) awaitWrites(more int64) {
	l.t.Helper()
	target := l.acknowledged.Load() + more
	eventually(l.t, fmt.Sprintf("%d more writes", more), recoveryTimeout, func(context.Context) error {
		if l.t.Failed() {
			l.t.FailNow()
		}
		if now := l.acknowledged.Load(); now < target {
			return fmt.Errorf("%d missing", target-now)
		}
		return nil
	})
}

func (l *load) configMaps() typedcorev1.ConfigMapInterface {
	return l.cluster.clients.CoreV1().ConfigMaps(l.namespace)
}

func checkWatched(t *testing.T, l *load, seen []change) {
	t.Helper()
	byName := map[string][]seenOnWatch{}
	for _, event := range seen {
		if event.name == lastObject {
			continue
		}
		sequence, err := sequenceOf(configMap(event.name, event.value))
		if err != nil {
			t.Fatal(err)
		}
		byName[event.name] = append(byName[event.name], seenOnWatch{sequence, event.kind == watch.Deleted, event.version})
	}
	for _, r := range l.registers {
		if err := r.matches(byName[r.name]); err != nil {
			t.Error(err)
		}
		delete(byName, r.name)
	}
	for name := range byName {
		t.Errorf("events of %s, which nobody wrote", name)
	}
}

// checkFinalState compares three views of the namespace after the last crash: what was acknowledged, a consistent list through the
// apiserver, and the keys in the storage itself.
func checkFinalState(t *testing.T, l *load) {
	t.Helper()
	list := listConfigMaps(t, l.cluster, l.namespace, metav1.ListOptions{})
	listed := map[string]*corev1.ConfigMap{}
	for i := range list.Items {
		listed[list.Items[i].Name] = &list.Items[i]
	}
	for _, r := range l.registers {
		sequence, err := sequenceOf(listed[r.name])
		if want := r.current(); err != nil || sequence != want {
			t.Errorf("%s: the list shows write %d (%v), want %d", r.name, sequence, err, want)
		}
	}
	stored, err := l.cluster.members[0].client(t).Get(t.Context(), "/registry/configmaps/"+l.namespace+"/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if len(stored.Kvs) != len(listed) {
		t.Errorf("%d keys in the storage, %d objects in the list", len(stored.Kvs), len(listed))
	}
	for _, kv := range stored.Kvs {
		if object := listed[path.Base(string(kv.Key))]; versionOf(object) != kv.ModRevision {
			t.Errorf("%s: mod_revision %d in the storage, resourceVersion %d in the list", kv.Key, kv.ModRevision, versionOf(object))
		}
	}
}
