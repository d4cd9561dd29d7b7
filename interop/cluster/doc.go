// Package cluster holds clusters of several members to etcd's promises while members are killed, paused, cut off, restarted and replaced:
// nothing acknowledged is lost, reads are linearizable, watches see every event once and in order, leases live as long as they are kept
// alive, and all members hold the same.
package cluster
