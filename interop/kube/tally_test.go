package kube

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// tally counts what kube-apiserver asked and what it was answered, and notes answers that break a promise of the protocol.
type tally struct {
	mu       sync.Mutex
	methods  map[string]*methodTally
	problems []string
}

// methodTally is what happened to the calls of one RPC method. A call is started, and then at most one of finished, cancelled, broken.
type methodTally struct {
	started             int
	finished            map[codes.Code]int
	cancelled           int // by the client
	broken              int // with the connection
	requests, responses int // messages
	progressRequests    int // of a watch
	progressAnswers     int // of a watch: responses with watch_id -1
}

func newTally() *tally {
	return &tally{methods: map[string]*methodTally{}}
}

// method gives a copy of the counts of one method, named without its package: "KV/Range".
func (t *tally) method(name string) methodTally {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, seen := t.methods[name]
	if !seen {
		return methodTally{finished: map[codes.Code]int{}}
	}
	copied := *m
	copied.finished = maps.Clone(m.finished)
	return copied
}

func (t *tally) problem(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note(format, args...)
}

// note is problem for those who hold the lock.
func (t *tally) note(format string, args ...any) {
	if len(t.problems) < 20 {
		t.problems = append(t.problems, fmt.Sprintf(format, args...))
	}
}

// begin counts a call that starts.
func (t *tally) begin(path string) *call {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := strings.TrimPrefix(strings.TrimPrefix(path, "/"), "etcdserverpb.")
	m := t.methods[name]
	if m == nil {
		m = &methodTally{finished: map[codes.Code]int{}}
		t.methods[name] = m
	}
	m.started++
	c := &call{tally: t, counts: m, method: name, check: checkFor(name)}
	c.request.handle = func(message []byte) error {
		return c.message(&m.requests, message, c.check.request)
	}
	c.response.handle = func(message []byte) error {
		return c.message(&m.responses, message, c.check.response)
	}
	return c
}

// report logs the counts and fails the test for every problem noted.
func (t *tally) report(test *testing.T) {
	test.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	var table strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.methods)) {
		m := t.methods[name]
		fmt.Fprintf(&table, "\n%-28s %6d calls: finished %v, cancelled %d, broken %d; %d requests, %d responses", name, m.started, m.finished,
			m.cancelled, m.broken, m.requests, m.responses)
		if m.progressRequests > 0 {
			fmt.Fprintf(&table, "; progress %d asked, %d answered", m.progressRequests, m.progressAnswers)
		}
	}
	test.Log("calls seen on the wire:" + table.String())
	for _, problem := range t.problems {
		test.Error(problem)
	}
}

// call is one gRPC call on the wire.
type call struct {
	tally             *tally
	counts            *methodTally
	method            string
	request, response messages
	check             check
}

// check reads the messages of one call. It counts into the method's tally and returns an error for an answer that breaks a promise.
type check interface {
	request(counts *methodTally, message []byte) error
	response(counts *methodTally, message []byte) error
	// finish is called at the end of a call the server finished with OK.
	finish() error
}

func (c *call) message(count *int, message []byte, read func(*methodTally, []byte) error) error {
	c.tally.mu.Lock()
	defer c.tally.mu.Unlock()
	*count++
	if err := read(c.counts, message); err != nil {
		c.tally.note("%s: %v", c.method, err)
	}
	return nil
}

func (c *call) finish(status, message string) error {
	number, err := strconv.ParseUint(status, 10, 32)
	if err != nil {
		return fmt.Errorf("%s ended without a grpc-status: %w", c.method, err)
	}
	c.tally.mu.Lock()
	defer c.tally.mu.Unlock()
	code := codes.Code(number)
	c.counts.finished[code]++
	switch code {
	case codes.OK:
		if err := c.check.finish(); err != nil {
			c.tally.note("%s: %v", c.method, err)
		}
	case codes.Unimplemented, codes.Internal, codes.Unknown, codes.DataLoss:
		c.tally.note("%s ended with %v: %s", c.method, code, message)
	default: // an answer etcd gives too; the tests say which ones they provoke
	}
	return nil
}

// reset ends a call by RST_STREAM. From the server only NO_ERROR after its answer is regular, and then the call is finished already.
func (c *call) reset(byClient bool, code http2.ErrCode) {
	c.tally.mu.Lock()
	defer c.tally.mu.Unlock()
	if byClient {
		c.counts.cancelled++
		return
	}
	c.tally.note("%s was reset by the server: %v", c.method, code)
}

func (c *call) broken() {
	c.tally.mu.Lock()
	defer c.tally.mu.Unlock()
	c.counts.broken++
}
