package differential

import (
	"fmt"
	"sync"
)

// World is what the generator knows of the state of both servers, learned from etcd's answers.
type World struct {
	Rev       int64 // current revision
	Compacted int64 // last compacted revision, -1 before any compaction
	// ServerLeases is how many leases were granted with ids the servers chose; they are named symbolically, see leaseMap.
	ServerLeases int
	// AttachServerLeases lets keys be attached to leases with server-chosen ids. Those ids are part of the stored
	// records, so such a run has no comparable HashKV.
	AttachServerLeases bool
	// ZeroCompaction is set once Compact(0) has succeeded.
	ZeroCompaction bool
	// Watches are the watchers that are alive, by stream.
	Watches [streamCount][]int64
}

// Streams of watchers. Progress requests are answered only while no watcher of the stream starts in the future, so those are kept apart.
const (
	streamA = iota
	streamB
	streamFuture
	streamCount
)

// firstSymbolicLease is the symbolic id of the first lease whose id the servers chose; the others follow.
const firstSymbolicLease = int64(1) << 62

// leaseMap translates between the symbolic ids used by steps and comparisons and the ids one server chose.
type leaseMap struct {
	mu       sync.Mutex
	actual   []int64
	symbolic map[int64]int64
}

func newLeaseMap() *leaseMap { return &leaseMap{symbolic: map[int64]int64{}} }

// granted records the next server-chosen id.
func (m *leaseMap) granted(id int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.symbolic[id] = firstSymbolicLease + int64(len(m.actual))
	m.actual = append(m.actual, id)
}

func (m *leaseMap) toActual(id int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := id - firstSymbolicLease; n >= 0 && n < int64(len(m.actual)) {
		return m.actual[n]
	}
	return id
}

func (m *leaseMap) toSymbolic(id int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.symbolic[id]; ok {
		return s
	}
	return id
}

func (w *World) String() string {
	return fmt.Sprintf("revision %d, compacted %d, watches %v", w.Rev, w.Compacted, w.Watches)
}
