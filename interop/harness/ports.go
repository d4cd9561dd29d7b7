package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are taken below the kernel's ephemeral range: a server that is restarted must find its port free, and an
// outgoing connection of another test could otherwise have taken it meanwhile.
const (
	firstPort = 12000
	lastPort  = 31000
)

var ports = struct {
	sync.Mutex
	taken map[int]bool
}{taken: map[int]bool{}}

// freePort is a loopback port nobody listens on and no other server of this process was given. Another process may still
// take it before the server binds it; Start then tries again with new ports.
func freePort() (int, error) {
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if ports.taken[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		ports.taken[port] = true
		return port, nil
	}
	return 0, fmt.Errorf("no free loopback port between %d and %d", firstPort, lastPort)
}
