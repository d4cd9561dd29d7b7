// Package differential sends the same seeded random requests to real etcd and to the server under test, in lockstep, and compares
// every answer, error (code and text), watch event and HashKV value.
//
// A run is a list of step numbers of one seed. Each step has its own random source, derived from the seed and its number, and
// turns it into a request by looking at the World (current and compacted revision, leases, watchers) that etcd's answers have
// built. So a step can be left out without changing the random choices of the others: that is what makes replay and shrinking
// simple.
//
// What the two servers may legitimately answer differently is mapped away or left out in known.go, and nowhere else.
package differential
