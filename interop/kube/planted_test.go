package kube

import (
	"bytes"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// The tests here plant the faults the walk looks for: a check that lets one of them pass proves nothing.

// history is a register after: put 1 and put 2 acknowledged, delete 3 acknowledged, put 4 acknowledged, put 5 of unknown outcome.
func history(t *testing.T) *register {
	t.Helper()
	r := &register{name: "r"}
	for sequence, version := range []int64{10, 20, 0, 40} {
		r.attempt(version == 0)
		if err := r.acknowledge(sequence+1, version); err != nil {
			t.Fatal(err)
		}
	}
	r.attempt(false)
	return r
}

func TestRegisterFindsPlantedReads(t *testing.T) {
	t.Parallel()
	for _, read := range []struct {
		name            string
		floor, sequence int
		fault           string
	}{
		{"the newest", 4, 4, ""},
		{"one of unknown outcome", 4, 5, ""},
		{"one acknowledged after the read began", 2, 4, ""},
		{"the deletion between", 2, 0, ""},
		{"the state before the first write", 0, 0, ""},
		{"a lost write", 4, 2, "a lost write or a stale read"},
		{"a lost object", 4, 0, "nothing deleted it"},
		{"a deleted object", 3, 2, "a lost write or a stale read"},
		{"a deletion as an object", 3, 3, "never sent"},
		{"a write from nowhere", 4, 6, "never sent"},
	} {
		t.Run(read.name, func(t *testing.T) { wantFault(t, history(t).admits(read.floor, read.sequence), read.fault) })
	}
}

func TestRegisterFindsRevisionsThatGoBack(t *testing.T) {
	t.Parallel()
	r := history(t)
	wantFault(t, r.acknowledge(5, 39), "an earlier one 40")
	wantFault(t, r.acknowledge(5, 41), "")
}

func TestRegisterFindsPlantedEvents(t *testing.T) {
	t.Parallel()
	put1, put2, put4 := seenOnWatch{1, false, 10}, seenOnWatch{2, false, 20}, seenOnWatch{4, false, 40}
	deletion, unknown := seenOnWatch{2, true, 30}, seenOnWatch{5, false, 50}
	for _, watch := range []struct {
		name   string
		events []seenOnWatch
		fault  string
	}{
		{"all", []seenOnWatch{put1, put2, deletion, put4}, ""},
		{"all and the one of unknown outcome", []seenOnWatch{put1, put2, deletion, put4, unknown}, ""},
		{"a missing put", []seenOnWatch{put1, deletion, put4}, "the deletion of write 2 after write 1"},
		{"a missing first put", []seenOnWatch{put2, deletion, put4}, "missed write 1"},
		{"a missing deletion", []seenOnWatch{put1, put2, put4}, "missed the deletion"},
		{"a missing end", []seenOnWatch{put1, put2, deletion}, "missed write 4"},
		{"a repeated event", []seenOnWatch{put1, put2, put2, deletion, put4}, "saw write 2 after write 2"},
		{"a repeated deletion", []seenOnWatch{put1, put2, deletion, deletion, put4}, "the deletion of write 2"},
		{"events out of order", []seenOnWatch{put2, put1, deletion, put4}, "saw write 1 after write 2"},
		{"another revision", []seenOnWatch{put1, {2, false, 21}, deletion, put4}, "acknowledged at revision 20"},
		{"a write from nowhere", []seenOnWatch{put1, put2, deletion, put4, {6, false, 60}}, "saw write 6"},
	} {
		t.Run(watch.name, func(t *testing.T) { wantFault(t, history(t).matches(watch.events), watch.fault) })
	}
}

func TestWatchCheckFindsPlantedAnswers(t *testing.T) {
	t.Parallel()
	progress := func(revision int64) *etcdserverpb.WatchResponse {
		return &etcdserverpb.WatchResponse{WatchId: progressWatchID, Header: &etcdserverpb.ResponseHeader{Revision: revision}}
	}
	events := func(revisions ...int64) *etcdserverpb.WatchResponse {
		response := &etcdserverpb.WatchResponse{}
		for _, revision := range revisions {
			response.Events = append(response.Events, &mvccpb.Event{Kv: &mvccpb.KeyValue{ModRevision: revision}})
		}
		return response
	}
	for _, stream := range []struct {
		name    string
		answers []*etcdserverpb.WatchResponse
		fault   string
	}{
		{"regular", []*etcdserverpb.WatchResponse{events(5, 5, 6), progress(6), progress(8), events(9)}, ""},
		{"an event progress had passed", []*etcdserverpb.WatchResponse{events(5), progress(8), events(8)}, "after progress to 8"},
		{"progress that goes back", []*etcdserverpb.WatchResponse{events(9), progress(8)}, "progress to revision 8"},
		{"a revision in two answers", []*etcdserverpb.WatchResponse{events(5, 6), events(6)}, "event of revision 6"},
		{"an event twice", []*etcdserverpb.WatchResponse{events(5, 6), events(5)}, "event of revision 5"},
	} {
		t.Run(stream.name, func(t *testing.T) {
			check, counts := &watchCheck{}, &methodTally{}
			create := &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: &etcdserverpb.WatchCreateRequest{}}}
			fault := check.request(counts, encode(t, create))
			for _, answer := range stream.answers {
				if fault == nil {
					fault = check.response(counts, encode(t, answer))
				}
			}
			wantFault(t, fault, stream.fault)
		})
	}
}

