package harness

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ClusterOptions of a Cluster.
type ClusterOptions struct {
	// Size is the number of members.
	Size int
	// Flags are given to every member.
	Flags []string
	// Network puts every member into a namespace of its own; nil leaves all on loopback.
	Network *Network
	// Fast is Options.Fast of all members.
	Fast bool
}

// Cluster is several members, each a process of its own, that form one cluster. It ends with the test.
type Cluster struct {
	Target  Target
	Members []*Server

	t    testing.TB
	opts ClusterOptions
	made int // members ever made
}

// StartCluster runs a cluster of the target under test and returns once every member serves linearizable reads.
func StartCluster(t testing.TB, size int, flags ...string) *Cluster {
	t.Helper()
	return StartClusterWith(t, ClusterOptions{Size: size, Flags: flags})
}

// StartClusterWith is StartCluster with all options.
func StartClusterWith(t testing.TB, opts ClusterOptions) *Cluster {
	t.Helper()
	target, err := UnderTest()
	if err != nil {
		t.Fatal(err)
	}
	return StartClusterOf(t, target, opts)
}

// StartClusterOf runs a cluster of target and returns once every member serves linearizable reads.
func StartClusterOf(t testing.TB, target Target, opts ClusterOptions) *Cluster {
	t.Helper()
	for attempt := 1; ; attempt++ {
		c := &Cluster{Target: target, t: t, opts: opts}
		err := c.start()
		if err == nil {
			return c
		}
		for _, m := range c.Members {
			m.cleanup()
		}
		if !errors.Is(err, errPortTaken) || attempt == 5 {
			t.Fatalf("start of a cluster of %s: %v", target, err)
		}
	}
}

func (c *Cluster) start() error {
	var urls []string
	for range c.opts.Size {
		m := c.NewMember()
		c.Members = append(c.Members, m)
		urls = append(urls, m.Name()+"="+m.PeerURL())
	}
	for _, m := range c.Members {
		m.initialCluster = strings.Join(urls, ",")
		if err := m.launch(); err != nil {
			return err
		}
	}
	for _, m := range c.Members {
		if err := m.serves(); err != nil {
			return fmt.Errorf("%s: %w", m.Name(), err)
		}
	}
	return nil
}

// NewMember is a server with a name, ports and a data folder of its own that is not started and not yet one of Members.
func (c *Cluster) NewMember() *Server {
	c.t.Helper()
	c.made++
	m := newServer(c.t, c.Target, fmt.Sprintf("m%d", c.made), Options{Flags: c.opts.Flags, Fast: c.opts.Fast})
	m.DataDir = filepath.Join(c.t.TempDir(), "data")
	err := m.pickPorts()
	if err == nil && c.opts.Network != nil {
		m.namespace, err = c.opts.Network.member()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// initialClusterLine is what `etcdctl member add` tells to start the new member with.
var initialClusterLine = regexp.MustCompile(`ETCD_INITIAL_CLUSTER="([^"]+)"`)

// Join starts a server that has been added to the cluster as etcdctl says it has to be started; memberAdd is the output of
// `etcdctl member add`. It does not wait.
func (c *Cluster) Join(m *Server, memberAdd string) {
	c.t.Helper()
	line := initialClusterLine.FindStringSubmatch(memberAdd)
	if line == nil || !strings.Contains(memberAdd, `ETCD_INITIAL_CLUSTER_STATE="existing"`) {
		c.t.Fatalf("member add says %q", memberAdd)
	}
	m.initialCluster, m.initialState = line[1], "existing"
	m.Launch()
	c.Members = append(c.Members, m)
}

// RestartAll starts ended members again, at the same time, and returns once all serve.
func (c *Cluster) RestartAll() {
	c.t.Helper()
	for _, m := range c.Members {
		if err := m.launch(); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, m := range c.Members {
		m.WaitReady()
	}
}

// Forget takes a server that has been removed out of Members.
func (c *Cluster) Forget(m *Server) {
	c.Members = slices.DeleteFunc(c.Members, func(other *Server) bool { return other == m })
}

// Client is a clientv3 client of all members.
func (c *Cluster) Client() *clientv3.Client {
	c.t.Helper()
	return newClient(c.t, c.Members...)
}

// Endpoints of all members, separated by commas.
func (c *Cluster) Endpoints() string {
	var all []string
	for _, m := range c.Members {
		all = append(all, m.Endpoint())
	}
	return strings.Join(all, ",")
}

// statusPatience is how long one member may take to tell its status before it is asked again.
const statusPatience = time.Second

// Leader waits until all the given members (all Members if none are given) agree on a leader among them.
func (c *Cluster) Leader(among ...*Server) *Server {
	c.t.Helper()
	if len(among) == 0 {
		among = c.Members
	}
	var raws []*Raw
	for _, m := range among {
		raws = append(raws, m.Dial())
	}
	var leader *Server
	Eventually(c.t, readyDeadline, "the members agree on a leader", func() bool {
		leader = agreedLeader(among, raws)
		return leader != nil
	})
	return leader
}

func agreedLeader(members []*Server, raws []*Raw) *Server {
	var own, believed []uint64
	for _, raw := range raws {
		ctx, cancel := context.WithTimeout(context.Background(), statusPatience)
		s, err := raw.Maintenance.Status(ctx, &pb.StatusRequest{})
		cancel()
		if err != nil {
			raw.Conn.ResetConnectBackoff()
			return nil
		}
		own, believed = append(own, s.Header.MemberId), append(believed, s.Leader)
	}
	if slices.Min(believed) != slices.Max(believed) {
		return nil
	}
	if i := slices.Index(own, believed[0]); i >= 0 {
		return members[i]
	}
	return nil
}

// Others are the Members but the given ones.
func (c *Cluster) Others(but ...*Server) []*Server {
	return slices.DeleteFunc(slices.Clone(c.Members), func(m *Server) bool { return slices.Contains(but, m) })
}

// WaitHashesEqual waits until all members have applied the newest revision, and fails the test unless their HashKV of it are equal.
func (c *Cluster) WaitHashesEqual() {
	c.t.Helper()
	ctx := Context(c.t)
	r, err := c.Members[0].Dial().KV.Range(ctx, &pb.RangeRequest{Key: []byte("\x00none")})
	if err != nil {
		c.t.Fatal(err)
	}
	c.WaitHashesEqualAt(r.Header.Revision)
}

// WaitHashesEqualAt is WaitHashesEqual for one revision, while writes go on.
func (c *Cluster) WaitHashesEqualAt(revision int64) {
	c.t.Helper()
	ctx := Context(c.t)
	first := ""
	for _, m := range c.Members {
		raw := m.Dial()
		Eventually(c.t, readyDeadline, fmt.Sprintf("%s has revision %d", m.Name(), revision), func() bool {
			s, err := raw.Maintenance.Status(ctx, &pb.StatusRequest{})
			return err == nil && s.Header.Revision >= revision
		})
		h, err := raw.Maintenance.HashKV(ctx, &pb.HashKVRequest{Revision: revision})
		if err != nil {
			c.t.Fatalf("HashKV of %s: %v", m.Name(), err)
		}
		hash := fmt.Sprintf("hash %d of revision %d, compacted at %d", h.Hash, h.HashRevision, h.CompactRevision)
		if first == "" {
			first = hash
		}
		if hash != first {
			c.t.Errorf("HashKV: %s has %s, %s has %s", m.Name(), hash, c.Members[0].Name(), first)
		}
	}
}
