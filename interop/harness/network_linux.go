package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Network is a private IP network for one cluster: every member lives in a network namespace of its own, and all are joined by a router
// namespace, in which the clients of the test live. So the path between two members can be cut, in either direction, while clients reach
// all of them. A cut loses packets silently, as a broken network does; connections stay open. Namespaces end with the test process.
type Network struct {
	t       testing.TB
	router  *namespace
	members int
	cuts    [][2]*Server
}

// namespace is one network namespace. A nil one is where the test runs.
type namespace struct {
	network *Network
	address string
	file    *os.File // keeps it alive
}

// NewNetwork skips the test, and says so, where namespaces cannot be made.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	n := &Network{t: t}
	if err := n.makeRouter(); err != nil {
		message := fmt.Sprintf("SKIPPED %s: network namespaces need root and iproute2: %v", t.Name(), err)
		fmt.Fprintln(os.Stderr, message)
		t.Skip(message)
	}
	return n
}

func (n *Network) makeRouter() (err error) {
	if n.router, err = n.makeNamespace(); err != nil {
		return err
	}
	return n.router.do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
}

func (n *Network) makeNamespace() (*namespace, error) {
	made := &namespace{network: n}
	err := onOwnThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		made.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, err
	}
	n.t.Cleanup(func() { made.file.Close() })
	return made, made.ip("link set lo up")
}

// member makes the namespace of one more member, with a cable to the router.
func (n *Network) member() (*namespace, error) {
	m, err := n.makeNamespace()
	if err != nil {
		return nil, err
	}
	n.members++
	gateway := fmt.Sprintf("10.77.%d.1", n.members)
	m.address = fmt.Sprintf("10.77.%d.2", n.members)
	port := fmt.Sprintf("m%d", n.members)
	return m, errors.Join(
		n.router.ip(fmt.Sprintf("link add %s type veth peer name eth0 netns /proc/%d/fd/%d", port, os.Getpid(), m.file.Fd())),
		n.router.ip(fmt.Sprintf("address add %s/30 dev %s", gateway, port)),
		n.router.ip("link set "+port+" up"),
		m.ip(fmt.Sprintf("address add %s/30 dev eth0", m.address)),
		m.ip("link set eth0 up"),
		m.ip("route add default via "+gateway),
	)
}

// Cut loses every packet between two members.
func (n *Network) Cut(a, b *Server) {
	n.t.Helper()
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay loses every packet from one member to another.
func (n *Network) CutOneWay(from, to *Server) {
	n.t.Helper()
	pair := [2]*Server{from, to}
	n.rule("add", pair)
	n.cuts = append(n.cuts, pair)
}

// HealAll undoes all cuts.
func (n *Network) HealAll() {
	n.t.Helper()
	for _, pair := range n.cuts {
		n.rule("delete", pair)
	}
	n.cuts = nil
}

func (n *Network) rule(verb string, pair [2]*Server) {
	n.t.Helper()
	if err := n.router.ip(fmt.Sprintf("rule %s from %s to %s blackhole", verb, pair[0].host(), pair[1].host())); err != nil {
		n.t.Fatal(err)
	}
}

// Dial connects from where the clients live.
func (n *Network) Dial(ctx context.Context, address string) (conn net.Conn, err error) {
	err = n.router.do(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
		return err
	})
	return conn, err
}

// ip runs iproute2 in the namespace.
func (s *namespace) ip(arguments string) error {
	return s.do(func() error {
		out, err := exec.Command("ip", strings.Fields(arguments)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", arguments, err, bytes.TrimSpace(out))
		}
		return nil
	})
}

// do runs f on a thread that is in the namespace: sockets it opens and processes it starts are there, and stay.
func (s *namespace) do(f func() error) error {
	if s == nil {
		return f()
	}
	return onOwnThread(func() error {
		if err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		return f()
	})
}

// onOwnThread runs f on a thread no other goroutine uses meanwhile, and puts that thread back into the namespace it was in.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return // the thread ends with the goroutine that has not unlocked it
		}
		defer home.Close()
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			done <- errors.Join(err, back)
			return
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}
