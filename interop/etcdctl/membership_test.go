package etcdctl

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"vetch/interop/harness"
)

// reconfigure changes the membership, and tries again while that is refused because members have not been connected for 5 s yet.
func (w *clusterWalk) reconfigure(args ...string) (out string) {
	w.t.Helper()
	harness.Eventually(w.t, commandDeadline, "the cluster is healthy enough to be changed", func() bool {
		stdout, stderr, err := w.try(commandDeadline, "", args...)
		if err != nil && !strings.Contains(stderr, "Error: etcdserver: unhealthy cluster") {
			w.t.Fatalf("etcdctl %q: %v\n%s", args, err, stderr)
		}
		out = stdout
		return err == nil
	})
	return out
}

// TestMembership adds a learner, starts and promotes it, updates, removes.
func TestMembership(t *testing.T) {
	w := startWalk(t)
	c := w.cluster
	for i := range 3 {
		w.want("OK\n", "put", fmt.Sprint("k", i), "v")
	}
	leader := c.Leader()

	fourth := c.NewMember()
	out := w.reconfigure("member", "add", fourth.Name(), "--learner", "--peer-urls="+fourth.PeerURL())
	added := regexp.MustCompile(`Member +([0-9a-f]+) added as learner to cluster +([0-9a-f]+)\n`).FindStringSubmatch(out)
	if added == nil {
		t.Fatalf("member add says %q", out)
	}
	if got, want := w.members()[fourth.PeerURL()], (listed{added[1], "unstarted", "", fourth.PeerURL(), "", true}); got != want {
		t.Errorf("member list has %+v, want %+v", got, want)
	}
	w.fails("etcdserver: can only promote a learner member which is in sync with leader", "member", "promote", added[1])
	fifth := c.NewMember()
	w.fails("etcdserver: too many learner members in cluster", "member", "add", "more", "--learner", "--peer-urls="+fifth.PeerURL())
	w.fails("etcdserver: Peer URLs already exists", "member", "add", "more", "--peer-urls="+leader.PeerURL())
	w.fails("etcdserver: bad leader transferee", "move-leader", added[1])

	c.Join(fourth, out)
	learner := w.at(fourth)
	harness.Eventually(t, commandDeadline, "the learner serves serializable reads", func() bool {
		stdout, _, err := learner.try(5*time.Second, "", "get", "k2", "--consistency=s")
		return err == nil && stdout == "k2\nv\n"
	})
	learner.fails("etcdserver: rpc not supported for learner", "get", "k0")
	learner.fails("etcdserver: rpc not supported for learner", "put", "k0", "v")
	w.reconnect()
	if s := w.status()[fourth.Endpoint()].Status; !s.IsLearner {
		t.Errorf("status of the learner: %+v", s)
	}
	w.endpoint = leader.Endpoint()
	harness.Eventually(t, commandDeadline, "the learner is promoted", func() bool {
		stdout, _, err := w.try(5*time.Second, "", "member", "promote", added[1])
		return err == nil && strings.Contains(stdout, "promoted in cluster")
	})
	w.fails("etcdserver: can only promote a learner member", "member", "promote", added[1])
	if got, want := w.members()[fourth.PeerURL()], (listed{added[1], "started", fourth.Name(), fourth.PeerURL(), fourth.URL(), false}); got != want {
		t.Errorf("member list has %+v, want %+v", got, want)
	}
	fourth.WaitReady()
	learner.want("OK\n", "put", "k0", "w")
	w.reconnect()
	c.WaitHashesEqual()

	w.fails("etcdserver: Peer URLs already exists", "member", "update", added[1], "--peer-urls="+leader.PeerURL())
	moved := fmt.Sprintf("http://127.0.0.1:%d", harness.FreePort(t))
	w.matches(`Member +`+added[1]+` updated in cluster +[0-9a-f]+\n`, "member", "update", added[1], "--peer-urls="+moved)
	if got := w.members()[moved]; got.id != added[1] || got.name != fourth.Name() {
		t.Errorf("member list has %+v", got)
	}
	w.want("OK\n", "put", "k1", "w")

	removed := regexp.MustCompile(`^Member +` + added[1] + ` removed from cluster +[0-9a-f]+\n$`)
	if out := w.reconfigure("member", "remove", added[1]); !removed.MatchString(out) {
		t.Errorf("member remove says %q", out)
	}
	fourth.WaitExit(commandDeadline)
	c.Forget(fourth)
	w.reconnect()
	if members := w.members(); len(members) != 3 {
		t.Errorf("members %v", members)
	}
	w.fails("etcdserver: member not found", "member", "remove", added[1])
	w.fails("etcdserver: member not found", "member", "promote", added[1])
	w.fails("etcdserver: member not found", "member", "update", added[1], "--peer-urls="+moved)
	w.want("OK\n", "put", "k2", "w")
	c.WaitHashesEqual()
}

// TestStrictReconfiguration: a change that could cost the quorum is refused.
func TestStrictReconfiguration(t *testing.T) {
	w := startWalk(t)
	c := w.cluster
	// Without a dead member it is allowed.
	learner := regexp.MustCompile(`Member +([0-9a-f]+) added`).FindStringSubmatch(
		w.reconfigure("member", "add", "learner", "--learner", "--peer-urls="+c.NewMember().PeerURL()))
	w.reconfigure("member", "remove", learner[1])
	dead := c.Others(c.Leader())[0]
	id := w.id(dead)
	dead.Kill()
	alive := c.Others(dead)
	w.endpoint = alive[0].Endpoint()
	leader := c.Leader(alive...)
	const unhealthy = "etcdserver: unhealthy cluster"
	fourth := c.NewMember()
	w.fails(unhealthy, "member", "add", "fourth", "--peer-urls="+fourth.PeerURL())
	w.fails(unhealthy, "member", "remove", w.id(leader))
	w.matches(`Member .* removed .*\n`, "member", "remove", id) // the dead one may go
	w.want("OK\n", "put", "k", "v")
	if members := w.members(); len(members) != 2 {
		t.Errorf("members %v", members)
	}
}
