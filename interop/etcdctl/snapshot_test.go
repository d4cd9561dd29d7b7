package etcdctl

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"vetch/interop/harness"
)

// TestSnapshotRestoresInRealEtcd saves a snapshot of the server under test, checks it with etcdutl, and starts real etcd on what
// etcdutl restores: everything must be there, history and leases included.
func TestSnapshotRestoresInRealEtcd(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	c := newCtl(t, s)
	lease := c.matches(`lease ([0-9a-f]+) granted with TTL\(5000s\)\n`, "lease", "grant", "5000")[0]
	for i := range 60 {
		if out := c.runWith("\n"+fmt.Sprintf("put a/%02d %d\nput b/%02d %s\n\n\n", i, i, i%7, strings.Repeat("v", 1+1000*(i%5))), "txn"); !strings.HasPrefix(out, "SUCCESS") {
			t.Fatal(out)
		}
	}
	c.want("OK\n", "put", "leased", "1", "--lease="+lease)
	c.want("1\n", "del", "a/03")
	c.want("compacted revision 20\n", "compaction", "20", "--physical")
	c.want("OK\n", "put", "last", "1")

	file := filepath.Join(t.TempDir(), "snapshot.db")
	c.matches("Snapshot saved at "+file+"\nServer version 3\\.\\d+\\.\\d+\n", "snapshot", "save", file)

	etcdutl := harness.MustTool(t, "etcdutl")
	out, err := exec.Command(etcdutl, "snapshot", "status", file, "-w", "json").Output()
	if err != nil {
		t.Fatalf("etcdutl snapshot status: %v %s", err, stderrOf(err))
	}
	var status struct {
		Revision, TotalKey, TotalSize, Hash json.Number
		Version                             string
	}
	if err := json.Unmarshal(out, &status); err != nil {
		t.Fatal(err)
	}
	// 59 left of a/, 7 of b/, leased, last.
	if status.Revision != "64" || status.TotalKey != "68" || status.Hash == "0" || !strings.HasPrefix(status.Version, "3.") {
		t.Errorf("etcdutl snapshot status: %s", out)
	}

	dir := filepath.Join(t.TempDir(), "restored")
	if out, err := exec.Command(etcdutl, "snapshot", "restore", file, "--data-dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("etcdutl snapshot restore: %v\n%s", err, out)
	}
	restored := harness.StartTarget(t, harness.Etcd, harness.Options{DataDir: dir})
	sameContent(t, s.Dial(), restored.Dial(), 20, 64)

	rc := newCtl(t, restored)
	rc.matches(`lease `+lease+` granted with TTL\(5000s\), remaining\(.*\), attached keys\(\[leased\]\)\n`, "lease", "timetolive", lease, "--keys")
	rc.want("lease "+lease+" revoked\n", "lease", "revoke", lease)
	rc.want("", "get", "leased")
	rc.want("OK\n", "put", "after", "restore")
}

// sameContent compares every revision that can be read, and the hash over all records.
func sameContent(t *testing.T, a, b *harness.Raw, compacted, current int64) {
	t.Helper()
	ctx := harness.Context(t)
	all := func(r *harness.Raw, revision int64) string {
		got, err := r.KV.Range(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: revision})
		if err != nil {
			t.Fatalf("revision %d: %v", revision, err)
		}
		return fmt.Sprint(got.Header.Revision, got.Count, got.Kvs)
	}
	for revision := compacted; revision <= current; revision++ {
		if x, y := all(a, revision), all(b, revision); x != y {
			t.Errorf("revision %d differs:\n%s\n%s", revision, x, y)
		}
	}
	hash := func(r *harness.Raw) string {
		got, err := r.Maintenance.HashKV(ctx, &pb.HashKVRequest{Revision: current})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(got.Hash, got.CompactRevision, got.HashRevision)
	}
	if x, y := hash(a), hash(b); x != y {
		t.Errorf("HashKV differs: %s, %s", x, y)
	}
	if _, err := b.KV.Range(ctx, &pb.RangeRequest{Key: []byte("a"), Revision: compacted - 1}); err == nil {
		t.Errorf("revision %d can still be read", compacted-1)
	}
}

func stderrOf(err error) string {
	if e, ok := err.(*exec.ExitError); ok {
		return string(e.Stderr)
	}
	return ""
}
