// Package harness starts the server under test for the interop suites, Vetch or real etcd, and talks to it.
package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Target is the program a Server runs.
type Target string

// The two programs that serve the etcd v3 API here.
const (
	Vetch Target = "vetch"
	Etcd  Target = "etcd"
)

// UnderTest is the target the suites run against: Vetch, or real etcd when INTEROP_TARGET=etcd.
//
// Every suite must pass with INTEROP_TARGET=etcd: a test that real etcd fails states something that is not in the contract.
func UnderTest() (Target, error) {
	switch v := os.Getenv("INTEROP_TARGET"); v {
	case "", string(Vetch):
		return Vetch, nil
	case string(Etcd):
		return Etcd, nil
	default:
		return "", fmt.Errorf("INTEROP_TARGET=%q: want %q or %q", v, Vetch, Etcd)
	}
}

// Binary is the path of the program, which exists.
func (t Target) Binary() (string, error) {
	if t == Etcd {
		return Tool("etcd")
	}
	path := os.Getenv("VETCH_BIN")
	if path == "" {
		path = filepath.Join(moduleRoot(), "..", "target", "release", "vetch")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no vetch binary at %s: build it with `cargo build --release`, or name another one in VETCH_BIN (%w)", path, err)
	}
	return path, nil
}

// moduleRoot is the folder of the interop module, which holds build-tools.
func moduleRoot() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		panic("harness: no caller information")
	}
	return filepath.Dir(filepath.Dir(file))
}

// buildTools runs the build-tools script once per process; the script itself is safe between processes.
var buildTools = sync.OnceValues(func() (string, error) {
	out, err := exec.Command(filepath.Join(moduleRoot(), "build-tools")).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("build-tools: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
})

// Tool is the path of real etcd, etcdctl or etcdutl, built on first use from the modules pinned in tools/go.mod.
func Tool(name string) (string, error) {
	dir, err := buildTools()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

// MustTool is Tool for tests.
func MustTool(t testing.TB, name string) string {
	t.Helper()
	path, err := Tool(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
