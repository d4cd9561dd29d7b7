package contract

import (
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

var everything = []byte{0}

func TestRevisionsAndVersions(t *testing.T) {
	f := setup(t)
	want(t, "revision of an empty store", f.revision(), 1)
	want(t, "first write", f.put("k", "1").Header.Revision, 2)
	want(t, "equal value is a change", f.put("k", "1").Header.Revision, 3)
	kv := f.get(&pb.RangeRequest{Key: []byte("k")}).Kvs[0]
	want(t, "create, mod, version", line(kv.CreateRevision, kv.ModRevision, kv.Version), "2 3 2")

	none, err := f.KV.DeleteRange(f.ctx, &pb.DeleteRangeRequest{Key: []byte("none")})
	must(t, none, err)
	want(t, "delete of nothing", line(none.Deleted, none.Header.Revision), "0 3")
	gone, err := f.KV.DeleteRange(f.ctx, &pb.DeleteRangeRequest{Key: []byte("k"), PrevKv: true})
	must(t, gone, err)
	want(t, "delete", line(gone.Deleted, gone.Header.Revision, brief(gone.PrevKvs)), "1 4 k=1@3")
	f.put("k", "2")
	kv = f.get(&pb.RangeRequest{Key: []byte("k")}).Kvs[0]
	want(t, "after a delete", line(kv.CreateRevision, kv.ModRevision, kv.Version), "5 5 1")

	f.grant(7, 100)
	want(t, "a lease moves no revision", f.revision(), 5)
	f.compact(3)
	want(t, "a compaction moves no revision", f.revision(), 5)
}

func TestRangeOptions(t *testing.T) {
	f := setup(t)
	for i, k := range []string{"a", "b", "c", "d"} { // revisions 2..5
		f.put(k, fmt.Sprint(9-i))
	}
	f.put("b", "9") // 6, version 2
	all := func(q *pb.RangeRequest) *pb.RangeResponse {
		q.Key, q.RangeEnd = everything, everything
		return f.get(q)
	}
	for _, c := range []struct {
		name  string
		q     *pb.RangeRequest
		kvs   string
		count int64
		more  bool
	}{
		{"all", &pb.RangeRequest{}, "a=9@2 b=9@6 c=7@4 d=6@5", 4, false},
		{"limit", &pb.RangeRequest{Limit: 2}, "a=9@2 b=9@6", 4, true},
		{"limit of exactly all", &pb.RangeRequest{Limit: 4}, "a=9@2 b=9@6 c=7@4 d=6@5", 4, false},
		{"negative limit", &pb.RangeRequest{Limit: -1}, "a=9@2 b=9@6 c=7@4 d=6@5", 4, false},
		{"count only", &pb.RangeRequest{CountOnly: true}, "", 4, false},
		{"count only with a limit and filters", &pb.RangeRequest{CountOnly: true, Limit: 1, MinModRevision: 5}, "", 4, false},
		{"min mod, count ignores it", &pb.RangeRequest{MinModRevision: 5}, "b=9@6 d=6@5", 4, false},
		{"max mod inclusive", &pb.RangeRequest{MaxModRevision: 4}, "a=9@2 c=7@4", 4, false},
		{"min create", &pb.RangeRequest{MinCreateRevision: 4}, "c=7@4 d=6@5", 4, false},
		{"max create", &pb.RangeRequest{MaxCreateRevision: 3}, "a=9@2 b=9@6", 4, false},
		{"filter before limit", &pb.RangeRequest{MinModRevision: 4, Limit: 2}, "b=9@6 c=7@4", 4, true},
		{"descending", &pb.RangeRequest{SortOrder: pb.RangeRequest_DESCEND}, "d=6@5 c=7@4 b=9@6 a=9@2", 4, false},
		{"sort target without order ascends", &pb.RangeRequest{SortTarget: pb.RangeRequest_MOD}, "a=9@2 c=7@4 d=6@5 b=9@6", 4, false},
		{"sort before limit", &pb.RangeRequest{SortTarget: pb.RangeRequest_MOD, SortOrder: pb.RangeRequest_DESCEND, Limit: 1}, "b=9@6", 4, true},
		{"by create", &pb.RangeRequest{SortTarget: pb.RangeRequest_CREATE, SortOrder: pb.RangeRequest_DESCEND}, "d=6@5 c=7@4 b=9@6 a=9@2", 4, false},
		{"by value, ties by key", &pb.RangeRequest{SortTarget: pb.RangeRequest_VALUE}, "d=6@5 c=7@4 a=9@2 b=9@6", 4, false},
		{"by version, ties by key", &pb.RangeRequest{SortTarget: pb.RangeRequest_VERSION, SortOrder: pb.RangeRequest_DESCEND}, "b=9@6 a=9@2 c=7@4 d=6@5", 4, false},
		{"keys only", &pb.RangeRequest{KeysOnly: true, Limit: 2}, "a=@2 b=@6", 4, true},
		{"in the past", &pb.RangeRequest{Revision: 4}, "a=9@2 b=8@3 c=7@4", 3, false},
		{"negative revision is the latest", &pb.RangeRequest{Revision: -1, Limit: 1}, "a=9@2", 4, true},
		{"serializable", &pb.RangeRequest{Serializable: true, Limit: 1}, "a=9@2", 4, true},
	} {
		r := all(c.q)
		want(t, c.name, brief(r.Kvs), c.kvs)
		want(t, c.name+": count", r.Count, c.count)
		want(t, c.name+": more", r.More, c.more)
		want(t, c.name+": header has the current revision", r.Header.Revision, 6)
	}
}

func TestRangeEnds(t *testing.T) {
	f := setup(t)
	for _, k := range []string{"\x00", "a", "a\x00", "ab", "b", "\xff", "\xff\xff"} {
		f.put(k, "")
	}
	for _, c := range []struct{ key, end, keys string }{
		{"a", "", `["a"]`},
		{"a", "b", `["a" "a\x00" "ab"]`},
		{"a", "a\x00", `["a"]`},
		{"b", "a", `[]`},
		{"a", "a", `[]`},
		{"b", "\x00", `["b" "\xff" "\xff\xff"]`},
		{"\x00", "\x00", `["\x00" "a" "a\x00" "ab" "b" "\xff" "\xff\xff"]`},
		{"\xff", "\x00", `["\xff" "\xff\xff"]`},
	} {
		var keys []string
		for _, kv := range f.get(&pb.RangeRequest{Key: []byte(c.key), RangeEnd: []byte(c.end)}).Kvs {
			keys = append(keys, string(kv.Key))
		}
		want(t, fmt.Sprintf("[%q, %q)", c.key, c.end), fmt.Sprintf("%q", keys), c.keys)
	}
}

func TestKeysOnlyAnswersFromTheIndex(t *testing.T) {
	f := setup(t)
	f.grant(5, 1000)
	if _, err := f.KV.Put(f.ctx, &pb.PutRequest{Key: []byte("k"), Value: []byte("v"), Lease: 5}); err != nil {
		t.Fatal(err)
	}
	want(t, "lease in a full answer", f.get(&pb.RangeRequest{Key: []byte("k")}).Kvs[0].Lease, 5)
	want(t, "lease with keys_only", f.get(&pb.RangeRequest{Key: []byte("k"), KeysOnly: true}).Kvs[0].Lease, 0)
	byValue := f.get(&pb.RangeRequest{Key: []byte("k"), KeysOnly: true, SortTarget: pb.RangeRequest_VALUE}).Kvs[0]
	want(t, "lease and value with keys_only sorted by value", line(byValue.Lease, byValue.Value), "5 []")
}

func TestIgnoreValueAndLease(t *testing.T) {
	f := setup(t)
	f.grant(5, 1000)
	put := func(q *pb.PutRequest) *pb.PutResponse {
		t.Helper()
		r, err := f.KV.Put(f.ctx, q)
		return must(t, r, err)
	}
	state := func() string {
		kv := f.get(&pb.RangeRequest{Key: []byte("k")}).Kvs[0]
		return fmt.Sprintf("%s lease %d version %d", kv.Value, kv.Lease, kv.Version)
	}
	put(&pb.PutRequest{Key: []byte("k"), Value: []byte("1"), Lease: 5})
	r := put(&pb.PutRequest{Key: []byte("k"), IgnoreValue: true, IgnoreLease: true, PrevKv: true})
	want(t, "previous", brief([]*kv{r.PrevKv}), "k=1@2")
	want(t, "both ignored", state(), "1 lease 5 version 2")
	put(&pb.PutRequest{Key: []byte("k"), Value: []byte("2"), IgnoreLease: true})
	want(t, "lease ignored", state(), "2 lease 5 version 3")
	put(&pb.PutRequest{Key: []byte("k"), IgnoreValue: true})
	want(t, "value ignored, lease 0 detaches", state(), "2 lease 0 version 4")
}

func TestHeaders(t *testing.T) {
	f := setup(t)
	f.put("k", "v")
	st, err := f.Maintenance.Status(f.ctx, &pb.StatusRequest{})
	must(t, st, err)
	h := st.Header
	if h.ClusterId == 0 || h.MemberId == 0 || h.RaftTerm == 0 || h.Revision != 2 {
		t.Errorf("header of Status: %v", h)
	}
	for _, got := range []*pb.ResponseHeader{
		f.put("k", "v").Header,
		f.get(&pb.RangeRequest{Key: []byte("k")}).Header,
		f.txn(&pb.TxnRequest{}).Header,
		f.grant(0, 100).Header,
	} {
		if got.ClusterId != h.ClusterId || got.MemberId != h.MemberId || got.RaftTerm != h.RaftTerm || got.Revision != 3 {
			t.Errorf("header %v, of Status: %v", got, h)
		}
	}
	members, err := f.Cluster.MemberList(f.ctx, &pb.MemberListRequest{Linearizable: true})
	must(t, members, err)
	want(t, "revision in Cluster headers", members.Header.Revision, 0)
	want(t, "member in Cluster headers", members.Header.MemberId, h.MemberId)
	d, err := f.Maintenance.Defragment(f.ctx, &pb.DefragmentRequest{})
	must(t, d, err)
	if d.Header != nil {
		t.Errorf("Defragment has a header: %v", d.Header)
	}
}

func TestCompaction(t *testing.T) {
	f := setup(t)
	for range 8 {
		f.put("k", "v") // up to revision 9
	}
	if _, err := f.KV.DeleteRange(f.ctx, &pb.DeleteRangeRequest{Key: []byte("k")}); err != nil { // 10
		t.Fatal(err)
	}
	f.put("other", "v") // 11
	r, err := f.KV.Compact(f.ctx, &pb.CompactionRequest{Revision: 5})
	must(t, r, err)
	want(t, "revision in the answer", r.Header.Revision, 11)
	_, err = f.KV.Range(f.ctx, &pb.RangeRequest{Key: []byte("k"), Revision: 4})
	wantError(t, err, codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted")
	want(t, "compacted revision itself", brief(f.get(&pb.RangeRequest{Key: []byte("k"), Revision: 5}).Kvs), "k=v@5")
	_, err = f.KV.Compact(f.ctx, &pb.CompactionRequest{Revision: 5})
	wantError(t, err, codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted")
	_, err = f.KV.Compact(f.ctx, &pb.CompactionRequest{Revision: 12})
	wantError(t, err, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision")
	f.compact(10)
	want(t, "tombstone at the compacted revision", len(f.get(&pb.RangeRequest{Key: []byte("k"), Revision: 10}).Kvs), 0)
	want(t, "newest survives", brief(f.get(&pb.RangeRequest{Key: []byte("other")}).Kvs), "other=v@11")
	f.compact(11)
	_, err = f.KV.Range(f.ctx, &pb.RangeRequest{Key: []byte("k"), Revision: 10, CountOnly: true})
	wantError(t, err, codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted")
}

func TestRangeStream(t *testing.T) {
	f := setup(t)
	const keys = 3000
	for i := 0; i < keys; i += 100 {
		var ops []*pb.RequestOp
		for j := i; j < i+100; j++ {
			ops = append(ops, putOp(fmt.Sprintf("k%05d", j), strings.Repeat("v", 2000)))
		}
		f.txn(&pb.TxnRequest{Success: ops})
	}
	read := func(q *pb.RangeRequest) []*pb.RangeResponse {
		t.Helper()
		stream, err := f.KV.RangeStream(f.ctx, q)
		must(t, stream, err)
		return drain(t, stream)
	}
	whole := &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}
	chunks := read(whole)
	next := 0
	for i, c := range chunks {
		for _, kv := range c.Kvs {
			if want := fmt.Sprintf("k%05d", next); string(kv.Key) != want || len(kv.Value) != 2000 {
				t.Fatalf("chunk %d: key %s, want %s", i, kv.Key, want)
			}
			next++
		}
		if last := i == len(chunks)-1; last != (c.Header != nil) || last != (c.Count == keys) || c.More {
			t.Errorf("chunk %d of %d: header %v, count %d, more %v", i, len(chunks), c.Header, c.Count, c.More)
		}
	}
	want(t, "keys", next, keys)
	if len(chunks) < 3 {
		t.Errorf("6 MB in %d chunks", len(chunks))
	}
	want(t, "revision", chunks[len(chunks)-1].Header.Revision, f.revision())

	limited := read(&pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l"), Limit: 25})
	last := limited[len(limited)-1]
	want(t, "limit: more and full count", line(last.More, last.Count), line(true, keys))
	counted := read(&pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l"), CountOnly: true})
	want(t, "count only", line(len(counted), counted[0].Count, len(counted[0].Kvs)), line(1, keys, 0))
	none := read(&pb.RangeRequest{Key: []byte("x")})
	want(t, "no match: messages", len(none), 1)
	want(t, "no match: header", none[0].Header != nil, true)

	for text, q := range map[string]*pb.RangeRequest{
		"RangeStream does not support custom sort orders": {Key: []byte("k"), SortOrder: pb.RangeRequest_DESCEND},
		"RangeStream does not support revision filters":   {Key: []byte("k"), MinModRevision: 1},
	} {
		stream, err := f.KV.RangeStream(f.ctx, q)
		must(t, stream, err)
		_, err = stream.Recv()
		wantError(t, err, codes.Unimplemented, text)
	}
	stream, err := f.KV.RangeStream(f.ctx, &pb.RangeRequest{Key: []byte("k"), Revision: 999})
	must(t, stream, err)
	_, err = stream.Recv()
	wantError(t, err, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision")
}

// TestRangeStreamIsPinned writes into the range while a stream that cannot have been sent yet is being read.
func TestRangeStreamIsPinned(t *testing.T) {
	f := setup(t)
	value := strings.Repeat("v", 1<<20)
	for i := range 40 {
		f.put(fmt.Sprintf("k%02d", i), value)
	}
	stream, err := f.KV.RangeStream(f.ctx, &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")})
	must(t, stream, err)
	head, err := stream.Recv()
	must(t, head, err)
	for i := range 40 {
		f.put(fmt.Sprintf("k%02d", i), "new")
	}
	n := len(head.RangeResponse.Kvs)
	for _, c := range drain(t, stream) {
		for _, kv := range c.Kvs {
			if len(kv.Value) != len(value) {
				t.Errorf("%s has a value written after the stream began", kv.Key)
			}
			n++
		}
		if c.Header != nil {
			want(t, "revision", c.Header.Revision, 41)
		}
	}
	want(t, "keys", n, 40)
}
