package cluster

import (
	"testing"
	"time"

	"vetch/interop/harness"
)

// longestRollingGap is how long writes may wait while a member is restarted in order. A leader that hands over first takes milliseconds, one
// that is missed an election timeout and more; the bound leaves room for a machine that does other things.
const longestRollingGap = 5 * time.Second

// TestRollingRestart restarts every member in turn by SIGTERM, the leader last.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3)
	l := startLoad(t, c)
	l.awaitWrites(writesBetween)
	leader := c.Leader()
	for _, m := range append(c.Others(leader), leader) {
		l.gap()
		leads := c.Leader() == m
		m.Stop()
		others := c.Others(m)
		c.Leader(others...)
		l.awaitWrites(writesBetween)
		stopped := l.gap()
		m.Restart()
		c.Leader()
		l.awaitWrites(writesBetween)
		started := l.gap()
		t.Logf("%s (leader: %v): longest gap between acknowledged puts: %v around its end, %v around its start", m.Name(), leads, stopped, started)
		if max(stopped, started) > longestRollingGap {
			t.Errorf("writes waited for more than %v", longestRollingGap)
		}
	}
	l.finish()
}
