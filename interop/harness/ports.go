package harness

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// Ports are taken below the kernel's ephemeral range: a server that is restarted must find its port free, and an
// outgoing connection of another test could otherwise have taken it meanwhile.
const (
	firstPort = 12000
	lastPort  = 31000
)

// freePort is a loopback port nobody listens on, reserved among all test processes of this machine until this process ends. A stranger
// may still take it before the server binds it; StartTarget then tries again with new ports.
func freePort() (int, error) {
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		reserved, err := reservations.reserve(port)
		if err != nil {
			return 0, err
		}
		if !reserved {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free loopback port between %d and %d", firstPort, lastPort)
}

// portTable is a file of which each byte stands for a port. A record lock on the byte reserves the port against other processes and
// ends with this one; such locks do not exclude their own process, so that has a set.
type portTable struct {
	mu   sync.Mutex
	file *os.File
	mine map[int]bool
}

var reservations = portTable{mine: map[int]bool{}}

func (p *portTable) reserve(port int) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mine[port] {
		return false, nil
	}
	if p.file == nil {
		name := filepath.Join(os.TempDir(), fmt.Sprintf("vetch-interop-ports.%d", os.Getuid()))
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return false, err
		}
		p.file = f
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: int64(port), Len: 1}
	if err := syscall.FcntlFlock(p.file.Fd(), syscall.F_SETLK, &lock); err != nil {
		return false, nil // another process has it
	}
	p.mine[port] = true
	return true, nil
}

// FreePort is for an extra listener of a test.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
