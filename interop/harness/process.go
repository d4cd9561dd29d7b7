package harness

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is one run of a server. Its output is kept in memory.
type process struct {
	cmd    *exec.Cmd
	stderr *tail
	exited chan struct{} // closed once the process has been waited for
	err    error         // of Wait; valid after exited is closed
}

func startProcess(binary string, args, env []string) (*process, error) {
	p := &process{cmd: exec.Command(binary, args...), stderr: &tail{}, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.stderr, p.stderr
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = childAttributes()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// stop sends sig and waits for the end of the process.
func (p *process) stop(sig syscall.Signal, patience time.Duration) (*os.ProcessState, error) {
	select {
	case <-p.exited:
		return nil, fmt.Errorf("the server had already ended: %v", p.err)
	default:
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return nil, err
	}
	select {
	case <-p.exited:
		return p.cmd.ProcessState, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("the server did not end within %v of %v", patience, sig)
	}
}

// tail keeps the last bytes written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

const tailBytes = 1 << 20

func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	if over := len(b.data) - tailBytes; over > 0 {
		b.data = append([]byte(nil), b.data[over:]...)
	}
	return len(p), nil
}

func (b *tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.data)
}
