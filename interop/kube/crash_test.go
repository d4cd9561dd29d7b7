package kube

import (
	"context"
	"fmt"
	"path"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// testCrashes kills the server under test in the middle of writes, lists and a watch, three times. The apiserver recovers by itself each
// time; nothing acknowledged is lost, no list is stale, and the watch has seen every write in order.
func testCrashes(t *testing.T, c *cluster, namespace string) {
	const rounds, writesBetween = 3, 200
	l := startLoad(t, c, namespace)
	l.awaitWrites(writesBetween)
	for round := range rounds {
		c.server.process.kill()
		killed := time.Now()
		c.server.start(t)
		serving := time.Since(killed)
		l.awaitWrites(1)
		recovered := time.Since(killed)
		lists := l.lists.Load()
		l.awaitWrites(writesBetween)
		eventually(t, "kube-apiserver is ready again", recoveryTimeout, c.ready)
		eventually(t, "lists go on", recoveryTimeout, func(context.Context) error {
			if l.lists.Load() < lists+2 {
				return fmt.Errorf("no list since the crash")
			}
			return nil
		})
		t.Logf("crash %d: server ready after %.1f s, first write acknowledged after %.1f s", round+1, serving.Seconds(), recovered.Seconds())
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
		byName[event.name] = append(byName[event.name], seenOnWatch{sequence, event.kind == "DELETED", event.version})
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
	stored, err := l.cluster.server.client(t).Get(t.Context(), "/registry/configmaps/"+l.namespace+"/", clientv3.WithPrefix())
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
