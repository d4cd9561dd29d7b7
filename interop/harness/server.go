package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Deadlines for what should take well under a second; a loaded machine may be slow.
const (
	readyDeadline = 60 * time.Second
	stopDeadline  = 30 * time.Second
)

var errPortTaken = errors.New("address already in use")

// Options of a Server. The zero value is a single member with default settings.
type Options struct {
	// DataDir is used when set, and left in place; otherwise a folder of the test that is removed with it.
	DataDir string
	// Flags are added to the ones every server is started with, in etcd's form (`--flag=value`).
	Flags []string
	// Fast gives up durability for speed where the target can (real etcd only). For an oracle that is never killed.
	Fast bool
	// NoWait returns once the process runs; WaitReady waits later. For servers that are not expected to serve at once.
	NoWait bool
}

// Server is one member with its own data folder and fixed ports, on loopback unless it has a namespace. It ends with the test.
type Server struct {
	Target     Target
	DataDir    string
	ClientPort int
	PeerPort   int

	t    testing.TB
	opts Options
	// name, and the cluster it starts in: the value of --initial-cluster, or "" for itself alone, and of --initial-cluster-state.
	name, initialCluster, initialState string
	namespace                          *namespace
	proc                               *process
	earlier                            []*process // runs that have ended
}

// Start runs the target under test with its default settings plus flags, and returns once it serves.
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	target, err := UnderTest()
	if err != nil {
		t.Fatal(err)
	}
	return StartTarget(t, target, Options{Flags: flags})
}

// StartTarget runs one member of target and returns once it serves linearizable reads.
func StartTarget(t testing.TB, target Target, opts Options) *Server {
	t.Helper()
	dir := opts.DataDir
	if dir == "" {
		dir = filepath.Join(t.TempDir(), "data")
	}
	s := newServer(t, target, "m1", opts)
	s.DataDir = dir
	for attempt := 1; ; attempt++ {
		err := s.pickPorts()
		if err == nil {
			err = s.run()
		}
		if err == nil {
			return s
		}
		if !errors.Is(err, errPortTaken) || attempt == 5 {
			t.Fatalf("start %s: %v", target, err)
		}
	}
}

// newServer is one that does not run yet and has no data folder and ports.
func newServer(t testing.TB, target Target, name string, opts Options) *Server {
	s := &Server{Target: target, t: t, name: name, initialState: "new", opts: opts}
	t.Cleanup(s.cleanup)
	return s
}

func (s *Server) pickPorts() (err error) {
	if s.ClientPort, err = freePort(); err != nil {
		return err
	}
	s.PeerPort, err = freePort()
	return err
}

// Endpoint is host:port of the client listener.
func (s *Server) Endpoint() string { return fmt.Sprintf("%s:%d", s.host(), s.ClientPort) }

func (s *Server) host() string {
	if s.namespace != nil {
		return s.namespace.address
	}
	return "127.0.0.1"
}

// URL is the client listener as a URL without a trailing slash.
func (s *Server) URL() string { return "http://" + s.Endpoint() }

// PeerURL is the listener for other members.
func (s *Server) PeerURL() string { return fmt.Sprintf("http://%s:%d", s.host(), s.PeerPort) }

// Name of the member.
func (s *Server) Name() string { return s.name }

func (s *Server) flags() []string {
	peer, cluster := s.PeerURL(), s.initialCluster
	if cluster == "" {
		cluster = s.Name() + "=" + peer
	}
	flags := []string{
		"--name=" + s.Name(),
		"--data-dir=" + s.DataDir,
		"--listen-client-urls=" + s.URL(),
		"--advertise-client-urls=" + s.URL(),
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=" + cluster,
		"--initial-cluster-state=" + s.initialState,
		"--log-level=info",
	}
	if s.opts.Fast && s.Target == Etcd {
		flags = append(flags, "--unsafe-no-fsync")
	}
	return append(flags, s.opts.Flags...)
}

// run starts the process and waits until it serves.
func (s *Server) run() error {
	if err := s.launch(); err != nil || s.opts.NoWait {
		return err
	}
	return s.serves()
}

// launch starts the process.
func (s *Server) launch() error {
	binary, err := s.Target.Binary()
	if err != nil {
		return err
	}
	if s.proc != nil {
		s.earlier = append(s.earlier, s.proc)
	}
	return s.namespace.do(func() error {
		s.proc, err = startProcess(binary, s.flags(), nil)
		return err
	})
}

// serves waits until a launched process serves; if it does not, it is ended.
func (s *Server) serves() error {
	err := s.waitReady()
	if err == nil {
		return nil
	}
	_, _ = s.proc.stop(syscall.SIGKILL, stopDeadline)
	if strings.Contains(strings.ToLower(s.proc.stderr.String()), errPortTaken.Error()) {
		return errPortTaken
	}
	return fmt.Errorf("%w\n%s", err, s.logTail())
}

