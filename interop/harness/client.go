package harness

import (
	"context"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Raw is the generated gRPC clients of the services one member has, without the retries and the re-wording of clientv3.
type Raw struct {
	Conn        *grpc.ClientConn
	KV          pb.KVClient
	Watch       pb.WatchClient
	Lease       pb.LeaseClient
	Cluster     pb.ClusterClient
	Maintenance pb.MaintenanceClient
	Health      healthpb.HealthClient
}

// Dial opens a connection of plain gRPC. Message sizes are unlimited on this side: limits under test are the server's.
func (s *Server) Dial() *Raw {
	s.t.Helper()
	conn, err := s.connection(grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return &Raw{
		Conn:        conn,
		KV:          pb.NewKVClient(conn),
		Watch:       pb.NewWatchClient(conn),
		Lease:       pb.NewLeaseClient(conn),
		Cluster:     pb.NewClusterClient(conn),
		Maintenance: pb.NewMaintenanceClient(conn),
		Health:      healthpb.NewHealthClient(conn),
	}
}

// connection is a lazy one to this server, through its namespace if it has one.
func (s *Server) connection(more ...grpc.DialOption) (*grpc.ClientConn, error) {
	options := append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, s.dialOptions()...)
	return grpc.NewClient("passthrough:///"+s.Endpoint(), append(options, more...)...)
}

func (s *Server) dialOptions() []grpc.DialOption {
	if s.namespace == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithContextDialer(s.namespace.network.Dial)}
}

// Client is a clientv3 client of this server, closed with the test.
func (s *Server) Client() *clientv3.Client {
	s.t.Helper()
	return newClient(s.t, s)
}

func newClient(t testing.TB, servers ...*Server) *clientv3.Client {
	t.Helper()
	var endpoints []string
	for _, s := range servers {
		endpoints = append(endpoints, s.Endpoint())
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints:   endpoints,
		DialTimeout: readyDeadline,
		Logger:      zap.NewNop(),
		DialOptions: servers[0].dialOptions(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Context ends with the test, and after a deadline no step of a healthy test comes near.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Eventually fails the test unless ok becomes true within patience. It is for conditions without an event to wait for.
func Eventually(t testing.TB, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
