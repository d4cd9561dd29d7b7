package differential

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
)

// Everything a full run must have met at least once: a comparison of requests that all fail, or of watchers without events,
// would prove nothing.
var mustMeet = []string{
	"Range", "RangeStream", "Put", "DeleteRange", "Txn", "Compact", "LeaseGrant", "LeaseRevoke", "LeaseKeepAlive", "LeaseTimeToLive",
	"LeaseLeases", "HashKV", "Status", "MemberList", "Alarm",
	"event", "event with prev_kv", "watch created", "watch canceled", "watch compacted",
	"watch refused: mvcc: duplicate watch ID provided on the WatchStream",
	"watch refused: mvcc: watcher range is empty",
	"watch refused: etcdserver: mvcc: required revision has been compacted",
	"etcdserver: key is not provided",
	"etcdserver: key not found",
	"etcdserver: value is provided",
	"etcdserver: lease is provided",
	"etcdserver: too many operations in txn request",
	"etcdserver: duplicate key given in txn request",
	"etcdserver: invalid sort option",
	"etcdserver: mvcc: required revision has been compacted",
	"etcdserver: mvcc: required revision is a future revision",
	"etcdserver: requested lease not found",
	"etcdserver: lease already exists",
	"etcdserver: too large lease TTL",
	"RangeStream does not support custom sort orders",
	"RangeStream does not support revision filters",
}

// coverage adds up what the seeds of one test have met.
type coverage struct {
	mu       sync.Mutex
	requests int
	seen     map[string]int
}

// newCoverage checks at the end of the test, if full, that everything in mustMeet was met and that at least 10,000 requests were compared.
func newCoverage(t *testing.T, full bool) *coverage {
	c := &coverage{seen: map[string]int{}}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		t.Logf("%d requests compared:\n%s", c.requests, c)
		if !full {
			return
		}
		if c.requests < 10_000 {
			t.Errorf("only %d requests compared", c.requests)
		}
		for _, what := range mustMeet {
			if c.seen[what] == 0 {
				t.Errorf("never met: %s", what)
			}
		}
	})
	return c
}

func (c *coverage) add(r *Run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests += r.requests
	for what, n := range r.Seen {
		c.seen[what] += n
	}
}

func (c *coverage) String() string {
	var lines []string
	for what, n := range c.seen {
		lines = append(lines, fmt.Sprintf("%7d %s", n, what))
	}
	sort.Sort(sort.Reverse(sort.StringSlice(lines)))
	return strings.Join(lines, "\n")
}
