package kube

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// eventTTL is how long the apiserver keeps events: each event's key is attached to a lease of at least that many seconds.
const eventTTL = 25 * time.Second

// cluster is a kube-apiserver whose storage is the server under test: one member, or several.
type cluster struct {
	members []*target
	wires   []*wire // one before each member
	tally   *tally  // of all wires
	api     *process

	url     string
	http    *http.Client // authenticated as an administrator
	clients kubernetes.Interface
	crds    apiextensions.Interface
	dynamic dynamic.Interface
}

// startCluster starts an apiserver on that many members and waits until it is ready.
func startCluster(t *testing.T, members int, apiserverFlags ...string) *cluster {
	t.Helper()
	dir := t.TempDir()
	c := &cluster{members: startTargets(t, dir, members), tally: newTally()}
	for _, member := range c.members {
		c.wires = append(c.wires, startWire(t, member.address, c.tally))
	}
	secrets := newCredentials(t, dir)
	c.startAPIServer(t, dir, secrets, apiserverFlags)
	c.connect(t, secrets)
	start := time.Now()
	eventually(t, "kube-apiserver is ready", 90*time.Second, func(ctx context.Context) error {
		if err := c.api.dead(); err != nil {
			t.Fatal(err)
		}
		return c.ready(ctx)
	})
	t.Logf("kube-apiserver ready after %.1f s", time.Since(start).Seconds())
	return c
}

func (c *cluster) startAPIServer(t *testing.T, dir string, secrets credentials, more []string) {
	t.Helper()
	port := freePort(t)
	var storage []string
	for _, w := range c.wires {
		storage = append(storage, "http://"+w.address())
	}
	c.url = fmt.Sprintf("https://127.0.0.1:%d", port)
	c.api = startProcess(t, dir, "kube-apiserver", binaries.apiserver, append([]string{
		"--etcd-servers=" + strings.Join(storage, ","),
		// Short, so that a run of this suite sees what a cluster sees in hours: compactions, key counts, expired events.
		"--etcd-compaction-interval=15s",
		"--etcd-count-metric-poll-period=5s",
		"--event-ttl=" + eventTTL.String(),
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		// The address in the kubernetes service's endpoints, which must not be a loopback one; nobody connects to it.
		"--advertise-address=192.0.2.1",
		"--service-cluster-ip-range=198.51.100.0/24",
		"--tls-cert-file=" + secrets.certFile,
		"--tls-private-key-file=" + secrets.keyFile,
		"--authorization-mode=RBAC",
		"--token-auth-file=" + secrets.tokensFile,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + secrets.serviceAccountsFile,
		"--service-account-signing-key-file=" + secrets.serviceAccountsFile,
	}, more...)...)
}

func (c *cluster) connect(t *testing.T, secrets credentials) {
	t.Helper()
	config := &rest.Config{
		Host:            c.url,
		BearerToken:     secrets.adminToken,
		TLSClientConfig: rest.TLSClientConfig{CAFile: secrets.certFile},
		QPS:             -1, // the suite is the only client; no limit on the client's side
	}
	var errs [4]error
	c.http, errs[0] = rest.HTTPClientFor(config)
	c.clients, errs[1] = kubernetes.NewForConfig(config)
	c.crds, errs[2] = apiextensions.NewForConfig(config)
	c.dynamic, errs[3] = dynamic.NewForConfig(config)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
}

// ready asks the apiserver's own readiness, which includes a read and a health check of its storage.
func (c *cluster) ready(ctx context.Context) error {
	return getOK(ctx, c.http, c.url+"/readyz")
}

// metric adds up the samples of one of the apiserver's metrics whose label set contains all the given labels.
func (c *cluster) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	sum := 0.0
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
next:
	for lines.Scan() {
		rest, found := strings.CutPrefix(lines.Text(), name+"{")
		if !found {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(rest, label) {
				continue next
			}
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		sum += value
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return sum
}
