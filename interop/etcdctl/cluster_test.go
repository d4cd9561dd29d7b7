package etcdctl

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"vetch/interop/harness"
)

// clusterWalk is etcdctl on a cluster of three.
type clusterWalk struct {
	*ctl
	cluster *harness.Cluster
}

func startWalk(t *testing.T) *clusterWalk {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	for _, m := range c.Members {
		m.WaitSettled()
	}
	w := &clusterWalk{ctl: newCtl(t, c.Members[0]), cluster: c}
	w.reconnect()
	return w
}

// reconnect uses all members there are now.
func (w *clusterWalk) reconnect() { w.endpoint = w.cluster.Endpoints() }

// at is etcdctl on one member only.
func (w *clusterWalk) at(s *harness.Server) *ctl { return newCtl(w.t, s) }

// listed is one line of `member list`.
type listed struct {
	id, status, name, peerURLs, clientURLs string
	learner                                bool
}

func (w *clusterWalk) members() map[string]listed {
	w.t.Helper()
	members := map[string]listed{}
	for _, line := range strings.Split(strings.TrimSpace(w.run("member", "list")), "\n") {
		f := strings.Split(line, ", ")
		if len(f) != 6 {
			w.t.Fatalf("member list says %q", line)
		}
		members[f[3]] = listed{f[0], f[1], f[2], f[3], f[4], f[5] == "true"}
	}
	return members
}

func (w *clusterWalk) id(s *harness.Server) string {
	w.t.Helper()
	m, ok := w.members()[s.PeerURL()]
	if !ok {
		w.t.Fatalf("%s is not in the member list", s.Name())
	}
	return m.id
}

// status is `endpoint status` of all members, by endpoint.
type status struct {
	Endpoint string
	Status   struct {
		Header struct {
			Member   json.Number `json:"member_id"`
			Cluster  json.Number `json:"cluster_id"`
			Revision json.Number
			Term     json.Number `json:"raft_term"`
		}
		Version, StorageVersion string
		Leader, RaftTerm        json.Number
		RaftIndex               json.Number
		RaftAppliedIndex        json.Number
		DBSize                  json.Number
		Errors                  []string
		IsLearner               bool
	}
}

func (w *clusterWalk) status() map[string]status {
	w.t.Helper()
	var all []status
	w.json(&all, "endpoint", "status")
	byEndpoint := map[string]status{}
	for _, s := range all {
		byEndpoint[s.Endpoint] = s
	}
	return byEndpoint
}

// TestClusterEndpoints: what every member says of itself and of the cluster.
func TestClusterEndpoints(t *testing.T) {
	w := startWalk(t)
	c := w.cluster
	w.want("OK\n", "put", "k", "v")
	leader := c.Leader()
	for _, m := range c.Members {
		w.at(m).want("k\nv\n", "get", "k")
		w.at(m).want("OK\n", "put", "from-"+m.Name(), "v")
		w.at(m).want("from-"+m.Name()+"\nv\n", "get", "from-"+m.Name())
	}
	c.WaitHashesEqual() // all have applied all of it

	members := w.members()
	if len(members) != 3 {
		t.Fatalf("members %v", members)
	}
	all := w.status()
	leads := all[leader.Endpoint()].Status
	for _, m := range c.Members {
		want := listed{members[m.PeerURL()].id, "started", m.Name(), m.PeerURL(), m.URL(), false}
		if got := members[m.PeerURL()]; got != want {
			t.Errorf("member list has %+v, want %+v", got, want)
		}
		s := all[m.Endpoint()].Status
		if id := fmt.Sprintf("%x", mustUint(t, s.Header.Member)); id != want.id {
			t.Errorf("%s: its header says member %s, the list %s", m.Name(), id, want.id)
		}
		if s.Header.Cluster != leads.Header.Cluster || s.Leader != leads.Header.Member || s.RaftTerm != leads.RaftTerm ||
			s.Header.Term != leads.RaftTerm || s.Header.Revision != "5" || !strings.HasPrefix(s.Version, "3.7.") ||
			s.StorageVersion != "3.7.0" || len(s.Errors) != 0 || s.IsLearner || s.RaftIndex == "0" || s.DBSize == "0" {
			t.Errorf("%s: status %+v, the leader's %+v", m.Name(), s, leads)
		}
		w.at(m).matches(`(http://[0-9.:]+ is healthy: successfully committed proposal: took = [^\n]*\n){3}`, "endpoint", "health", "--cluster")
	}
	w.matches(`([0-9.:]+ is healthy: [^\n]*\n){3}`, "endpoint", "health")
	w.matches(`([0-9.:]+, \d+(, \d+)*\n){3}`, "endpoint", "hashkv")
	if out := w.run("endpoint", "status", "--cluster", "-w", "table"); strings.Count(out, " true ") != 1 {
		t.Errorf("one leader, three members: %s", out)
	}

	dead := c.Others(leader)[0]
	dead.Kill()
	stdout, stderr, err := w.try(commandDeadline, "", "endpoint", "health")
	if err == nil || strings.Count(stdout, " is healthy") != 2 || !strings.Contains(stdout+stderr, dead.Endpoint()+" is unhealthy") {
		t.Errorf("endpoint health with a dead member: %v\n%s\n%s", err, stdout, stderr)
	}
	dead.Restart()
	w.matches(`([0-9.:]+ is healthy: [^\n]*\n){3}`, "endpoint", "health")
}

// TestMoveLeader moves leadership to each member and refuses what etcd refuses.
func TestMoveLeader(t *testing.T) {
	w := startWalk(t)
	c := w.cluster
	leader := c.Leader()
	for range 3 {
		next := c.Others(leader)[0]
		from, to := w.id(leader), w.id(next)
		w.matches(`Leadership transferred from `+from+` to `+to+`\n`, "move-leader", to)
		if now := c.Leader(); now != next {
			t.Errorf("%s leads, want %s", now.Name(), next.Name())
		}
		w.want("OK\n", "put", "k", next.Name())
		leader = next
	}
	w.matches(`Leadership transferred from .*\n`, "move-leader", w.id(leader)) // to itself: nothing to do
	w.at(leader).fails("etcdserver: bad leader transferee", "move-leader", "123abc")
	follower := c.Others(leader)[0]
	w.at(follower).fails("no leader endpoint given at ["+follower.Endpoint()+"]", "move-leader", w.id(follower))
	c.WaitHashesEqual()
}
