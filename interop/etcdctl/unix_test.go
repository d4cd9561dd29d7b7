package etcdctl

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vetch/interop/harness"
)

// TestUnixSocket: a member that clients reach at a file only; the file goes with an orderly end, and one that a killed member left does
// not keep it from starting.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	target, err := harness.UnderTest()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "unix") // a path of at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "client.sock")
	s := harness.StartTarget(t, target, harness.Options{
		Flags:  []string{"--listen-client-urls=unix://" + path, "--advertise-client-urls=unix://" + path},
		NoWait: true,
	})
	c := &ctl{t: t, bin: harness.MustTool(t, "etcdctl"), endpoint: "unix://" + path}
	serves := func() {
		harness.Eventually(t, time.Minute, "a server at "+path, func() bool {
			_, _, err := c.try(time.Second, "", "get", "k")
			return err == nil
		})
	}
	serves()
	c.want("OK\n", "put", "k", "v")
	s.Kill()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the file of a killed server: %v", err)
	}
	s.Restart()
	serves()
	c.want("k\nv\n", "get", "k")

	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	response, err := client.Get("http://localhost/health")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("/health: %d %q %v", response.StatusCode, body, err)
	}
	client.CloseIdleConnections()

	s.Stop()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file of a server that was ended: %v", err)
	}
}
