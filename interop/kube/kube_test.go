package kube

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestKubeAPIServer walks an apiserver with the settings Kubernetes ships: lists by RangeStream into watch caches, consistent reads from them
// by progress requests. The parts run side by side in namespaces of their own; then the server under test is killed under load.
func TestKubeAPIServer(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	t.Run("walk", func(t *testing.T) {
		c.run(t, "namespaces", testNamespaces)
		c.run(t, "configmaps", testConfigMaps)
		c.run(t, "contention", testContention)
		c.run(t, "custom resources", testCustomResources)
		c.run(t, "leader election", testLeaderElection)
		c.run(t, "event expiry", testEventExpiry)
		c.run(t, "watch", testWatch)
		c.run(t, "bookmarks", testBookmarks)
		c.run(t, "pages", testPages)
		c.run(t, "delete collection", testDeleteCollection)
	})
	t.Run("expired page", func(t *testing.T) { testExpiredPage(t, c, c.namespace(t)) })
	t.Run("consistent reads came from the cache", func(t *testing.T) { testCacheServed(t, c) })
	t.Run("crash under load", func(t *testing.T) { testCrashes(t, c, c.namespace(t)) })
	t.Run("storage compaction", func(t *testing.T) { testCompactor(t, c) })
	t.Run("wire", func(t *testing.T) { testWire(t, c) })
}

// TestKubeAPIServerWithoutCache walks an apiserver that sends every read and watch to its storage and pages through lists with Range at an
// explicit revision, as releases before 1.37 do.
func TestKubeAPIServerWithoutCache(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, "--watch-cache=false", "--feature-gates=EtcdRangeStream=false")
	t.Run("walk", func(t *testing.T) {
		c.run(t, "configmaps", testConfigMaps)
		c.run(t, "contention", testContention)
		c.run(t, "custom resources", testCustomResources)
		c.run(t, "watch", testWatch)
		c.run(t, "pages", testPages)
		c.run(t, "delete collection", testDeleteCollection)
	})
	t.Run("expired page", func(t *testing.T) { testExpiredPage(t, c, c.namespace(t)) })
	t.Run("wire", func(t *testing.T) {
		c.tally.report(t)
		if calls := c.tally.method("KV/RangeStream").started; calls > 0 {
			t.Errorf("%d RangeStream calls with the feature off", calls)
		}
	})
}

// TestKubeAPIServerOnThreeMembers: what kills the storage with one member is a short pause with three.
func TestKubeAPIServerOnThreeMembers(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	t.Run("walk", func(t *testing.T) {
		c.run(t, "configmaps", testConfigMaps)
		c.run(t, "contention", testContention)
		c.run(t, "event expiry", testEventExpiry)
		c.run(t, "watch", testWatch)
		c.run(t, "pages", testPages)
	})
	t.Run("leaders lost under load", func(t *testing.T) { testLeadersLost(t, c, c.namespace(t)) })
	t.Run("wire", func(t *testing.T) { c.tally.report(t) })
}

// run runs one part in parallel with its siblings, in its own namespace.
func (c *cluster) run(t *testing.T, name string, part func(*testing.T, *cluster, string)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		part(t, c, c.namespace(t))
	})
}

// namespace makes a new namespace.
func (c *cluster) namespace(t *testing.T) string {
	t.Helper()
	created, err := c.clients.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "walk-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return created.Name
}

// testNamespaces: system namespaces appear by themselves; a deleted namespace stays until its finalizer is taken away.
func testNamespaces(t *testing.T, c *cluster, name string) {
	namespaces := c.clients.CoreV1().Namespaces()
	for _, system := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		eventually(t, system, 30*time.Second, func(ctx context.Context) error {
			_, err := namespaces.Get(ctx, system, metav1.GetOptions{})
			return err
		})
	}
	if err := namespaces.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	terminating, err := namespaces.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if terminating.Status.Phase != corev1.NamespaceTerminating || terminating.DeletionTimestamp == nil {
		t.Fatalf("deleted namespace with a finalizer: phase %q, deletion timestamp %v", terminating.Status.Phase, terminating.DeletionTimestamp)
	}
	_, err = c.clients.CoreV1().ConfigMaps(name).Create(t.Context(), configMap("late", "x"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Fatalf("create in a terminating namespace: %v, want Forbidden", err)
	}
	terminating.Spec.Finalizers = nil
	if _, err := namespaces.Finalize(t.Context(), terminating, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the finalized namespace is gone", 10*time.Second, func(ctx context.Context) error {
		_, err := namespaces.Get(ctx, name, metav1.GetOptions{})
		return wantNotFound(err)
	})
}

func wantNotFound(err error) error {
	switch {
	case err == nil:
		return errors.New("still there")
	case apierrors.IsNotFound(err):
		return nil
	default:
		return err
	}
}

// testCacheServed: as long as the server answers progress requests, a consistent read never has to fall back to the storage.
func testCacheServed(t *testing.T, c *cluster) {
	const metric = "apiserver_watch_cache_consistent_read_total"
	if served := c.metric(t, metric, `success="true"`); served == 0 {
		t.Error("no consistent read was served from a watch cache")
	}
	if fallbacks := c.metric(t, metric, `fallback="true"`); fallbacks > 0 {
		t.Errorf("%v consistent reads waited for progress in vain and fell back to the storage", fallbacks)
	}
}

// testCompactor: the apiserver's compactor has compacted the storage.
func testCompactor(t *testing.T, c *cluster) {
	eventually(t, "the apiserver compacted the storage", time.Minute, func(context.Context) error {
		if c.tally.method("KV/Compact").finished[codes.OK] == 0 {
			return errors.New("no Compact yet")
		}
		return nil
	})
}

// testWire asks the tally whether the calls this release of Kubernetes depends on were made and answered.
func testWire(t *testing.T, c *cluster) {
	tally := c.tally
	tally.report(t)
	for _, method := range []string{"KV/Range", "KV/RangeStream", "KV/Txn", "Lease/LeaseGrant", "Maintenance/Status"} {
		if tally.method(method).finished[codes.OK] == 0 {
			t.Errorf("%s was never answered OK", method)
		}
	}
	stream := tally.method("KV/RangeStream")
	if stream.finished[codes.Unimplemented] > 0 {
		t.Errorf("%d RangeStream calls ended Unimplemented", stream.finished[codes.Unimplemented])
	}
	if answered := stream.finished[codes.OK]; stream.responses < answered {
		t.Errorf("%d RangeStream calls ended OK with %d chunks altogether", answered, stream.responses)
	}
	watch := tally.method("Watch/Watch")
	if watch.progressRequests == 0 || watch.progressAnswers == 0 {
		t.Errorf("progress: %d asked, %d answered", watch.progressRequests, watch.progressAnswers)
	}
}

func configMap(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"value": value}}
}

func numbered(prefix string, number int) string {
	return fmt.Sprintf("%s-%04d", prefix, number)
}
