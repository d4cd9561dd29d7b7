package etcdctl

import (
	"strings"
	"testing"

	"vetch/interop/harness"
)

func TestLease(t *testing.T) {
	t.Parallel()
	c := newCtl(t, harness.Start(t))
	id := c.matches(`lease ([0-9a-f]+) granted with TTL\(500s\)\n`, "lease", "grant", "500")[0]
	c.want("OK\n", "put", "b", "1", "--lease="+id)
	c.want("OK\n", "put", "a", "1", "--lease="+id)
	c.matches(`lease `+id+` granted with TTL\(500s\), remaining\((500|49\d)s\)\n`, "lease", "timetolive", id)
	keys := c.matches(`lease `+id+` granted with TTL\(500s\), remaining\((?:500|49\d)s\), attached keys\((\[[^\]]*\])\)\n`, "lease", "timetolive", id, "--keys")[0]
	if keys != "[a b]" && keys != "[b a]" {
		t.Errorf("attached keys %s", keys)
	}
	c.want("found 1 leases\n"+id+"\n", "lease", "list")
	c.want("lease "+id+" keepalived with TTL(500)\n", "lease", "keep-alive", "--once", id)
	c.want("lease "+id+" revoked\n", "lease", "revoke", id)
	c.want("", "get", "", "--prefix")
	c.want("found 0 leases\n", "lease", "list")
	c.want("lease "+id+" already expired\n", "lease", "timetolive", id)
	c.fails("failed to revoke lease (etcdserver: requested lease not found)", "lease", "revoke", id)
	c.fails("failed to grant lease (etcdserver: too large lease TTL)", "lease", "grant", "9000000001")

	// The smallest time to live is 2 s, and expiry is a deletion that a watch sees.
	short := c.matches(`lease ([0-9a-f]+) granted with TTL\(2s\)\n`, "lease", "grant", "1")[0]
	c.want("OK\n", "put", "short", "1", "--lease="+short)
	c.start("watch", "short", "--rev=2").expect("PUT", "short", "1", "DELETE", "short", "")
	out, stderr, err := c.try(commandDeadline, "", "lease", "keep-alive", "--once", short)
	if !strings.Contains(out+stderr, "lease "+short+" expired or revoked.") && (err == nil || !strings.Contains(stderr, "requested lease not found")) {
		t.Errorf("keep-alive of an expired lease: %v\n%s%s", err, out, stderr)
	}
}