func TestRangeStreamCheckFindsPlantedChunks(t *testing.T) {
	t.Parallel()
	chunk := func(keys ...string) *etcdserverpb.RangeResponse {
		response := &etcdserverpb.RangeResponse{}
		for _, key := range keys {
			response.Kvs = append(response.Kvs, &mvccpb.KeyValue{Key: []byte(key)})
		}
		return response
	}
	final := func(count int64, more bool, keys ...string) *etcdserverpb.RangeResponse {
		response := chunk(keys...)
		response.Header, response.Count, response.More = &etcdserverpb.ResponseHeader{Revision: 7}, count, more
		return response
	}
	for _, stream := range []struct {
		name   string
		limit  int64
		chunks []*etcdserverpb.RangeResponse
		fault  string
	}{
		{"regular", 0, []*etcdserverpb.RangeResponse{chunk("a", "b"), final(3, false, "c")}, ""},
		{"cut by the limit", 2, []*etcdserverpb.RangeResponse{chunk("a"), final(3, true, "b")}, ""},
		{"empty", 0, []*etcdserverpb.RangeResponse{final(0, false)}, ""},
		{"no answer", 0, nil, "without a revision"},
		{"no header", 0, []*etcdserverpb.RangeResponse{chunk("a")}, "without a revision"},
		{"a header too early", 0, []*etcdserverpb.RangeResponse{final(2, false, "a"), final(2, false, "b")}, "after the one with the header"},
		{"a key twice", 0, []*etcdserverpb.RangeResponse{chunk("a", "b"), final(3, false, "b")}, `key "b" after "b"`},
		{"a lost key", 0, []*etcdserverpb.RangeResponse{chunk("a"), final(3, false, "c")}, "2 keys of 3"},
		{"a lost key and more", 0, []*etcdserverpb.RangeResponse{chunk("a"), final(3, true, "c")}, "without a limit"},
		{"beyond the limit", 1, []*etcdserverpb.RangeResponse{chunk("a"), final(2, false, "b")}, "limit 1"},
		{"more not said", 2, []*etcdserverpb.RangeResponse{chunk("a"), final(3, false, "b")}, "more=false"},
	} {
		t.Run(stream.name, func(t *testing.T) {
			check, counts := &rangeStreamCheck{}, &methodTally{}
			fault := check.request(counts, encode(t, &etcdserverpb.RangeRequest{Limit: stream.limit}))
			for _, response := range stream.chunks {
				if fault == nil {
					fault = check.response(counts, encode(t, &etcdserverpb.RangeStreamResponse{RangeResponse: response}))
				}
			}
			if fault == nil {
				fault = check.finish()
			}
			wantFault(t, fault, stream.fault)
		})
	}
}

// TestWireCountsRefusals: a call that ends Unimplemented is counted, and is a problem; so is a stream the server resets. The bytes come in
// pieces of every size.
func TestWireCountsRefusals(t *testing.T) {
	t.Parallel()
	for size := 1; size < 40; size++ {
		c := newConnection(newTally())
		requests := frames(t, func(f *http2.Framer) {
			for _, id := range []uint32{1, 3} {
				writeHeaders(t, f, id, false, ":path", "/etcdserverpb.KV/RangeStream")
				must(t, f.WriteData(id, true, append([]byte{0, 0, 0, 0, 2}, 0x0a, 0x00)))
			}
		})
		answers := frames(t, func(f *http2.Framer) {
			writeHeaders(t, f, 1, true, ":status", "200", "grpc-status", "12", "grpc-message", "no such thing")
			must(t, f.WriteRSTStream(3, http2.ErrCodeRefusedStream))
		})
		inPieces(t, c.requests, append([]byte(http2.ClientPreface), requests...), size)
		inPieces(t, c.responses, answers, size)
		counts := c.tally.method("KV/RangeStream")
		if counts.started != 2 || counts.requests != 2 || counts.finished[12] != 1 {
			t.Fatalf("pieces of %d: %+v", size, counts)
		}
		problems := strings.Join(c.tally.problems, "\n")
		if !strings.Contains(problems, "Unimplemented: no such thing") || !strings.Contains(problems, "reset by the server: REFUSED_STREAM") {
			t.Fatalf("pieces of %d: problems %q", size, problems)
		}
	}
}

func frames(t *testing.T, write func(*http2.Framer)) []byte {
	t.Helper()
	var out bytes.Buffer
	write(http2.NewFramer(&out, nil))
	return out.Bytes()
}

// writeHeaders writes a header list in two frames, as a long one is.
func writeHeaders(t *testing.T, f *http2.Framer, id uint32, last bool, namesAndValues ...string) {
	t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encoder.SetMaxDynamicTableSize(0) // every list stands for itself, though one encoder writes one list only
	for i := 0; i < len(namesAndValues); i += 2 {
		must(t, encoder.WriteField(hpack.HeaderField{Name: namesAndValues[i], Value: namesAndValues[i+1]}))
	}
	half := block.Len() / 2
	must(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes()[:half], EndStream: last}))
	must(t, f.WriteContinuation(id, true, block.Bytes()[half:]))
}

func inPieces(t *testing.T, to *halfConnection, bytes []byte, size int) {
	t.Helper()
	for len(bytes) > 0 {
		n := min(size, len(bytes))
		_, err := to.Write(bytes[:n])
		must(t, err)
		bytes = bytes[n:]
	}
}

func encode(t *testing.T, message proto.Message) []byte {
	t.Helper()
	bytes, err := proto.Marshal(message)
	must(t, err)
	return bytes
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantFault wants an error with that text in it, or none for no text.
func wantFault(t *testing.T, err error, text string) {
	t.Helper()
	switch {
	case text == "" && err != nil:
		t.Errorf("unexpected fault: %v", err)
	case text != "" && (err == nil || !strings.Contains(err.Error(), text)):
		t.Errorf("fault: %v, want one with %q", err, text)
	}
}