// WaitReady waits until a server that was started with NoWait serves.
func (s *Server) WaitReady() {
	s.t.Helper()
	if err := s.waitReady(); err != nil {
		s.t.Fatalf("%s: %v\n%s", s.Target, err, s.logTail())
	}
}

// waitReady polls with a linearizable read, the one thing every client needs, until it is answered.
func (s *Server) waitReady() error {
	conn, err := s.connection()
	if err != nil {
		return err
	}
	defer conn.Close()
	kv := pb.NewKVClient(conn)
	deadline := time.Now().Add(readyDeadline)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("readiness")})
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready within %v: %w", readyDeadline, err)
		}
		conn.ResetConnectBackoff()
		select {
		case <-s.proc.exited:
			return fmt.Errorf("the server ended at start: %v", s.proc.err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// WaitSettled returns once the member has published its name and etcd has written the storage version, which it does just after it
// has begun to serve. For tests that look at MemberList or Status.
func (s *Server) WaitSettled() {
	s.t.Helper()
	raw := s.Dial()
	Eventually(s.t, readyDeadline, "the member is published and its storage version is 3.7.0", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		members, err := raw.Cluster.MemberList(ctx, &pb.MemberListRequest{})
		if err != nil || slices.ContainsFunc(members.Members, func(m *pb.Member) bool { return m.Name == "" }) {
			return false
		}
		status, err := raw.Maintenance.Status(ctx, &pb.StatusRequest{})
		return err == nil && status.StorageVersion == "3.7.0"
	})
}

// Stop ends the server with SIGTERM and fails the test when it does not end.
func (s *Server) Stop() *os.ProcessState { return s.end(syscall.SIGTERM) }

// Kill ends the server with SIGKILL.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) *os.ProcessState {
	s.t.Helper()
	state, err := s.proc.stop(sig, stopDeadline)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", s.Target, err, s.logTail())
	}
	return state
}

// Pause stops the process where it is (SIGSTOP); its sockets stay open, and the kernel goes on to accept for it.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.proc.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("%s %s: %v: %v", s.Target, s.name, sig, err)
	}
}

// WaitExit waits for a process that ends by itself.
func (s *Server) WaitExit(patience time.Duration) *os.ProcessState {
	s.t.Helper()
	select {
	case <-s.proc.exited:
		return s.proc.cmd.ProcessState
	case <-time.After(patience):
		s.t.Fatalf("%s %s has not ended within %v\n%s", s.Target, s.name, patience, s.logTail())
		return nil
	}
}

// Restart starts an ended server again on the same data folder and ports and returns once it serves. flags, when given, replace
// the extra flags of the first start.
func (s *Server) Restart(flags ...string) {
	s.t.Helper()
	if flags != nil {
		s.opts.Flags = flags
	}
	if err := s.run(); err != nil {
		s.t.Fatalf("restart %s: %v", s.Target, err)
	}
}

// Launch starts an ended server again and does not wait for anything.
func (s *Server) Launch() {
	s.t.Helper()
	if err := s.launch(); err != nil {
		s.t.Fatal(err)
	}
}

// Alive reports whether the process still runs.
func (s *Server) Alive() bool {
	select {
	case <-s.proc.exited:
		return false
	default:
		return true
	}
}

// Pid of the running process.
func (s *Server) Pid() int { return s.proc.cmd.Process.Pid }

// Log is what the current run has written to stdout and stderr (the last MiB of it).
func (s *Server) Log() string { return s.proc.stderr.String() }

func (s *Server) logTail() string {
	lines := strings.Split(strings.TrimSpace(s.Log()), "\n")
	return "last log lines:\n" + strings.Join(lines[max(0, len(lines)-12):], "\n")
}

func (s *Server) cleanup() {
	if s.proc == nil {
		return
	}
	if s.t.Failed() {
		state := "runs"
		if !s.Alive() {
			state = fmt.Sprintf("has ended: %v", s.proc.err)
		}
		s.t.Logf("%s %s %s; its whole log: %s; %s", s.Target, s.name, state, s.keepLog(), s.logTail())
	}
	if !s.Alive() {
		return
	}
	if _, err := s.proc.stop(syscall.SIGKILL, stopDeadline); err != nil {
		s.t.Logf("cleanup: %v", err)
	}
}

// keepLog writes what all runs have put out to a file that outlives the test.
func (s *Server) keepLog() string {
	f, err := os.CreateTemp("", fmt.Sprintf("vetch-interop-%s-%s-*.log", s.Target, s.name))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	for i, run := range append(slices.Clone(s.earlier), s.proc) {
		if _, err := fmt.Fprintf(f, "--- run %d\n%s", i+1, run.stderr); err != nil {
			return err.Error()
		}
	}
	return f.Name()
}
