package kube

import (
	"fmt"
	"sync"
)

// register is what is known of one configmap under load. One goroutine writes it, with the sequence number of the write in the object;
// others hold what they read against it.
type register struct {
	name string

	mu sync.Mutex
	// operations holds every write attempted; the one with sequence number s at s-1.
	operations []operation
	// known is the sequence number of the newest write that happened for certain: it was acknowledged, or seen by a read. 0 is none.
	known int
}

// operation is one attempted write.
type operation struct {
	deletes bool
	// happened is true when the write was acknowledged or seen.
	happened bool
	// version is the revision it was written at, where the acknowledgement or the read said it.
	version int64
}

// attempt notes a write that is about to be sent and gives its sequence number.
func (r *register) attempt(deletes bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, operation{deletes: deletes})
	return len(r.operations)
}

// acknowledge notes that a write happened, at the given revision if that is known, or 0.
func (r *register) acknowledge(sequence int, version int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.happened(sequence, version)
}

func (r *register) happened(sequence int, version int64) error {
	for _, earlier := range r.operations[:sequence-1] {
		if version > 0 && earlier.version >= version {
			return fmt.Errorf("%s: write %d has revision %d, an earlier one %d", r.name, sequence, version, earlier.version)
		}
	}
	op := &r.operations[sequence-1]
	op.happened = true
	if version > 0 {
		op.version = version
	}
	r.known = max(r.known, sequence)
	return nil
}

// floor is the sequence number a read that starts now must not fall behind.
func (r *register) floor() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

// resolve notes what a read after a write of unknown outcome showed: the object with the given sequence number, or 0 for no object.
func (r *register) resolve(sequence int, version int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	written, err := r.explain(r.known, sequence)
	if err != nil || written == 0 {
		return err
	}
	return r.happened(written, version)
}

// admits says whether a read that started when the floor was this may have seen the object with the given sequence number, or 0 for none.
func (r *register) admits(floor, sequence int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.explain(floor, sequence)
	return err
}

// explain finds the write at or after the floor that left what a read saw; 0 is the state before the first write.
func (r *register) explain(floor, sequence int) (int, error) {
	if sequence > 0 {
		switch {
		case sequence < floor:
			return 0, fmt.Errorf("%s: read write %d, but write %d was known before: a lost write or a stale read", r.name, sequence, floor)
		case sequence > len(r.operations) || r.operations[sequence-1].deletes:
			return 0, fmt.Errorf("%s: read write %d, which was never sent", r.name, sequence)
		}
		return sequence, nil
	}
	if floor == 0 {
		return 0, nil
	}
	for candidate := len(r.operations); candidate >= floor; candidate-- {
		if r.operations[candidate-1].deletes {
			return candidate, nil
		}
	}
	return 0, fmt.Errorf("%s: read no object, but write %d was known before and nothing deleted it", r.name, floor)
}

// current is the sequence number the object must carry once all writes are resolved, 0 for no object.
func (r *register) current() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == 0 || r.operations[r.known-1].deletes {
		return 0
	}
	return r.known
}

// seenOnWatch is one event of the register's object: the sequence number of the object, and whether it is its deletion.
type seenOnWatch struct {
	sequence int
	deleted  bool
	version  int64
}

// matches holds everything a watch saw of the object against what was written: each write that happened is there once and in order, and
// nothing that was never sent.
func (r *register) matches(events []seenOnWatch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	puts := map[int]int64{}        // sequence number to revision
	deletedAfter := map[int]bool{} // by the sequence number of the last put
	last, present := 0, false      // the last put, and whether the object is there
	for _, event := range events {
		if event.deleted {
			if !present || event.sequence != last {
				return fmt.Errorf("%s: the watch saw the deletion of write %d after write %d", r.name, event.sequence, last)
			}
			deletedAfter[last], present = true, false
			continue
		}
		if event.sequence <= last || event.sequence > len(r.operations) || r.operations[event.sequence-1].deletes {
			return fmt.Errorf("%s: the watch saw write %d after write %d", r.name, event.sequence, last)
		}
		last, present = event.sequence, true
		puts[last] = event.version
	}
	lastPut := 0
	for i, op := range r.operations {
		sequence := i + 1
		seenAt, seen := puts[sequence]
		switch {
		case seen && op.version > 0 && seenAt != op.version:
			return fmt.Errorf("%s: write %d was acknowledged at revision %d, the watch saw it at %d", r.name, sequence, op.version, seenAt)
		case op.happened && !op.deletes && !seen:
			return fmt.Errorf("%s: the watch missed write %d (revision %d)", r.name, sequence, op.version)
		case op.happened && op.deletes && !deletedAfter[lastPut]:
			return fmt.Errorf("%s: the watch missed the deletion, write %d", r.name, sequence)
		}
		if seen {
			lastPut = sequence
		}
	}
	return nil
}
