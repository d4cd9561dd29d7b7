package contract

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"vetch/interop/harness"
)

func (f *fixture) status() *pb.StatusResponse {
	f.Helper()
	r, err := f.Maintenance.Status(f.ctx, &pb.StatusRequest{})
	return must(f, r, err)
}

func TestStatus(t *testing.T) {
	f := setup(t, "--quota-backend-bytes=123456789")
	f.server.WaitSettled()
	f.put("k", "v")
	s := f.status()
	want(t, "version", s.Version, "3.7.1") // feature detection of clients parses it
	want(t, "storage version", s.StorageVersion, "3.7.0")
	want(t, "leader is the member", s.Leader, s.Header.MemberId)
	want(t, "term", s.RaftTerm, s.Header.RaftTerm)
	want(t, "quota", s.DbSizeQuota, 123456789)
	want(t, "learner", s.IsLearner, false)
	want(t, "errors", len(s.Errors), 0)
	want(t, "downgrade info", s.DowngradeInfo != nil && !s.DowngradeInfo.Enabled, true)
	want(t, "revision", s.Header.Revision, 2)
	if s.RaftIndex == 0 || s.RaftAppliedIndex == 0 || s.RaftAppliedIndex > s.RaftIndex {
		t.Errorf("raft index %d, applied %d", s.RaftIndex, s.RaftAppliedIndex)
	}
	if s.DbSize <= 0 || s.DbSizeInUse <= 0 || s.DbSizeInUse > s.DbSize {
		t.Errorf("database size %d, in use %d", s.DbSize, s.DbSizeInUse)
	}
	f.put("k", "v")
	if after := f.status(); after.RaftAppliedIndex <= s.RaftAppliedIndex {
		t.Errorf("applied index did not move: %d, %d", s.RaftAppliedIndex, after.RaftAppliedIndex)
	}
}

func TestMemberList(t *testing.T) {
	f := setup(t)
	f.server.WaitSettled()
	for _, linearizable := range []bool{true, false} {
		r, err := f.Cluster.MemberList(f.ctx, &pb.MemberListRequest{Linearizable: linearizable})
		m := must(t, r, err).Members[0]
		want(t, "members", len(r.Members), 1)
		want(t, "member", line(m.Name, m.PeerURLs, m.ClientURLs, m.IsLearner),
			fmt.Sprintf("m1 [http://127.0.0.1:%d] [%s] false", f.server.PeerPort, f.server.URL()))
		want(t, "id", m.ID, r.Header.MemberId)
	}
}

func TestIdentitySurvivesRestart(t *testing.T) {
	f := setup(t)
	before := f.status()
	f.server.Kill()
	f.server.Restart()
	f.waitConnected()
	after := f.status()
	want(t, "cluster", after.Header.ClusterId, before.Header.ClusterId)
	want(t, "member", after.Header.MemberId, before.Header.MemberId)
	if after.Header.RaftTerm < before.Header.RaftTerm {
		t.Errorf("raft term went back from %d to %d", before.Header.RaftTerm, after.Header.RaftTerm)
	}
}

// TestIdsAreEtcds: ids are hashes of the configuration, so the same flags give the same ids as in etcd.
func TestIdsAreEtcds(t *testing.T) {
	f := setup(t, "--initial-cluster-token=tkn")
	subject := f.status().Header
	member, cluster := etcdIDs(fmt.Sprintf("http://127.0.0.1:%d", f.server.PeerPort), "tkn")
	want(t, "member id", subject.MemberId, member)
	want(t, "cluster id", subject.ClusterId, cluster)
}

