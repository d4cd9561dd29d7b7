package harness

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func TestMissingBinaryIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vetch")
	t.Setenv("VETCH_BIN", path)
	_, err := Vetch.Binary()
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "cargo build --release") {
		t.Errorf("got %v", err)
	}
}

func TestTargetOfTheEnvironment(t *testing.T) {
	for value, want := range map[string]Target{"": Vetch, "vetch": Vetch, "etcd": Etcd, "other": ""} {
		t.Setenv("INTEROP_TARGET", value)
		got, err := UnderTest()
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	}
}

// TestServerLife is about the harness, so it uses real etcd.
func TestServerLife(t *testing.T) {
	s := StartTarget(t, Etcd, Options{})
	ctx := Context(t)
	if _, err := s.Dial().KV.Put(ctx, &pb.PutRequest{Key: []byte("k"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	for _, end := range []func(){s.Kill, func() { s.Stop() }} {
		pid := s.Pid()
		end()
		if s.Alive() || syscall.Kill(pid, 0) == nil {
			t.Fatal("still alive")
		}
		s.Restart()
		r, err := s.Dial().KV.Range(ctx, &pb.RangeRequest{Key: []byte("k")})
		if err != nil || len(r.Kvs) != 1 {
			t.Fatalf("after a restart: %v, %v", r, err)
		}
	}
	if !strings.Contains(s.Log(), "ready to serve client requests") {
		t.Errorf("output not captured: %s", s.Log())
	}
}

func TestFailureToStartIsReportedAtOnce(t *testing.T) {
	s := newServer(t, Etcd, "m1", Options{Flags: []string{"--no-such-flag"}})
	s.DataDir = t.TempDir()
	if err := s.pickPorts(); err != nil {
		t.Fatal(err)
	}
	err := s.run()
	if err == nil || !strings.Contains(err.Error(), "the server ended at start") {
		t.Errorf("got %v", err)
	}
}

func TestTakenPortIsRecognised(t *testing.T) {
	s := newServer(t, Etcd, "m1", Options{})
	s.DataDir = t.TempDir()
	if err := s.pickPorts(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := s.run(); err != errPortTaken {
		t.Errorf("got %v", err)
	}
}
