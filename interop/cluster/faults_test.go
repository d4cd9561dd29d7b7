package cluster

import (
	"testing"

	"vetch/interop/harness"
)

const (
	// writesBetween is how many puts are acknowledged before and after a fault.
	writesBetween = 300
	// writesInFault is less: while a member does not answer, every client of all members waits for it in turn.
	writesInFault = 60
)

// TestLeaderKilled kills the leader twice. The others go on, and it comes back with what it has on disk.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	l := startLoad(t, c)
	for range 2 {
		l.awaitWrites(writesBetween)
		leader := c.Leader()
		l.gap()
		leader.Kill()
		next := c.Leader(c.Others(leader)...)
		l.awaitWrites(writesBetween)
		t.Logf("leader %s killed, %s took over; longest gap between acknowledged puts: %v", leader.Name(), next.Name(), l.gap())
		leader.Restart()
		l.awaitWrites(writesBetween)
	}
	l.finish()
}

// TestAllKilled: what was acknowledged is on the disks of a majority.
func TestAllKilled(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	l := startLoad(t, c)
	l.awaitWrites(writesBetween)
	for _, m := range c.Members {
		m.Kill()
	}
	c.RestartAll()
	l.awaitWrites(writesBetween)
	l.finish()
}

// TestLeaderPaused stops the leader where it is, until the others have another one, and lets it go on: it must not answer what waits in its
// sockets from what it knew.
func TestLeaderPaused(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	l := startLoad(t, c)
	for range 2 {
		l.awaitWrites(writesBetween)
		leader := c.Leader()
		leader.Pause()
		c.Leader(c.Others(leader)...)
		l.awaitWrites(writesInFault)
		leader.Resume()
		l.awaitWrites(writesBetween)
		c.Leader()
	}
	l.finish()
}

// TestPartitions cuts members off from each other while clients reach all of them.
func TestPartitions(t *testing.T) {
	cuts := map[string]func(n *harness.Network, leader, a, b *harness.Server){
		"leader from both": func(n *harness.Network, leader, a, b *harness.Server) {
			n.Cut(leader, a)
			n.Cut(leader, b)
		},
		// The others hear a leader that hears nobody.
		"both to leader": func(n *harness.Network, leader, a, b *harness.Server) {
			n.CutOneWay(a, leader)
			n.CutOneWay(b, leader)
		},
		"follower from both": func(n *harness.Network, leader, a, b *harness.Server) {
			n.Cut(a, leader)
			n.Cut(a, b)
		},
		// A follower that hears no leader must not depose it again and again: the other one still hears both.
		"leader from one": func(n *harness.Network, leader, a, b *harness.Server) { n.Cut(leader, a) },
	}
	for name, cut := range cuts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := harness.NewNetwork(t)
			c := harness.StartClusterWith(t, harness.ClusterOptions{Size: 3, Network: n})
			l := startLoad(t, c)
			l.awaitWrites(writesBetween)
			leader := c.Leader()
			others := c.Others(leader)
			l.gap()
			cut(n, leader, others[0], others[1])
			if name == "leader from both" || name == "both to leader" {
				c.Leader(others...)
			}
			l.awaitWrites(writesInFault)
			t.Logf("longest gap between acknowledged puts: %v", l.gap())
			n.HealAll()
			l.awaitWrites(writesBetween)
			c.Leader()
			l.finish()
		})
	}
}
