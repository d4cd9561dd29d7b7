package kube

import (
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// progressWatchID is the watch id of an answer to a progress request: it speaks for all watches of the stream.
const progressWatchID = -1

func checkFor(method string) check {
	switch method {
	case "KV/RangeStream":
		return &rangeStreamCheck{}
	case "Watch/Watch":
		return &watchCheck{}
	default:
		return uncheckedCall{}
	}
}

// uncheckedCall is a method whose answers the apiserver itself judges.
type uncheckedCall struct{}

func (uncheckedCall) request(*methodTally, []byte) error  { return nil }
func (uncheckedCall) response(*methodTally, []byte) error { return nil }
func (uncheckedCall) finish() error                       { return nil }

// rangeStreamCheck holds the chunks of a RangeStream to what the apiserver's list builds on: only the last one carries the header, the
// count is that of the whole range, and a limit that cut the range is shown by more.
type rangeStreamCheck struct {
	ask     etcdserverpb.RangeRequest
	chunks  int
	kvs     int64
	last    *etcdserverpb.RangeResponse
	lastKey string
}

func (r *rangeStreamCheck) request(_ *methodTally, message []byte) error {
	return proto.Unmarshal(message, &r.ask)
}

func (r *rangeStreamCheck) response(_ *methodTally, message []byte) error {
	if r.last != nil && r.last.Header != nil {
		return errors.New("a chunk after the one with the header")
	}
	response := &etcdserverpb.RangeStreamResponse{}
	if err := proto.Unmarshal(message, response); err != nil {
		return err
	}
	r.chunks++
	r.last = response.GetRangeResponse()
	for _, kv := range r.last.GetKvs() {
		if r.kvs++; r.kvs > 1 && string(kv.Key) <= r.lastKey {
			return fmt.Errorf("key %q after %q", kv.Key, r.lastKey)
		}
		r.lastKey = string(kv.Key)
	}
	return nil
}

func (r *rangeStreamCheck) finish() error {
	switch {
	case r.last.GetHeader().GetRevision() == 0:
		return errors.New("ended without a revision")
	case r.ask.Limit > 0 && r.kvs > r.ask.Limit:
		return fmt.Errorf("%d keys, limit %d", r.kvs, r.ask.Limit)
	case r.last.More != (r.kvs < r.last.Count):
		return fmt.Errorf("%d keys of %d, more=%v", r.kvs, r.last.Count, r.last.More)
	case r.ask.Limit == 0 && r.kvs != r.last.Count:
		return fmt.Errorf("%d keys without a limit, count=%d", r.kvs, r.last.Count)
	}
	return nil
}

// watchCheck holds a watch stream to the promise consistent reads from the watch cache rest on: after an answer to a progress request no
// event at or below its revision follows. Events ascend, and no revision is split over two answers.
//
// The apiserver opens one watch per stream; a second one, which may start in the past, would end the reasoning.
type watchCheck struct {
	watches  int
	progress int64 // revision of the last progress answer
	event    int64 // revision of the last event
}

func (w *watchCheck) request(counts *methodTally, message []byte) error {
	request := &etcdserverpb.WatchRequest{}
	if err := proto.Unmarshal(message, request); err != nil {
		return err
	}
	if request.GetProgressRequest() != nil {
		counts.progressRequests++
	}
	if request.GetCreateRequest() != nil {
		w.watches++
	}
	return nil
}

func (w *watchCheck) response(counts *methodTally, message []byte) error {
	response := &etcdserverpb.WatchResponse{}
	if err := proto.Unmarshal(message, response); err != nil {
		return err
	}
	if response.WatchId == progressWatchID && !response.Canceled {
		counts.progressAnswers++
		w.progress = response.GetHeader().GetRevision()
		if w.progress < w.event {
			return fmt.Errorf("progress to revision %d after an event of %d", w.progress, w.event)
		}
		return nil
	}
	if w.watches != 1 {
		return nil
	}
	floor := max(w.progress, w.event)
	for _, event := range response.Events {
		revision := event.GetKv().GetModRevision()
		if revision <= floor {
			return fmt.Errorf("event of revision %d after progress to %d and an event of %d", revision, w.progress, floor)
		}
		w.event = max(w.event, revision)
	}
	return nil
}

func (w *watchCheck) finish() error { return nil }
