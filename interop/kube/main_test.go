package kube

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs are the binaries a cluster is made of.
type programs struct {
	// server is the server under test; it takes etcd's flags.
	server string
	// apiserver is kube-apiserver at the version pinned in go.mod.
	apiserver string
}

// binaries is set once, before any test runs.
var binaries programs

func TestMain(m *testing.M) {
	var err error
	if binaries, err = findPrograms(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func findPrograms() (programs, error) {
	server, err := findServer()
	if err != nil {
		return programs{}, err
	}
	apiserver, err := runBuilder("./build-apiserver")
	return programs{server: server, apiserver: apiserver}, err
}

// findServer picks the server under test by INTEROP_TARGET: "vetch" (the default) or "etcd", the oracle this suite is itself proved against.
func findServer() (string, error) {
	switch target := os.Getenv("INTEROP_TARGET"); target {
	case "", "vetch":
		path := os.Getenv("VETCH_BIN")
		if path == "" {
			path = filepath.Join("..", "..", "target", "release", "vetch")
		}
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("no server to test: %w (build it with `cargo build --release`, or name it in VETCH_BIN)", err)
		}
		return filepath.Abs(path)
	case "etcd":
		if path := os.Getenv("ETCD_BIN"); path != "" {
			return path, nil
		}
		folder, err := runBuilder("../build-tools")
		return filepath.Join(folder, "etcd"), err
	default:
		return "", fmt.Errorf("INTEROP_TARGET=%q: want vetch or etcd", target)
	}
}

// runBuilder runs one of the build scripts, which print the path of what they built.
func runBuilder(script string) (string, error) {
	cmd := exec.Command(script)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", script, err)
	}
	return strings.TrimSpace(string(out)), nil
}
