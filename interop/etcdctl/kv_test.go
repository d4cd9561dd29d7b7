package etcdctl

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"vetch/interop/harness"
)

func TestPutAndGetWithEveryOption(t *testing.T) {
	t.Parallel()
	c := newCtl(t, harness.Start(t))
	c.want("OK\n", "put", "foo", "bar")                         // revision 2
	c.want("OK\nfoo\nbar\n", "put", "foo", "bar2", "--prev-kv") // 3
	c.want("OK\n", "put", "foo1", "zz")                         // 4
	c.want("OK\n", "put", "foo2", "aa")                         // 5
	c.want("OK\n", "put", "foo", "--ignore-value")              // 6
	lease := c.matches(`lease ([0-9a-f]+) granted with TTL\(100s\)\n`, "lease", "grant", "100")[0]
	c.want("OK\n", "put", "leased", "1", "--lease="+lease)             // 7
	c.want("OK\n", "put", "leased", "2", "--ignore-lease")             // 8
	if out := c.runWith("from stdin", "put", "stdin"); out != "OK\n" { // 9
		t.Errorf("put from stdin: %q", out)
	}

	c.want("foo\nbar2\n", "get", "foo")
	c.want("bar2\n", "get", "foo", "--print-value-only")
	c.want("foo\nbar\n", "get", "foo", "--rev=2")
	c.want("foo\nbar2\n", "get", "foo", "--consistency=s")
	c.want("foo\nbar2\nfoo1\nzz\nfoo2\naa\n", "get", "foo", "--prefix")
	c.want("foo\nbar2\nfoo1\nzz\nfoo2\naa\n", "get", "foo", "--prefix", "--stream")
	c.want("foo\nbar2\nfoo1\nzz\n", "get", "foo", "foo2")
	c.want("foo2\naa\nleased\n2\nstdin\nfrom stdin\n", "get", "--from-key", "foo2")
	c.want("foo\nbar2\n", "get", "foo", "--prefix", "--limit=1")
	c.want("foo2\naa\nfoo1\nzz\nfoo\nbar2\n", "get", "foo", "--prefix", "--order=DESCEND")
	c.want("foo2\naa\nfoo\nbar2\nfoo1\nzz\n", "get", "foo", "--prefix", "--sort-by=VALUE")
	c.want("foo1\nzz\nfoo2\naa\nfoo\nbar2\n", "get", "foo", "--prefix", "--sort-by=MODIFY")
	c.want("foo2\naa\nfoo1\nzz\nfoo\nbar2\n", "get", "foo", "--prefix", "--sort-by=CREATE", "--order=DESCEND")
	c.want("foo\nbar2\n", "get", "foo", "--prefix", "--sort-by=VERSION", "--order=DESCEND", "--limit=1")
	c.want("foo\nbar2\nfoo1\nzz\nfoo2\naa\n", "get", "foo", "--prefix", "--sort-by=KEY", "--order=ASCEND")
	c.want("foo\n\nfoo1\n\nfoo2\n\n", "get", "foo", "--prefix", "--keys-only")
	c.want("foo2\naa\n", "get", "foo", "--prefix", "--min-create-rev=5")
	c.want("foo\nbar2\n", "get", "foo", "--prefix", "--max-create-rev=3")
	c.want("foo\nbar2\n", "get", "foo", "--prefix", "--min-mod-rev=6")
	c.want("foo1\nzz\n", "get", "foo", "--prefix", "--max-mod-rev=4")
	c.want("", "get", "nothing")
	c.want("stdin\nfrom stdin\n", "get", "stdin")
	if out := c.run("get", "foo", "--prefix", "--count-only", "-w", "fields"); !strings.Contains(out, "\"Count\" : 3\n") {
		t.Errorf("count only: %s", out)
	}

	var got struct {
		Header struct{ Revision json.Number }
		Kvs    []struct {
			Key, Value     string
			Create         json.Number `json:"create_revision"`
			Mod            json.Number `json:"mod_revision"`
			Version, Lease json.Number
		}
		Count json.Number
		More  bool
	}
	c.json(&got, "get", "leased")
	if s := fmt.Sprintf("%+v", got); !strings.HasPrefix(s, "{Header:{Revision:9} Kvs:[{Key:bGVhc2Vk Value:Mg== Create:7 Mod:8 Version:2 Lease:") || got.Count != "1" || got.More {
		t.Errorf("got %s", s)
	}

	c.fails("etcdserver: requested lease not found", "put", "x", "1", "--lease=123")
	c.fails("etcdserver: key not found", "put", "missing", "--ignore-value")
	c.fails("etcdserver: key not found", "put", "missing", "x", "--ignore-lease")
	c.fails("etcdserver: mvcc: required revision is a future revision", "get", "foo", "--rev=99")
}

