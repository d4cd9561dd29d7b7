package kube

import (
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// pager lists one resource of one namespace.
type pager func(metav1.ListOptions) (runtime.Object, error)

// testPages: a list in pages is the list in one piece as of the first page's revision, whatever is written meanwhile. Configmaps are
// paged from the watch cache where there is one; events have none, their pages are reads of the storage at an explicit revision.
func testPages(t *testing.T, c *cluster, namespace string) {
	const objects = 230
	maps, events := c.clients.CoreV1().ConfigMaps(namespace), c.clients.CoreV1().Events(namespace)
	inParallel(t, 8, objects, func(i int) error {
		if _, err := maps.Create(t.Context(), configMap(numbered("cm", i), "x"), metav1.CreateOptions{}); err != nil {
			return err
		}
		_, err := events.Create(t.Context(), event(namespace, i), metav1.CreateOptions{})
		return err
	})
	write := 0
	disturb := func() {
		write++
		for _, name := range []string{numbered("cm", objects+write), numbered("aa", write)} {
			if _, err := maps.Create(t.Context(), configMap(name, "late"), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := maps.Delete(t.Context(), numbered("cm", objects-write), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := events.Create(t.Context(), event(namespace, objects+write), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := events.Delete(t.Context(), numbered("event", objects-write), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for resource, list := range map[string]pager{
		"configmaps": func(o metav1.ListOptions) (runtime.Object, error) { return maps.List(t.Context(), o) },
		"events":     func(o metav1.ListOptions) (runtime.Object, error) { return events.List(t.Context(), o) },
	} {
		t.Run(resource, func(t *testing.T) { comparePages(t, list, disturb) })
	}
}

func comparePages(t *testing.T, list pager, disturb func()) {
	whole, revision, _ := readPage(t, list, metav1.ListOptions{})
	for _, size := range []int64{1, 7, 100, int64(len(whole)), 1000} {
		if size == 1 && testing.Short() {
			continue
		}
		var paged []string
		options := metav1.ListOptions{Limit: size, ResourceVersion: revision, ResourceVersionMatch: metav1.ResourceVersionMatchExact}
		for {
			names, at, next := readPage(t, list, options)
			if at != revision {
				t.Fatalf("page of %d at revision %s, asked for %s", size, at, revision)
			}
			if int64(len(names)) > size {
				t.Fatalf("page of %d has %d objects", size, len(names))
			}
			if paged == nil {
				disturb()
			}
			paged = append(paged, names...)
			if next == "" {
				break
			}
			options = metav1.ListOptions{Limit: size, Continue: next}
		}
		if !slices.Equal(paged, whole) {
			t.Errorf("pages of %d: %d objects, the whole list has %d, or other ones", size, len(paged), len(whole))
		}
	}
	now, _, _ := readPage(t, list, metav1.ListOptions{})
	if slices.Equal(now, whole) {
		t.Error("the writes between the pages are not in a new list")
	}
}

// readPage gives the names in a page, its resourceVersion and the token of the next page.
func readPage(t *testing.T, list pager, options metav1.ListOptions) (names []string, revision, next string) {
	t.Helper()
	page, err := list(options)
	if err != nil {
		t.Fatal(err)
	}
	switch page := page.(type) {
	case *corev1.ConfigMapList:
		for _, item := range page.Items {
			names = append(names, item.Name)
		}
		return names, page.ResourceVersion, page.Continue
	case *corev1.EventList:
		for _, item := range page.Items {
			names = append(names, item.Name)
		}
		return names, page.ResourceVersion, page.Continue
	default:
		t.Fatalf("a list of %T", page)
		return nil, "", ""
	}
}

// testExpiredPage: when the revision of a page has been compacted, the token of the next one is Expired, and the error carries a token to go
// on with at the present.
func testExpiredPage(t *testing.T, c *cluster, namespace string) {
	const objects = 20
	events := c.clients.CoreV1().Events(namespace)
	for i := range objects {
		if _, err := events.Create(t.Context(), event(namespace, i), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	first, err := events.List(t.Context(), metav1.ListOptions{Limit: 5})
	if err != nil {
		t.Fatal(err)
	}
	last, err := events.Create(t.Context(), event(namespace, objects), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.members[0].client(t).Compact(t.Context(), version(t, last.ResourceVersion), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	_, err = events.List(t.Context(), metav1.ListOptions{Limit: 5, Continue: first.Continue})
	if !apierrors.IsResourceExpired(err) {
		t.Fatalf("the page after the compaction: %v, want Expired", err)
	}
	fresh := err.(apierrors.APIStatus).Status().ListMeta.Continue
	rest, err := events.List(t.Context(), metav1.ListOptions{Continue: fresh})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(first.Items) + len(rest.Items); got != objects+1 {
		t.Errorf("%d events in the first page and the rest, want %d", got, objects+1)
	}
}

// event is a Kubernetes event; its key in the storage expires with an etcd lease.
func event(namespace string, number int) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: numbered("event", number), Namespace: namespace},
		InvolvedObject: corev1.ObjectReference{Kind: "ConfigMap", Namespace: namespace, Name: "any"},
		Reason:         "Walked",
		Type:           corev1.EventTypeNormal,
		FirstTimestamp: metav1.NewTime(time.Now()),
		LastTimestamp:  metav1.NewTime(time.Now()),
	}
}