func TestAlarms(t *testing.T) {
	f := setup(t)
	member := f.status().Header.MemberId
	alarm := func(action pb.AlarmRequest_AlarmAction, id uint64, kind pb.AlarmType) string {
		t.Helper()
		r, err := f.Maintenance.Alarm(f.ctx, &pb.AlarmRequest{Action: action, MemberID: id, Alarm: kind})
		var out []string
		for _, a := range must(t, r, err).Alarms {
			out = append(out, fmt.Sprint(a.MemberID == id || a.MemberID == member, a.Alarm))
		}
		return fmt.Sprint(out)
	}
	const get, on, off = pb.AlarmRequest_GET, pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_DEACTIVATE
	const none, noSpace = pb.AlarmType_NONE, pb.AlarmType_NOSPACE
	want(t, "none yet", alarm(get, 0, none), "[]")
	want(t, "raised", alarm(on, member, noSpace), "[true NOSPACE]")
	want(t, "raised again", alarm(on, member, noSpace), "[true NOSPACE]")
	want(t, "listed", alarm(get, 0, none), "[true NOSPACE]")
	want(t, "status", len(f.status().Errors), 1)

	_, err := f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte("k")})
	wantError(t, err, codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded")
	_, err = f.KV.Txn(f.ctx, &pb.TxnRequest{Failure: []*pb.RequestOp{putOp("k", "")}})
	wantError(t, err, codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded")
	_, err = f.Lease.LeaseGrant(f.ctx, &pb.LeaseGrantRequest{TTL: 10})
	wantError(t, err, codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded")
	if _, err := f.KV.DeleteRange(f.ctx, &pb.DeleteRangeRequest{Key: []byte("k")}); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := f.KV.Txn(f.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{op(&pb.DeleteRangeRequest{Key: []byte("k")})}}); err != nil {
		t.Errorf("txn without puts: %v", err)
	}
	f.get(&pb.RangeRequest{Key: []byte("k")})

	want(t, "another member's", alarm(off, member+1, noSpace), "[]")
	want(t, "disarmed", alarm(off, member, noSpace), "[true NOSPACE]")
	want(t, "disarmed again", alarm(off, member, noSpace), "[]")
	f.put("k", "v")
}

func TestAlarmSurvivesRestart(t *testing.T) {
	f := setup(t)
	member := f.status().Header.MemberId
	if _, err := f.Maintenance.Alarm(f.ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: member, Alarm: pb.AlarmType_NOSPACE}); err != nil {
		t.Fatal(err)
	}
	f.server.Kill()
	f.server.Restart()
	f.waitConnected()
	_, err := f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte("k")})
	wantError(t, err, codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded")
}

// TestCorruptAlarm: with it nothing more is written, but data can be read.
func TestCorruptAlarm(t *testing.T) {
	f := setup(t)
	f.put("k", "v")
	member := f.status().Header.MemberId
	if _, err := f.Maintenance.Alarm(f.ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: member, Alarm: pb.AlarmType_CORRUPT}); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"put":     second(f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte("k")})),
		"delete":  second(f.KV.DeleteRange(f.ctx, &pb.DeleteRangeRequest{Key: []byte("k")})),
		"txn":     second(f.KV.Txn(f.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{putOp("k", "")}})),
		"compact": second(f.KV.Compact(f.ctx, &pb.CompactionRequest{Revision: 2})),
		"grant":   second(f.Lease.LeaseGrant(f.ctx, &pb.LeaseGrantRequest{TTL: 10})),
	} {
		t.Log(name)
		wantError(t, err, codes.DataLoss, "etcdserver: corrupt cluster")
	}
	want(t, "range", brief(f.get(&pb.RangeRequest{Key: []byte("k")}).Kvs), "k=v@2")
}

