package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"vetch/interop/harness"
)

// TestDeadMemberReplaced replaces a member whose disk is lost, the leader, with etcdctl and under load: remove, add, start with
// --initial-cluster-state=existing. Then the new one carries the cluster when another one dies.
func TestDeadMemberReplaced(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	l := startLoad(t, c)
	l.awaitWrites(writesBetween)
	lost := c.Leader()
	id := memberID(t, lost)
	lost.Kill()
	c.Forget(lost)
	c.Leader()
	l.awaitWrites(writesBetween)

	reconfigure(t, c, "member", "remove", id)
	added := c.NewMember()
	out := reconfigure(t, c, "member", "add", added.Name(), "--peer-urls="+added.PeerURL())
	c.Join(added, out)
	added.WaitReady()
	l.awaitWrites(writesBetween)
	l.watch(added)
	if err := l.all.Sync(t.Context()); err != nil { // learns the new endpoint
		t.Fatal(err)
	}
	if members := strings.Split(strings.TrimSpace(etcdctl(t, c, "member", "list")), "\n"); len(members) != 3 {
		t.Errorf("members: %q", members)
	}
	c.WaitHashesEqualAt(l.revision())

	leader := c.Leader()
	other := c.Others(leader, added)[0]
	other.Kill()
	l.awaitWrites(writesBetween)
	other.Restart()
	l.finish()
}

// TestRemovedMemberStaysRemoved: it stops by itself when it learns of it, and does not start again on what it has.
func TestRemovedMemberStaysRemoved(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	l := startLoad(t, c)
	l.awaitWrites(writesBetween)
	removed := c.Others(c.Leader())[0]
	id := memberID(t, removed)
	c.Forget(removed)
	reconfigure(t, c, "member", "remove", id)
	removed.WaitExit(recovery)
	if !strings.Contains(removed.Log(), "removed") {
		t.Errorf("its log does not say that it has been removed:\n%s", removed.Log())
	}
	removed.Launch()
	removed.WaitExit(recovery)
	if !strings.Contains(removed.Log(), "removed") {
		t.Errorf("its log does not say that it has been removed:\n%s", removed.Log())
	}
	l.awaitWrites(writesBetween)
	l.finish()
}

// etcdctlDeadline is for one command.
const etcdctlDeadline = 30 * time.Second

func etcdctl(t *testing.T, c *harness.Cluster, args ...string) string {
	t.Helper()
	out, err := tryEtcdctl(t, c, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// reconfigure changes the membership, and tries again while that is refused because members have not been connected for 5 s yet, as operators do.
func reconfigure(t *testing.T, c *harness.Cluster, args ...string) (out string) {
	t.Helper()
	harness.Eventually(t, recovery, "the cluster is healthy enough to be changed", func() (done bool) {
		var err error
		out, err = tryEtcdctl(t, c, args...)
		if err != nil && !strings.Contains(err.Error(), "etcdserver: unhealthy cluster") {
			t.Fatal(err)
		}
		return err == nil
	})
	return out
}

func tryEtcdctl(t *testing.T, c *harness.Cluster, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), etcdctlDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.MustTool(t, "etcdctl"), append([]string{"--endpoints=" + c.Endpoints()}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("etcdctl %q: %w: %s", args, err, &stderr)
	}
	return string(out), err
}

func memberID(t *testing.T, m *harness.Server) string {
	t.Helper()
	s, err := m.Client().Status(harness.Context(t), m.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", s.Header.MemberId)
}
