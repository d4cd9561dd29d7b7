package kube

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// target is the server under test: one member on free loopback ports, its data in a folder of its own, so that it can be killed and
// started again.
type target struct {
	owner   *testing.T // whose end is the server's end; a subtest may restart it for those after it
	process *process
	dir     string
	address string // host:port of the client port
	peer    string // host:port of the peer port
}

func startTarget(t *testing.T, dir string) *target {
	t.Helper()
	s := &target{
		owner:   t,
		dir:     dir,
		address: fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		peer:    fmt.Sprintf("127.0.0.1:%d", freePort(t)),
	}
	s.start(t)
	return s
}

// start runs the server on its data folder and waits until it is ready.
func (s *target) start(t *testing.T) {
	t.Helper()
	s.process = startProcess(s.owner, s.dir, "server", binaries.server,
		"--name=member",
		"--data-dir="+filepath.Join(s.dir, "data"),
		"--listen-client-urls=http://"+s.address,
		"--advertise-client-urls=http://"+s.address,
		"--listen-peer-urls=http://"+s.peer,
		"--initial-advertise-peer-urls=http://"+s.peer,
		"--initial-cluster=member=http://"+s.peer,
	)
	eventually(t, "the server under test is ready", 30*time.Second, func(ctx context.Context) error {
		if err := s.process.dead(); err != nil {
			t.Fatal(err)
		}
		return getOK(ctx, http.DefaultClient, "http://"+s.address+"/readyz")
	})
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
