package etcdctl

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"vetch/interop/harness"
)

// commandDeadline is for one command of the walk; only check perf takes longer.
const commandDeadline = 60 * time.Second

// ctl runs real etcdctl against one server.
type ctl struct {
	t        *testing.T
	bin      string
	endpoint string
}

func newCtl(t *testing.T, s *harness.Server) *ctl {
	return &ctl{t: t, bin: harness.MustTool(t, "etcdctl"), endpoint: s.Endpoint()}
}

// try runs one command and returns what it wrote and whether it succeeded.
func (c *ctl) try(deadline time.Duration, stdin string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.bin, append([]string{"--endpoints=" + c.endpoint}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// run is for commands that must succeed.
func (c *ctl) run(args ...string) string {
	c.t.Helper()
	return c.runWith("", args...)
}

func (c *ctl) runWith(stdin string, args ...string) string {
	c.t.Helper()
	stdout, stderr, err := c.try(commandDeadline, stdin, args...)
	if err != nil {
		c.t.Fatalf("etcdctl %q: %v\nstdout: %s\nstderr: %s", args, err, stdout, stderr)
	}
	return stdout
}

// want runs a command that must write exactly stdout.
func (c *ctl) want(stdout string, args ...string) {
	c.t.Helper()
	if got := c.run(args...); got != stdout {
		c.t.Errorf("etcdctl %q:\n got %q\nwant %q", args, got, stdout)
	}
}

// fails runs a command that must fail and say text.
func (c *ctl) fails(text string, args ...string) {
	c.t.Helper()
	stdout, stderr, err := c.try(commandDeadline, "", args...)
	if err == nil || !strings.Contains(stderr, "Error: "+text) {
		c.t.Errorf("etcdctl %q: err %v\nstdout: %s\nstderr: %s\nwant error %q", args, err, stdout, stderr, text)
	}
}

// matches runs a command whose output must match the whole pattern, and returns its groups.
func (c *ctl) matches(pattern string, args ...string) []string {
	c.t.Helper()
	got := c.run(args...)
	m := regexp.MustCompile(`^(?s:` + pattern + `)$`).FindStringSubmatch(got)
	if m == nil {
		c.t.Fatalf("etcdctl %q:\n got %q\nwant a match of %q", args, got, pattern)
	}
	return m[1:]
}

// json runs a command with -w json and decodes its output, numbers as json.Number.
func (c *ctl) json(into any, args ...string) {
	c.t.Helper()
	out := c.run(append(args, "-w", "json")...)
	d := json.NewDecoder(strings.NewReader(out))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		c.t.Fatalf("etcdctl %q: %v in %s", args, err, out)
	}
}

// background is a command that goes on until it is stopped, read line by line.
type background struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
}

func (c *ctl) start(args ...string) *background {
	c.t.Helper()
	cmd := exec.Command(c.bin, append([]string{"--endpoints=" + c.endpoint}, args...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	b := &background{t: c.t, cmd: cmd, stdin: stdin, lines: make(chan string, 1000)}
	go func() {
		defer close(b.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			b.lines <- s.Text()
		}
	}()
	c.t.Cleanup(b.stop)
	return b
}

// expect reads the next lines, which must be these.
func (b *background) expect(lines ...string) {
	b.t.Helper()
	for _, want := range lines {
		select {
		case got, ok := <-b.lines:
			if !ok || got != want {
				b.t.Fatalf("%q: got line %q (open: %v), want %q", b.cmd.Args, got, ok, want)
			}
		case <-time.After(commandDeadline):
			b.t.Fatalf("%q: no line within %v, want %q", b.cmd.Args, commandDeadline, want)
		}
	}
}

func (b *background) stop() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
}
