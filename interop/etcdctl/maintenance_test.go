package etcdctl

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"vetch/interop/harness"
)

func TestCompactionAndDefrag(t *testing.T) {
	t.Parallel()
	c := newCtl(t, harness.Start(t))
	for i := range 5 {
		c.want("OK\n", "put", "k", fmt.Sprint(i))
	}
	c.want("compacted revision 4\n", "compaction", "4")
	c.fails("etcdserver: mvcc: required revision has been compacted", "compaction", "4")
	c.fails("etcdserver: mvcc: required revision is a future revision", "compaction", "99")
	c.fails("etcdserver: mvcc: required revision has been compacted", "get", "k", "--rev=3")
	c.want("k\n2\n", "get", "k", "--rev=4")
	c.want("compacted revision 6\n", "compaction", "6", "--physical")
	c.matches(`Finished defragmenting etcd member\[`+c.endpoint+`\]. took .*\n`, "defrag")
	c.matches(`Finished defragmenting etcd member\[http://`+c.endpoint+`\]. took .*\n`, "defrag", "--cluster")
	c.want("k\n4\n", "get", "k")
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	s.WaitSettled()
	c := newCtl(t, s)
	c.want("OK\n", "put", "k", "v")
	// `endpoint health` writes its verdict to stdout; a member with an alarm or without a leader would be unhealthy.
	c.matches(c.endpoint+` is healthy: successfully committed proposal: took = .*\n`, "endpoint", "health")
	c.matches(`http://`+c.endpoint+` is healthy: .*\n`, "endpoint", "health", "--cluster")

	var status []struct {
		Endpoint string
		Status   struct {
			Header struct {
				Cluster  json.Number `json:"cluster_id"`
				Member   json.Number `json:"member_id"`
				Revision json.Number
				Term     json.Number `json:"raft_term"`
			}
			Version, StorageVersion                                                         string
			DBSize, DBSizeInUse, DBSizeQuota, Leader, RaftIndex, RaftAppliedIndex, RaftTerm json.Number
			Errors                                                                          []string
			IsLearner                                                                       bool
		}
	}
	c.json(&status, "endpoint", "status")
	st := status[0].Status
	if len(status) != 1 || status[0].Endpoint != c.endpoint || st.Header.Revision != "2" || st.Leader != st.Header.Member ||
		st.RaftTerm != st.Header.Term || !strings.HasPrefix(st.Version, "3.7.") || st.StorageVersion != "3.7.0" ||
		st.DBSizeQuota != "2147483648" || len(st.Errors) != 0 || st.IsLearner {
		t.Errorf("status %+v", status)
	}
	for name, n := range map[string]json.Number{"cluster id": st.Header.Cluster, "member id": st.Header.Member, "term": st.RaftTerm,
		"size": st.DBSize, "in use": st.DBSizeInUse, "raft index": st.RaftIndex, "applied index": st.RaftAppliedIndex} {
		if n == "" || n == "0" {
			t.Errorf("%s is %q", name, n)
		}
	}
	for _, format := range []string{"simple", "table", "fields"} {
		if out := c.run("endpoint", "status", "-w", format); !strings.Contains(out, "3.7.1") {
			t.Errorf("status as %s: %s", format, out)
		}
	}

	var hash []struct {
		HashKV struct {
			Hash            json.Number
			CompactRevision json.Number `json:"compact_revision"`
			HashRevision    json.Number `json:"hash_revision"`
		}
	}
	c.json(&hash, "endpoint", "hashkv")
	// Equal content gives equal hashes on every member and implementation, so the value itself is known.
	if h := hash[0].HashKV; h.Hash == "" || h.Hash == "0" || h.CompactRevision != "-1" || h.HashRevision != "2" {
		t.Errorf("hashkv %+v", hash)
	}
	c.fails("etcdserver: mvcc: required revision is a future revision", "endpoint", "hashkv", "--rev=9")

	member := c.matches(`([0-9a-f]+), started, m1, http://127.0.0.1:`+fmt.Sprint(s.PeerPort)+`, http://`+c.endpoint+`, false\n`, "member", "list")[0]
	if want := fmt.Sprintf("%x", mustUint(t, st.Header.Member)); member != want {
		t.Errorf("member %s, header says %s", member, want)
	}
	c.matches(`.*\bm1\b.*`, "member", "list", "-w", "table")
	c.matches(member+`, started, m1, .*`, "member", "list", "--consistency=s")
}

func mustUint(t *testing.T, n json.Number) uint64 {
	t.Helper()
	var v uint64
	if _, err := fmt.Sscan(string(n), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestNoSpace fills a small quota and recovers as the documentation tells operators to.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	c := newCtl(t, harness.Start(t, fmt.Sprintf("--quota-backend-bytes=%d", 2<<20)))
	c.want("", "alarm", "list")
	value := strings.Repeat("x", 100<<10)
	full := false
	for i := 0; i < 60 && !full; i++ {
		_, stderr, err := c.try(commandDeadline, value, "put", fmt.Sprintf("fill/%02d", i))
		full = err != nil
		if full && !strings.Contains(stderr, "etcdserver: mvcc: database space exceeded") {
			t.Fatalf("put: %v: %s", err, stderr)
		}
	}
	if !full {
		t.Fatal("6 MB went into a quota of 2 MiB")
	}
	member := c.matches(`memberID:(\d+) +alarm:NOSPACE *\n`, "alarm", "list")[0]
	c.fails("etcdserver: mvcc: database space exceeded", "put", "small", "1")
	c.fails("failed to grant lease (etcdserver: mvcc: database space exceeded)", "lease", "grant", "100")
	if _, stderr, err := c.try(commandDeadline, "", "endpoint", "health"); err == nil {
		t.Errorf("healthy in spite of the alarm: %s", stderr)
	}
	c.matches("fill/00\n.*", "get", "fill/00")
	if out := c.run("endpoint", "status", "-w", "json"); !strings.Contains(out, "NOSPACE") {
		t.Errorf("status does not tell the alarm: %s", out)
	}

	c.matches(`\d+\n`, "del", "fill/", "--prefix")
	var got struct {
		Header struct{ Revision json.Number }
	}
	c.json(&got, "get", "nothing")
	c.run("compaction", string(got.Header.Revision), "--physical")
	c.run("defrag")
	c.matches(`memberID:`+member+` +alarm:NOSPACE *\n`, "alarm", "disarm")
	c.want("", "alarm", "list")
	c.want("OK\n", "put", "small", "1")
	c.matches(c.endpoint+` is healthy.*`, "endpoint", "health")
}

// TestCheckPerf is etcdctl's own load test of one minute. Its limits on single latencies judge the machine and are not taken over.
func TestCheckPerf(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute")
	}
	c := newCtl(t, harness.Start(t))
	stdout, stderr, err := c.try(4*time.Minute, "", "check", "perf", "--load=s", "--auto-compact", "--auto-defrag")
	if !strings.Contains(stdout, "PASS: Throughput is ") || strings.Contains(stdout, "ERROR") || strings.Contains(stdout, "too many errors") {
		t.Errorf("check perf: %v\n%s\n%s", err, stdout, stderr)
	}
	t.Log(stdout)
	c.want("", "get", "/etcdctl-check-perf/", "--prefix", "--keys-only", "--limit=1")
}
