package cluster

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// register is the history of one key that clients read, and write by compare-and-swap, and never delete. Every write has a value of its own,
// and a key's version counts its writes, so each observation says at which place in the one order of all writes it stands. That makes
// linearizability a question of real time alone: see check.
type register struct {
	mu           sync.Mutex
	observations []observation
	attempts     map[string]time.Time // value of every write that was sent, and when
}

// observation is an answered read or write: the version and value it saw or made. Version 0 is a key that does not exist.
type observation struct {
	by             string
	sent, answered time.Time
	version        int64
	value          string
	wrote          bool
}

func (o observation) String() string {
	verb := "read"
	if o.wrote {
		verb = "wrote"
	}
	return fmt.Sprintf("%s %s version %d (%s), sent %s, answered %s", o.by, verb, o.version, o.value,
		o.sent.Format("05.000000"), o.answered.Format("05.000000"))
}

// attempt notes a write that is about to be sent.
func (r *register) attempt(value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.attempts == nil {
		r.attempts = map[string]time.Time{}
	}
	r.attempts[value] = time.Now()
}

// observe notes an answer.
func (r *register) observe(o observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observations = append(r.observations, o)
}

// check reports why the history is not linearizable, or nil:
//
//   - a version has one value, a value one version, and was written by somebody;
//   - no version is made by two writes;
//   - whoever starts after an answer sees at least its version, and makes a greater one.
//
// A write that was never answered counts once its value is seen: it may have taken effect at any time after it was sent.
func (r *register) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, err := r.withUnanswered()
	if err != nil {
		return err
	}
	byAnswer := slices.DeleteFunc(slices.Clone(all), func(o observation) bool { return o.answered.IsZero() })
	slices.SortFunc(byAnswer, func(a, b observation) int { return a.answered.Compare(b.answered) })
	slices.SortFunc(all, func(a, b observation) int { return a.sent.Compare(b.sent) })
	var newest observation
	next := 0
	for _, o := range all {
		for ; next < len(byAnswer) && byAnswer[next].answered.Before(o.sent); next++ {
			if byAnswer[next].version > newest.version {
				newest = byAnswer[next]
			}
		}
		if o.version < newest.version || (o.wrote && o.version == newest.version && newest.version != 0) {
			return fmt.Errorf("not linearizable: %v, after %v", o, newest)
		}
	}
	return nil
}

// withUnanswered holds the observations to the rules that do not look at time, and adds the unanswered writes that were seen.
func (r *register) withUnanswered() ([]observation, error) {
	values, versions, writers := map[int64]string{0: ""}, map[string]int64{"": 0}, map[int64]observation{}
	for _, o := range r.observations {
		if v, seen := values[o.version]; seen && v != o.value {
			return nil, fmt.Errorf("version %d has the values %q and %q: %v", o.version, v, o.value, o)
		}
		if v, seen := versions[o.value]; seen && v != o.version {
			return nil, fmt.Errorf("value %q has the versions %d and %d: %v", o.value, v, o.version, o)
		}
		if _, written := r.attempts[o.value]; !written && o.version != 0 {
			return nil, fmt.Errorf("a value nobody wrote: %v", o)
		}
		values[o.version], versions[o.value] = o.value, o.version
		if !o.wrote {
			continue
		}
		if other, twice := writers[o.version]; twice {
			return nil, fmt.Errorf("one version, two writes: %v, %v", other, o)
		}
		writers[o.version] = o
	}
	all := slices.Clone(r.observations)
	for value, version := range versions {
		if _, answered := writers[version]; !answered && version != 0 {
			all = append(all, observation{by: "unanswered", sent: r.attempts[value], version: version, value: value, wrote: true})
		}
	}
	return all, nil
}
