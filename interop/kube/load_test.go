package kube

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Limits for waits across an outage of the server under test.
const (
	requestTimeout  = 20 * time.Second
	recoveryTimeout = time.Minute
)

// load writes, lists and watches the configmaps of one namespace until it is stopped, through whatever happens to the storage meanwhile, and
// fails the test for a read that contradicts an acknowledgement.
type load struct {
	t         *testing.T
	cluster   *cluster
	namespace string
	registers []*register
	stopped   chan struct{}
	running   sync.WaitGroup

	acknowledged, failed, lists atomic.Int64
	seen                        chan []change // what the watch saw, once, at the end
}

func startLoad(t *testing.T, c *cluster, namespace string) *load {
	const writers, registersEach = 6, 4
	l := &load{t: t, cluster: c, namespace: namespace, stopped: make(chan struct{}), seen: make(chan []change, 1)}
	start := listConfigMaps(t, c, namespace, metav1.ListOptions{}).ResourceVersion
	for writer := range writers {
		var own []*register
		for i := range registersEach {
			own = append(own, &register{name: numbered("register", writer*registersEach+i)})
		}
		l.registers = append(l.registers, own...)
		l.running.Go(func() { l.write(own) })
	}
	l.running.Go(l.list)
	go func() {
		defer close(l.seen)
		seen, err := l.watch(start)
		if err != nil {
			t.Errorf("watch under load: %v", err)
			return
		}
		l.seen <- seen
	}()
	return l
}

// stop ends writers and lists, ends the watch by a last object, and gives back what the watch saw.
func (l *load) stop() []change {
	l.t.Helper()
	close(l.stopped)
	l.running.Wait()
	if _, err := l.configMaps().Create(l.t.Context(), configMap(lastObject, ""), metav1.CreateOptions{}); err != nil {
		l.t.Fatal(err)
	}
	return <-l.seen
}

func (l *load) going() bool {
	select {
	case <-l.stopped:
		return false
	default:
		return !l.t.Failed()
	}
}

// write writes its registers in turn. A write of unknown outcome is resolved by reads before the next one.
func (l *load) write(registers []*register) {
	objects := make([]*corev1.ConfigMap, len(registers)) // as last read or written; nil is absent
	for turn := 0; l.going(); turn++ {
		which := turn % len(registers)
		r := registers[which]
		deletes := objects[which] != nil && turn%7 == 0
		sequence := r.attempt(deletes)
		written, err := l.send(r.name, sequence, deletes, objects[which])
		if err != nil {
			l.failed.Add(1)
			written, err = l.resolve(r)
		} else if err = r.acknowledge(sequence, versionOf(written)); err == nil {
			l.acknowledged.Add(1)
		}
		if err != nil {
			l.t.Error(err)
			return
		}
		objects[which] = written
	}
}

// send makes one write conditional on the state it builds on, so that a delayed one cannot overtake its successor.
func (l *load) send(name string, sequence int, deletes bool, base *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), requestTimeout)
	defer cancel()
	value := strconv.Itoa(sequence)
	switch {
	case base == nil:
		return l.configMaps().Create(ctx, configMap(name, value), metav1.CreateOptions{})
	case deletes:
		condition := &metav1.Preconditions{UID: &base.UID, ResourceVersion: &base.ResourceVersion}
		return nil, l.configMaps().Delete(ctx, name, metav1.DeleteOptions{Preconditions: condition})
	default:
		next := base.DeepCopy()
		next.Data["value"] = value
		return l.configMaps().Update(ctx, next, metav1.UpdateOptions{})
	}
}

// resolve reads until it gets an answer, and notes it.
func (l *load) resolve(r *register) (object *corev1.ConfigMap, err error) {
	err = poll(l.t.Context(), recoveryTimeout, func(ctx context.Context) error {
		var err error
		object, err = l.configMaps().Get(ctx, r.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			object, err = nil, nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", r.name, err)
	}
	sequence, err := sequenceOf(object)
	if err != nil {
		return nil, err
	}
	return object, r.resolve(sequence, versionOf(object))
}

// list makes consistent lists: each shows at least what was acknowledged before it began, and none is older than the one before.
func (l *load) list() {
	newest := int64(0)
	for l.going() {
		floors := make([]int, len(l.registers))
		for i, r := range l.registers {
			floors[i] = r.floor()
		}
		ctx, cancel := context.WithTimeout(l.t.Context(), requestTimeout)
		list, err := l.configMaps().List(ctx, metav1.ListOptions{})
		cancel()
		if err != nil {
			continue // the storage is down; a server that stays down shows in the acknowledgements that stop
		}
		revision := version(l.t, list.ResourceVersion)
		if revision < newest {
			l.t.Errorf("a list at revision %d after one at %d", revision, newest)
		}
		newest = revision
		listed := map[string]*corev1.ConfigMap{}
		for i := range list.Items {
			listed[list.Items[i].Name] = &list.Items[i]
		}
		for i, r := range l.registers {
			sequence, err := sequenceOf(listed[r.name])
			if err == nil {
				err = r.admits(floors[i], sequence)
			}
			if err != nil {
				l.t.Errorf("list at revision %d: %v", revision, err)
			}
		}
		l.lists.Add(1)
	}
}

// watch follows the namespace to the last object. When the apiserver ends a watch, it goes on from the last version, as an informer does; a
// version that has become too old for that is an error: the storage was down for a moment, nothing was compacted that the cache lacks.
func (l *load) watch(from string) (seen []change, err error) {
	for !l.t.Failed() {
		var watcher watch.Interface
		err := poll(l.t.Context(), recoveryTimeout, func(context.Context) (err error) {
			watcher, err = l.configMaps().Watch(l.t.Context(), metav1.ListOptions{ResourceVersion: from})
			return err
		})
		if err != nil {
			return nil, err
		}
		for event := range watcher.ResultChan() {
			next, err := asChange(event)
			if err != nil {
				watcher.Stop()
				return nil, err
			}
			if len(seen) > 0 && next.version <= seen[len(seen)-1].version {
				watcher.Stop()
				return nil, fmt.Errorf("%+v after %+v", next, seen[len(seen)-1])
			}
			seen = append(seen, next)
			from = strconv.FormatInt(next.version, 10)
			if next.name == lastObject {
				watcher.Stop()
				return seen, nil
			}
		}
	}
	return seen, nil
}

// sequenceOf reads the sequence number in a register's object, 0 for no object.
func sequenceOf(object *corev1.ConfigMap) (int, error) {
	if object == nil {
		return 0, nil
	}
	return strconv.Atoi(object.Data["value"])
}

// versionOf is the revision of an object, 0 for no object.
func versionOf(object *corev1.ConfigMap) int64 {
	if object == nil {
		return 0
	}
	revision, err := strconv.ParseInt(object.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return revision
}
