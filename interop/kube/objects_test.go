package kube

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/retry"
)

// testConfigMaps: create, read, update, the patches and delete, each with the conflict it must answer with.
func testConfigMaps(t *testing.T, c *cluster, namespace string) {
	maps := c.clients.CoreV1().ConfigMaps(namespace)
	ctx := t.Context()
	created, err := maps.Create(ctx, configMap("a", "1"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Create(ctx, configMap("a", "2"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("second create: %v, want AlreadyExists", err)
	}
	if got, err := maps.Get(ctx, "a", metav1.GetOptions{}); err != nil || got.ResourceVersion != created.ResourceVersion || got.Data["value"] != "1" {
		t.Fatalf("get after create: %v %v", got, err)
	}
	if _, err := maps.Get(ctx, "b", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("get of what is not there: %v, want NotFound", err)
	}

	created.Data["value"] = "2"
	updated, err := maps.Update(ctx, created, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustAscend(t, created.ResourceVersion, updated.ResourceVersion)
	created.Data["value"] = "3"
	if _, err := maps.Update(ctx, created, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("update at an old resourceVersion: %v, want Conflict", err)
	}
	same, err := maps.Update(ctx, updated, metav1.UpdateOptions{})
	if err != nil || same.ResourceVersion != updated.ResourceVersion {
		t.Errorf("update without a change: resourceVersion %s -> %s, %v", updated.ResourceVersion, same.ResourceVersion, err)
	}

	last := updated.ResourceVersion
	for patchType, patch := range map[types.PatchType]string{
		types.StrategicMergePatchType: `{"data":{"strategic":"x"}}`,
		types.MergePatchType:          `{"data":{"merge":"x"}}`,
		types.JSONPatchType:           `[{"op":"add","path":"/data/json","value":"x"}]`,
	} {
		patched, err := maps.Patch(ctx, "a", patchType, []byte(patch), metav1.PatchOptions{})
		if err != nil {
			t.Fatalf("%s: %v", patchType, err)
		}
		mustAscend(t, last, patched.ResourceVersion)
		last = patched.ResourceVersion
	}
	stale := fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"data":{"merge":"y"}}`, created.ResourceVersion)
	if _, err := maps.Patch(ctx, "a", types.MergePatchType, []byte(stale), metav1.PatchOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("patch at an old resourceVersion: %v, want Conflict", err)
	}
	got, err := maps.Get(ctx, "a", metav1.GetOptions{})
	if err != nil || len(got.Data) != 4 || got.Data["value"] != "2" || got.ResourceVersion != last {
		t.Fatalf("after the patches: %v %v, want resourceVersion %s", got, err, last)
	}

	err = maps.Delete(ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &created.ResourceVersion}})
	if !apierrors.IsConflict(err) {
		t.Errorf("delete at an old resourceVersion: %v, want Conflict", err)
	}
	if err := maps.Delete(ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &last}}); err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Get(ctx, "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("get after delete: %v, want NotFound", err)
	}
	if err := maps.Delete(ctx, "a", metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("second delete: %v, want NotFound", err)
	}
	again, err := maps.Create(ctx, configMap("a", "again"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustAscend(t, last, again.ResourceVersion)
}

// testContention: counters on one object that many increment at once; no increment may be lost.
func testContention(t *testing.T, c *cluster, namespace string) {
	const writers, increments = 8, 20
	maps := c.clients.CoreV1().ConfigMaps(namespace)
	if _, err := maps.Create(t.Context(), configMap("counter", "0"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	patient := retry.DefaultRetry
	patient.Steps = 1000
	increment := func() error {
		counter, err := maps.Get(t.Context(), "counter", metav1.GetOptions{})
		if err != nil {
			return err
		}
		value, err := strconv.Atoi(counter.Data["value"])
		if err != nil {
			return err
		}
		counter.Data["value"] = strconv.Itoa(value + 1)
		_, err = maps.Update(t.Context(), counter, metav1.UpdateOptions{})
		return err
	}
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range increments {
				if err := retry.RetryOnConflict(patient, increment); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	counter, err := maps.Get(t.Context(), "counter", metav1.GetOptions{})
	if err != nil || counter.Data["value"] != strconv.Itoa(writers*increments) {
		t.Errorf("counter after %d increments: %v %v", writers*increments, counter.Data, err)
	}
}

// testLeaderElection: two candidates for one coordination lease; the second leads when the first lets go.
func testLeaderElection(t *testing.T, c *cluster, namespace string) {
	leading := make(chan string)
	campaign := func(ctx context.Context, identity string) {
		lock := &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "leader", Namespace: namespace},
			Client:     c.clients.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		}
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock:            lock,
			LeaseDuration:   15 * time.Second,
			RenewDeadline:   10 * time.Second,
			RetryPeriod:     100 * time.Millisecond,
			ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) {
					select {
					case leading <- identity:
					case <-ctx.Done():
					}
				},
				OnStoppedLeading: func() {},
			},
		})
	}
	var campaigns sync.WaitGroup
	defer campaigns.Wait()
	steps := map[string]context.CancelFunc{}
	for _, identity := range []string{"first", "second"} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		steps[identity] = cancel
		campaigns.Go(func() { campaign(ctx, identity) })
	}
	await := func() string {
		select {
		case identity := <-leading:
			return identity
		case <-time.After(30 * time.Second):
			t.Fatal("nobody leads")
			return ""
		}
	}
	leader := await()
	before := holder(t, c, namespace)
	eventually(t, "the leader renews its lease", 10*time.Second, func(context.Context) error {
		if holder(t, c, namespace) == before {
			return errors.New("not renewed")
		}
		return nil
	})
	if before.identity != leader {
		t.Errorf("%s leads, the lease says %s", leader, before.identity)
	}
	steps[leader]()
	if next := await(); next == leader {
		t.Errorf("%s leads again after it stepped down", next)
	}
}

// leaseHolder is who holds the lease named "leader", as of a renewal.
type leaseHolder struct {
	identity, resourceVersion string
}

func holder(t *testing.T, c *cluster, namespace string) leaseHolder {
	t.Helper()
	lease, err := c.clients.CoordinationV1().Leases(namespace).Get(t.Context(), "leader", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return leaseHolder{identity: *lease.Spec.HolderIdentity, resourceVersion: lease.ResourceVersion}
}

// testDeleteCollection: only what the selector matches goes.
func testDeleteCollection(t *testing.T, c *cluster, namespace string) {
	const objects = 300
	maps := c.clients.CoreV1().ConfigMaps(namespace)
	inParallel(t, 8, objects, func(i int) error {
		object := configMap(numbered("cm", i), "x")
		object.Labels = map[string]string{"third": strconv.Itoa(i % 3)}
		_, err := maps.Create(t.Context(), object, metav1.CreateOptions{})
		return err
	})
	if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "third=1"}); err != nil {
		t.Fatal(err)
	}
	left := listConfigMaps(t, c, namespace, metav1.ListOptions{})
	if len(left.Items) != objects*2/3 {
		t.Errorf("%d of %d left after the deletion of a third", len(left.Items), objects)
	}
	for _, object := range left.Items {
		if object.Labels["third"] == "1" {
			t.Errorf("%s is still there", object.Name)
		}
	}
	if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if left := listConfigMaps(t, c, namespace, metav1.ListOptions{}); len(left.Items) != 0 {
		t.Errorf("%d left after the deletion of all", len(left.Items))
	}
}

func listConfigMaps(t *testing.T, c *cluster, namespace string, options metav1.ListOptions) *corev1.ConfigMapList {
	t.Helper()
	list, err := c.clients.CoreV1().ConfigMaps(namespace).List(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// inParallel calls work for every number below n, by as many workers, and fails the test with the first error.
func inParallel(t *testing.T, workers, n int, work func(int) error) {
	t.Helper()
	numbers := make(chan int)
	failures := make(chan error, workers)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range numbers {
				if err := work(i); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	go func() { all.Wait(); close(failures) }()
	for i := range n {
		select {
		case numbers <- i:
		case err := <-failures:
			close(numbers)
			t.Fatal(err)
		}
	}
	close(numbers)
	if err := <-failures; err != nil {
		t.Fatal(err)
	}
}

// version reads a resourceVersion, which is an etcd revision. Any goroutine may call it; one that is no number fails the test and is 0.
func version(t *testing.T, resourceVersion string) int64 {
	t.Helper()
	revision, err := strconv.ParseInt(resourceVersion, 10, 64)
	if err != nil {
		t.Error(err)
	}
	return revision
}

func mustAscend(t *testing.T, before, after string) {
	t.Helper()
	if version(t, after) <= version(t, before) {
		t.Fatalf("resourceVersion %s after %s", after, before)
	}
}
