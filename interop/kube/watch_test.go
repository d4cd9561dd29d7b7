package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// change is one event of a watch on configmaps.
type change struct {
	kind    watch.EventType
	name    string
	value   string
	version int64
}

// lastObject is the object whose creation ends what collect reads.
const lastObject = "the-last"

// testWatch: while many write, a watch sees every change, each once, in the order of revisions; and the same again when asked for later,
// from the beginning as from the middle.
func testWatch(t *testing.T, c *cluster, namespace string) {
	start := listConfigMaps(t, c, namespace, metav1.ListOptions{}).ResourceVersion
	live := make(chan []change, 1)
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() {
		defer close(live)
		seen, err := collect(t.Context(), c, namespace, start)
		if err != nil {
			t.Error(err)
			return
		}
		live <- seen
	})

	histories := writeHistories(t, c, namespace)
	if _, err := c.clients.CoreV1().ConfigMaps(namespace).Create(t.Context(), configMap(lastObject, ""), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	seen, complete := <-live
	if !complete {
		return
	}
	for i := 1; i < len(seen); i++ {
		if seen[i].version <= seen[i-1].version {
			t.Errorf("event %+v after %+v", seen[i], seen[i-1])
		}
	}
	compareHistories(t, histories, seen)
	middle := len(seen) / 2
	for from, want := range map[string][]change{
		start: seen,
		strconv.FormatInt(seen[middle].version, 10): seen[middle+1:],
	} {
		again, err := collect(t.Context(), c, namespace, from)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(again, want) {
			t.Errorf("a later watch from %s saw %d events, the first %d; or other ones", from, len(again), len(want))
		}
	}
}

// writeHistories makes, changes and deletes objects and gives back what each went through, as acknowledged. The version of a deletion is
// not in its acknowledgement, and 0 here.
func writeHistories(t *testing.T, c *cluster, namespace string) map[string][]change {
	t.Helper()
	const objects, updates = 60, 5
	api := c.clients.CoreV1().ConfigMaps(namespace)
	var mu sync.Mutex
	histories := map[string][]change{}
	inParallel(t, 6, objects, func(i int) error {
		name := numbered("cm", i)
		object, err := api.Create(t.Context(), configMap(name, "0"), metav1.CreateOptions{})
		if err != nil {
			return err
		}
		history := []change{{watch.Added, name, "0", version(t, object.ResourceVersion)}}
		for update := 1; update <= updates; update++ {
			object.Data["value"] = strconv.Itoa(update)
			if object, err = api.Update(t.Context(), object, metav1.UpdateOptions{}); err != nil {
				return err
			}
			history = append(history, change{watch.Modified, name, object.Data["value"], version(t, object.ResourceVersion)})
		}
		if i%2 == 0 {
			if err := api.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				return err
			}
			history = append(history, change{watch.Deleted, name, strconv.Itoa(updates), 0})
		}
		mu.Lock()
		defer mu.Unlock()
		histories[name] = history
		return nil
	})
	return histories
}

// compareHistories holds what a watch saw of each object against what was acknowledged.
func compareHistories(t *testing.T, acknowledged map[string][]change, seen []change) {
	t.Helper()
	byName := map[string][]change{}
	for _, event := range seen {
		if event.kind == watch.Deleted {
			event.version = 0
		}
		byName[event.name] = append(byName[event.name], event)
	}
	delete(byName, lastObject)
	if len(byName) != len(acknowledged) {
		t.Errorf("events of %d objects, %d were written", len(byName), len(acknowledged))
	}
	for _, name := range slices.Sorted(maps.Keys(acknowledged)) {
		if !slices.Equal(byName[name], acknowledged[name]) {
			t.Errorf("%s: acknowledged\n%+v\nseen\n%+v", name, acknowledged[name], byName[name])
		}
	}
}

// collect reads one watch from after the given version up to the creation of lastObject. It does not reopen: a watch that ends early is an error.
func collect(ctx context.Context, c *cluster, namespace, from string) ([]change, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	watcher, err := c.clients.CoreV1().ConfigMaps(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: from})
	if err != nil {
		return nil, err
	}
	defer watcher.Stop()
	var seen []change
	for event := range watcher.ResultChan() {
		next, err := asChange(event)
		if err != nil {
			return nil, err
		}
		seen = append(seen, next)
		if next.name == lastObject {
			return seen, nil
		}
	}
	return nil, fmt.Errorf("the watch from %s ended after %d events", from, len(seen))
}

// asChange reads an event of a watch on configmaps; an error the watch delivers becomes an error here.
func asChange(event watch.Event) (change, error) {
	object, isConfigMap := event.Object.(*corev1.ConfigMap)
	if !isConfigMap {
		return change{}, fmt.Errorf("%s: %w", event.Type, apierrors.FromObject(event.Object))
	}
	revision, err := strconv.ParseInt(object.ResourceVersion, 10, 64)
	return change{event.Type, object.Name, object.Data["value"], revision}, err
}

// testBookmarks: a watch that begins with the present state marks its end; and a watch on which nothing happens learns of revisions of
// other keys, which reach the cache only by the progress answers a consistent list asks for.
func testBookmarks(t *testing.T, c *cluster, namespace string) {
	const objects = 25
	inParallel(t, 4, objects, func(i int) error {
		_, err := c.clients.CoreV1().ConfigMaps(namespace).Create(t.Context(), configMap(numbered("cm", i), "x"), metav1.CreateOptions{})
		return err
	})
	initial, seconds := true, int64(6) // the apiserver sends a bookmark shortly before it ends a watch
	watcher, err := c.clients.CoreV1().ConfigMaps(namespace).Watch(t.Context(), metav1.ListOptions{
		SendInitialEvents:    &initial,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
		AllowWatchBookmarks:  true,
		TimeoutSeconds:       &seconds,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	added := 0
	for event := range watcher.ResultChan() {
		if event.Type == watch.Bookmark {
			if event.Object.(*corev1.ConfigMap).Annotations[metav1.InitialEventsAnnotationKey] != "true" {
				t.Error("the first bookmark does not end the initial events")
			}
			break
		}
		if event.Type != watch.Added {
			t.Fatalf("%s among the initial events", event.Type)
		}
		added++
	}
	// What a whole Kubernetes puts into every namespace comes from its controllers, which do not run here: these are all.
	if added != objects {
		t.Errorf("%d initial events for %d objects", added, objects)
	}

	elsewhere, err := c.clients.CoreV1().Secrets(namespace).Create(t.Context(),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	listed := listConfigMaps(t, c, namespace, metav1.ListOptions{})
	if version(t, listed.ResourceVersion) < version(t, elsewhere.ResourceVersion) {
		t.Errorf("a list after revision %s is of revision %s", elsewhere.ResourceVersion, listed.ResourceVersion)
	}
	var last int64
	for event := range watcher.ResultChan() {
		next, err := asChange(event)
		if err != nil {
			t.Fatal(err)
		}
		if next.kind != watch.Bookmark {
			t.Errorf("%+v in a namespace nobody writes to", next)
		}
		last = next.version
	}
	if last < version(t, elsewhere.ResourceVersion) {
		t.Errorf("the last bookmark before the end of the watch is of revision %d; a list at %s went before", last, listed.ResourceVersion)
	}
}