func TestDelete(t *testing.T) {
	t.Parallel()
	c := newCtl(t, harness.Start(t))
	for _, k := range []string{"a", "a1", "a2", "b", "c", "d", "e"} {
		c.want("OK\n", "put", k, "v"+k)
	}
	c.want("0\n", "del", "nothing")
	c.want("1\na\nva\n", "del", "a", "--prev-kv")
	c.want("2\n", "del", "a", "--prefix")
	c.want("2\nb\nvb\nc\nvc\n", "del", "b", "d", "--prev-kv")
	c.want("2\n", "del", "--from-key", "d")
	c.want("", "get", "", "--prefix")
}

func TestTxn(t *testing.T) {
	t.Parallel()
	c := newCtl(t, harness.Start(t))
	c.want("OK\n", "put", "a", "1")
	txn := func(want, input string) {
		t.Helper()
		if got := c.runWith(input, "txn"); got != want {
			t.Errorf("txn %q:\n got %q\nwant %q", input, got, want)
		}
	}
	txn("SUCCESS\n\nOK\n\na\n1\n", "value(\"a\") = \"1\"\n\nput b 2\nget a\n\nput c 3\n\n")
	txn("FAILURE\n\nOK\n\nb\n2\n", "value(\"a\") > \"1\"\n\nput x 2\n\nput c 3\nget b\n\n")
	txn("SUCCESS\n\n1\n", "create(\"none\") = \"0\"\nver(\"a\") = \"1\"\nmod(\"a\") < \"3\"\n\ndel c\n\n\n")
	c.want("a\n1\nb\n2\n", "get", "", "--prefix")
	if _, stderr, err := c.try(commandDeadline, "\nput k 1\nput k 2\n\n\n", "txn"); err == nil || !strings.Contains(stderr, "etcdserver: duplicate key given in txn request") {
		t.Errorf("duplicate key: %v %s", err, stderr)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	c := newCtl(t, harness.Start(t))
	c.want("OK\n", "put", "k", "1") // revision 2
	c.want("OK\n", "put", "k", "2")
	c.want("1\n", "del", "k")
	c.want("OK\n", "put", "kk", "3")

	past := c.start("watch", "k", "--rev=2", "--prev-kv")
	past.expect("PUT", "k", "1")
	past.expect("PUT", "k", "1", "k", "2", "DELETE", "k", "2", "k", "")
	prefix := c.start("watch", "k", "--prefix", "--rev=4")
	prefix.expect("DELETE", "k", "", "PUT", "kk", "3")
	interval := c.start("watch", "k", "kz", "--rev=5")
	interval.expect("PUT", "kk", "3")

	c.want("OK\n", "put", "k", "live")
	past.expect("PUT", "k", "live")
	prefix.expect("PUT", "k", "live")
	interval.expect("PUT", "k", "live")

	many := c.start("watch", "-i")
	for _, line := range []string{"watch x --rev=2", "watch y --rev=2"} {
		if _, err := fmt.Fprintln(many.stdin, line); err != nil {
			t.Fatal(err)
		}
	}
	c.want("OK\n", "put", "x", "1")
	many.expect("PUT", "x", "1")
	c.want("OK\n", "put", "y", "1")
	many.expect("PUT", "y", "1")

	c.matches("compacted revision 5\n", "compaction", "5", "--physical")
	_, stderr, err := c.try(commandDeadline, "", "watch", "k", "--rev=2")
	if err == nil || !strings.Contains(stderr, "watch was canceled (etcdserver: mvcc: required revision has been compacted)") {
		t.Errorf("watch of a compacted revision: %v, %s", err, stderr)
	}
}
