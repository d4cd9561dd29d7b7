package differential

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"vetch/interop/harness"
)

// side is one of the two servers with what is needed to map its answers to comparable ones.
type side struct {
	name   string
	server *harness.Server
	// cluster is what the server is a follower in, or nil if it is alone.
	cluster *harness.Cluster
	raw     *harness.Raw
	leases  *leaseMap

	clusterID, memberID, leaderID, raftTerm uint64
	// others maps the ids of the other members to common ones, by their names.
	others map[uint64]uint64

	streams   [streamCount]*watchStream
	keepAlive pb.Lease_LeaseKeepAliveClient
}

// connect dials the server, learns its ids and opens the streams.
func (s *side) connect(ctx context.Context) error {
	s.server.WaitSettled()
	s.raw = s.server.Dial()
	st, err := s.raw.Maintenance.Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return fmt.Errorf("%s: Status: %w", s.name, err)
	}
	h := st.Header
	leads := st.Leader == h.MemberId
	if h.ClusterId == 0 || h.MemberId == 0 || h.RaftTerm == 0 || st.Leader == 0 || leads != (s.cluster == nil) {
		return fmt.Errorf("%s: Status: header %v, leader %d", s.name, h, st.Leader)
	}
	s.clusterID, s.memberID, s.leaderID, s.raftTerm = h.ClusterId, h.MemberId, st.Leader, h.RaftTerm
	if err := s.learnOthers(ctx); err != nil {
		return err
	}
	if s.keepAlive, err = s.raw.Lease.LeaseKeepAlive(ctx); err != nil {
		return err
	}
	for i := range s.streams {
		if s.streams[i], err = openWatchStream(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (s *side) learnOthers(ctx context.Context) error {
	list, err := s.raw.Cluster.MemberList(ctx, &pb.MemberListRequest{})
	if err != nil {
		return fmt.Errorf("%s: MemberList: %w", s.name, err)
	}
	slices.SortFunc(list.Members, func(a, b *pb.Member) int { return strings.Compare(a.Name, b.Name) })
	s.others = map[uint64]uint64{}
	for i, m := range list.Members {
		if m.ID != s.memberID {
			s.others[m.ID] = uint64(10 + i)
		}
	}
	return nil
}

// members are all servers of this side.
func (s *side) members() []*harness.Server {
	if s.cluster == nil {
		return []*harness.Server{s.server}
	}
	return s.cluster.Members
}

// answer is what a server said to one call: a message or an error.
type answer struct {
	message proto.Message
	err     *status.Status
}

func (a answer) String() string {
	if a.err != nil {
		return fmt.Sprintf("%v: %q", a.err.Code(), a.err.Message())
	}
	return fmt.Sprint(a.message)
}

// call is one unary request, with symbolic lease ids.
type call struct {
	rpc     string
	request proto.Message
	invoke  func(context.Context, *side, proto.Message) (proto.Message, error)
}

// rpc makes a call of a generated client method.
func rpc[Q, R proto.Message](name string, request Q, invoke func(context.Context, *side, Q) (R, error)) call {
	return call{rpc: name, request: request, invoke: func(ctx context.Context, s *side, m proto.Message) (proto.Message, error) {
		return invoke(ctx, s, m.(Q))
	}}
}

// do sends the call with the ids of this side and maps the answer back.
func (s *side) do(ctx context.Context, c call) answer {
	request := proto.Clone(c.request)
	mapLeases(request, s.leases.toActual)
	response, err := c.invoke(ctx, s, request)
	if err != nil {
		return answer{err: status.Convert(err)}
	}
	if g, ok := response.(*pb.LeaseGrantResponse); ok && c.request.(*pb.LeaseGrantRequest).ID == 0 {
		if g.ID <= 0 {
			return answer{message: response} // not mapped: shows up as a difference
		}
		s.leases.granted(g.ID)
	}
	s.normalize(response)
	return answer{message: response}
}

// normalize replaces this side's ids, terms, URLs and server-chosen lease ids by common ones. Anything else in those places,
// zero included, stays as it is.
func (s *side) normalize(m proto.Message) {
	mapLeases(m, s.leases.toSymbolic)
	walk(m.ProtoReflect(), func(m protoreflect.Message) {
		switch m := m.Interface().(type) {
		case *pb.ResponseHeader:
			m.ClusterId = known(m.ClusterId, s.clusterID, 1)
			m.MemberId = known(m.MemberId, s.memberID, 2)
			m.RaftTerm = known(m.RaftTerm, s.raftTerm, 3)
		case *pb.Member:
			m.ID = known(m.ID, s.memberID, 2)
			if common, other := s.others[m.ID]; other {
				m.ID = common
			}
			for _, urls := range [][]string{m.PeerURLs, m.ClientURLs} {
				for i := range urls {
					for _, member := range s.members() {
						urls[i] = strings.ReplaceAll(urls[i], fmt.Sprint(member.PeerPort), "PEER of "+member.Name())
						urls[i] = strings.ReplaceAll(urls[i], fmt.Sprint(member.ClientPort), "CLIENT of "+member.Name())
					}
				}
			}
		case *pb.AlarmMember:
			m.MemberID = known(m.MemberID, s.memberID, 2)
		case *pb.StatusResponse:
			m.Leader = known(m.Leader, s.leaderID, 2)
			m.RaftTerm = known(m.RaftTerm, s.raftTerm, 3)
		}
	})
}

func known(got, id, common uint64) uint64 {
	if got == id {
		return common
	}
	return got
}

// mapLeases passes every lease id in m through f.
func mapLeases(m proto.Message, f func(int64) int64) {
	walk(m.ProtoReflect(), func(m protoreflect.Message) {
		switch m := m.Interface().(type) {
		case *mvccpb.KeyValue:
			m.Lease = f(m.Lease)
		case *pb.PutRequest:
			m.Lease = f(m.Lease)
		case *pb.Compare:
			if u, ok := m.TargetUnion.(*pb.Compare_Lease); ok {
				u.Lease = f(u.Lease)
			}
		case *pb.LeaseGrantRequest:
			m.ID = f(m.ID)
		case *pb.LeaseGrantResponse:
			m.ID = f(m.ID)
		case *pb.LeaseRevokeRequest:
			m.ID = f(m.ID)
		case *pb.LeaseKeepAliveRequest:
			m.ID = f(m.ID)
		case *pb.LeaseKeepAliveResponse:
			m.ID = f(m.ID)
		case *pb.LeaseTimeToLiveRequest:
			m.ID = f(m.ID)
		case *pb.LeaseTimeToLiveResponse:
			m.ID = f(m.ID)
		case *pb.LeaseStatus:
			m.ID = f(m.ID)
		}
	})
}

// walk visits m and every message inside it.
func walk(m protoreflect.Message, visit func(protoreflect.Message)) {
	if !m.IsValid() {
		return
	}
	visit(m)
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range v.List().Len() {
				walk(v.List().Get(i).Message(), visit)
			}
		case !field.IsMap():
			walk(v.Message(), visit)
		}
		return true
	})
}
