package kube

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// target is a member of the server under test on free loopback ports, its data in a folder of its own, so that it can be killed and started
// again.
type target struct {
	owner   *testing.T // whose end is the server's end; a subtest may restart it for those after it
	process *process
	dir     string
	name    string
	address string // host:port of the client port
	peer    string // host:port of the peer port
	initial string // the members the cluster begins with
}

// startTargets starts a cluster of that many members and waits until all are ready.
func startTargets(t *testing.T, dir string, size int) []*target {
	t.Helper()
	var members []*target
	var initial []string
	for number := range size {
		m := &target{
			owner:   t,
			dir:     dir,
			name:    fmt.Sprintf("member%d", number+1),
			address: fmt.Sprintf("127.0.0.1:%d", freePort(t)),
			peer:    fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		}
		members = append(members, m)
		initial = append(initial, m.name+"=http://"+m.peer)
	}
	for _, m := range members {
		m.initial = strings.Join(initial, ",")
		m.launch()
	}
	for _, m := range members {
		m.awaitReady(t)
	}
	return members
}

// start runs the server on its data folder and waits until it is ready.
func (s *target) start(t *testing.T) {
	t.Helper()
	s.launch()
	s.awaitReady(t)
}

func (s *target) launch() {
	s.process = startProcess(s.owner, s.dir, s.name, binaries.server,
		"--name="+s.name,
		"--data-dir="+filepath.Join(s.dir, s.name),
		"--listen-client-urls=http://"+s.address,
		"--advertise-client-urls=http://"+s.address,
		"--listen-peer-urls=http://"+s.peer,
		"--initial-advertise-peer-urls=http://"+s.peer,
		"--initial-cluster="+s.initial,
	)
}

func (s *target) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, s.name+" is ready", 30*time.Second, func(ctx context.Context) error {
		if err := s.process.dead(); err != nil {
			t.Fatal(err)
		}
		return getOK(ctx, http.DefaultClient, "http://"+s.address+"/readyz")
	})
}

// leader waits until the members agree on one.
func (c *cluster) leader(t *testing.T) (leader *target) {
	t.Helper()
	clients := make([]*clientv3.Client, len(c.members))
	for i, m := range c.members {
		clients[i] = m.client(t)
	}
	eventually(t, "the members agree on a leader", 30*time.Second, func(ctx context.Context) error {
		believed := map[uint64]bool{}
		leader = nil
		for i, m := range c.members {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			s, err := clients[i].Status(ctx, m.address)
			cancel()
			if err != nil {
				return err
			}
			believed[s.Leader] = true
			if s.Leader == s.Header.MemberId {
				leader = m
			}
		}
		if len(believed) != 1 || leader == nil {
			return fmt.Errorf("they believe in %v", believed)
		}
		return nil
	})
	return leader
}

// client is a client of the server itself, around the apiserver.
func (s *target) client(t *testing.T) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + s.address}, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func getOK(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}
