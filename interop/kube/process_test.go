package kube

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a running child whose output goes to a log file.
type process struct {
	name   string
	cmd    *exec.Cmd
	log    string
	exited chan struct{} // closed when the child is gone; state is then set
	state  *os.ProcessState
}

// startProcess starts a child that dies at the end of the test at the latest. Its log is appended to, and shown when the test fails.
func startProcess(t *testing.T, dir, name, path string, args ...string) *process {
	t.Helper()
	log := filepath.Join(dir, name+".log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p := &process{name: name, cmd: cmd, log: log, exited: make(chan struct{})}
	go func() {
		// The exit status is in the state; a killed child is no error here.
		_ = cmd.Wait()
		p.state = cmd.ProcessState
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", name, tail(log, 60))
		}
	})
	return p
}

// kill sends SIGKILL and waits until the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// stop sends SIGTERM and waits for the exit, at most the given time.
func (p *process) stop(t *testing.T, within time.Duration) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(within):
		t.Errorf("%s did not exit within %v of SIGTERM", p.name, within)
		p.kill()
	}
}

// dead says why the process is gone, or nil while it runs.
func (p *process) dead() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s exited: %v; end of its log:\n%s", p.name, p.state, tail(p.log, 20))
	default:
		return nil
	}
}

func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// freePort returns a loopback port nobody listens on. It lies below the range the kernel takes ports of outgoing connections from, so
// that a server that is down for a moment finds its port free when it comes back.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 12000 + rand.IntN(18000)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			listener.Close()
			return port
		}
	}
	t.Fatal("no free port on the loopback interface")
	return 0
}

// eventually waits until the condition holds (returns nil), and fails the test with its last error at the deadline.
func eventually(t *testing.T, what string, within time.Duration, condition func(context.Context) error) {
	t.Helper()
	if err := poll(t.Context(), within, condition); err != nil {
		t.Fatalf("%s: not within %v: %v", what, within, err)
	}
}

// poll calls the condition every 50 ms until it returns nil; at the deadline it gives back the last error.
func poll(ctx context.Context, within time.Duration, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}