// TestHashKV computes nothing itself: it compares with real etcd after the same requests, as the differential suite does at length.
func TestHashKV(t *testing.T) {
	f := setup(t)
	oracle := harness.StartTarget(t, harness.Etcd, harness.Options{Fast: true}).Dial()
	same := func(revision int64) string {
		t.Helper()
		var answers []string
		for _, m := range []pb.MaintenanceClient{f.Maintenance, oracle.Maintenance} {
			r, err := m.HashKV(f.ctx, &pb.HashKVRequest{Revision: revision})
			must(t, r, err)
			answers = append(answers, line(r.Hash, r.CompactRevision, r.HashRevision, r.Header.Revision))
		}
		want(t, fmt.Sprintf("HashKV(%d)", revision), answers[0], answers[1])
		return answers[0]
	}
	apply := func(do func(pb.KVClient) error) {
		t.Helper()
		for _, kv := range []pb.KVClient{f.KV, oracle.KV} {
			if err := do(kv); err != nil {
				t.Fatal(err)
			}
		}
	}
	same(0)
	for i := range 40 {
		apply(func(kv pb.KVClient) error {
			return second(kv.Txn(f.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{
				putOp(fmt.Sprint("k", i%7), strings.Repeat("v", i*100)),
				op(&pb.DeleteRangeRequest{Key: []byte(fmt.Sprint("k", (i+3)%7))})}}))
		})
	}
	same(0)
	same(20)
	for _, revision := range []int64{15, 30} {
		apply(func(kv pb.KVClient) error {
			return second(kv.Compact(f.ctx, &pb.CompactionRequest{Revision: revision, Physical: true}))
		})
		same(0)
		same(revision) // the hash stored by the compaction, with the one before it as compact revision
		same(35)
	}
	before := same(35)
	f.server.Kill()
	f.server.Restart()
	f.waitConnected()
	want(t, "after a restart", same(35), before)
}

func TestSnapshotStream(t *testing.T) {
	f := setup(t)
	for i := range 50 {
		f.put(fmt.Sprint("k", i), strings.Repeat("v", 5000))
	}
	rpc, err := f.Maintenance.Snapshot(f.ctx, &pb.SnapshotRequest{})
	must(t, rpc, err)
	var messages []*pb.SnapshotResponse
	for {
		r, err := rpc.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		messages = append(messages, must(t, r, err))
	}
	digest := messages[len(messages)-1].Blob
	want(t, "length of the last message", len(digest), sha256.Size)
	h := sha256.New()
	size, left := 0, uint64(0)
	for i, m := range messages[:len(messages)-1] {
		h.Write(m.Blob)
		size += len(m.Blob)
		if len(m.Blob) > 32768 || m.Header != nil || !strings.HasPrefix(m.Version, "3.") {
			t.Errorf("message %d: %d bytes, header %v, version %q", i, len(m.Blob), m.Header, m.Version)
		}
		if i > 0 && m.RemainingBytes >= left {
			t.Errorf("message %d: %d bytes remaining after %d", i, m.RemainingBytes, left)
		}
		left = m.RemainingBytes
	}
	want(t, "digest", slices.Equal(h.Sum(nil), digest), true)
	if size < 250_000 || size%512 != 0 {
		t.Errorf("snapshot of %d bytes", size)
	}
}

// TestDefragmentKeepsServing: requests of the same member work during and after it.
func TestDefragment(t *testing.T) {
	f := setup(t)
	for i := range 100 {
		f.put("k", fmt.Sprint(i))
	}
	f.compact(101)
	if _, err := f.Maintenance.Defragment(f.ctx, &pb.DefragmentRequest{}); err != nil {
		t.Fatal(err)
	}
	want(t, "value", brief(f.get(&pb.RangeRequest{Key: []byte("k")}).Kvs), "k=99@101")
	want(t, "next write", f.put("k", "v").Header.Revision, 102)
}

func TestGrpcHealth(t *testing.T) {
	f := setup(t)
	r, err := f.Health.Check(f.ctx, &healthpb.HealthCheckRequest{})
	want(t, "status", must(t, r, err).Status, healthpb.HealthCheckResponse_SERVING)
	w, err := f.Health.Watch(f.ctx, &healthpb.HealthCheckRequest{})
	must(t, w, err)
	first, err := w.Recv()
	want(t, "watched", must(t, first, err).Status, healthpb.HealthCheckResponse_SERVING)
}
