package contract

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"vetch/interop/harness"
)

// pinger is a client that pings when it likes; grpc-go's never does so more often than every 10 s.
type pinger struct {
	*http2.Framer
	t     *testing.T
	pings byte
}

// dialPinger opens a connection with one call on stream 1: half closed when it is over, left open otherwise.
func dialPinger(f *fixture, path string, message []byte, over bool) *pinger {
	conn, err := net.Dial("tcp", f.server.Endpoint())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		f.Fatal(err)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		f.Fatal(err)
	}
	p := &pinger{Framer: http2.NewFramer(conn, conn), t: f.T}
	var headers bytes.Buffer
	encoder := hpack.NewEncoder(&headers)
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", f.server.Endpoint()},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		if err := encoder.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			f.Fatal(err)
		}
	}
	prefixed := append([]byte{0, 0, 0, 0, byte(len(message))}, message...)
	for _, err := range []error{
		p.WriteSettings(), p.WriteSettingsAck(),
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers.Bytes(), EndHeaders: true}),
		p.WriteData(1, over, prefixed),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	return p
}

// until reads frames up to the first that fits.
func (p *pinger) until(what string, fits func(http2.Frame) bool) {
	p.t.Helper()
	for {
		frame, err := p.ReadFrame()
		if err != nil {
			p.t.Fatalf("%s: %v", what, err)
		}
		if goaway, ok := frame.(*http2.GoAwayFrame); ok {
			p.t.Fatalf("%s: sent away with %v %q", what, goaway.ErrCode, goaway.DebugData())
		}
		if fits(frame) {
			return
		}
	}
}

// ping sends one and waits for its answer.
func (p *pinger) ping() {
	p.t.Helper()
	p.pings++
	data := [8]byte{p.pings}
	if err := p.WritePing(false, data); err != nil {
		p.t.Fatal(err)
	}
	p.until("an answer to a ping", func(f http2.Frame) bool {
		ping, ok := f.(*http2.PingFrame)
		return ok && ping.IsAck() && ping.Data == data
	})
}

// sentAway sends a last ping, which must be answered with GOAWAY and the end of the connection.
func (p *pinger) sentAway() {
	p.t.Helper()
	if err := p.WritePing(false, [8]byte{}); err != nil {
		p.t.Fatal(err)
	}
	var goaway *http2.GoAwayFrame
	for {
		frame, err := p.ReadFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p.t.Fatal(err)
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			want(p.t, "last stream", g.LastStreamID, 1)
			want(p.t, "code", g.ErrCode, http2.ErrCodeEnhanceYourCalm)
			want(p.t, "debug data", string(g.DebugData()), "too_many_pings")
			goaway = g
		}
	}
	if goaway == nil {
		p.t.Error("the connection ended without GOAWAY")
	}
}

func watchRequest(t *testing.T) []byte {
	message, err := proto.Marshal(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte("k")},
	}})
	return must(t, message, err)
}

// TestPingPolicy: pings closer than --grpc-keepalive-min-time are borne twice in a row, and a client without calls may not ping often at all.
func TestPingPolicy(t *testing.T) {
	watch := func(f *fixture) *pinger {
		p := dialPinger(f, "/etcdserverpb.Watch/Watch", watchRequest(f.T), false)
		p.until("the watch is created", func(frame http2.Frame) bool { return frame.Header().Type == http2.FrameData })
		p.ping() // forgiven, as an answer was sent since the last one
		return p
	}
	t.Run("too often", func(t *testing.T) {
		f := setup(t, "--grpc-keepalive-min-time=5s")
		p := watch(f)
		p.ping()
		p.ping()
		p.sentAway()
		f.put("k", "the others are served")
	})
	t.Run("answers forgive", func(t *testing.T) {
		f := setup(t, "--grpc-keepalive-min-time=5s")
		p := watch(f)
		for range 5 {
			p.ping()
			p.ping()
			f.put("k", "v")
			p.until("an event", func(frame http2.Frame) bool { return frame.Header().Type == http2.FrameData })
			p.ping()
		}
	})
	t.Run("often enough", func(t *testing.T) {
		f := setup(t, "--grpc-keepalive-min-time=50ms")
		p := watch(f)
		for range 10 {
			time.Sleep(60 * time.Millisecond)
			p.ping()
		}
	})
	t.Run("without a call", func(t *testing.T) {
		f := setup(t, "--grpc-keepalive-min-time=1ms")
		message, err := proto.Marshal(&pb.RangeRequest{Key: []byte("k")})
		p := dialPinger(f, "/etcdserverpb.KV/Range", must(t, message, err), true)
		p.until("the call is over", func(frame http2.Frame) bool {
			return frame.Header().Type == http2.FrameHeaders && frame.Header().Flags.Has(http2.FlagHeadersEndStream)
		})
		for range 3 {
			p.ping()
			time.Sleep(10 * time.Millisecond)
		}
		p.sentAway()
	})
}

// TestPingPolicyOfRealClient: grpc-go, whose calls end with the reason, and which connects anew.
func TestPingPolicyOfRealClient(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 30 s: grpc-go pings every 10 s at most")
	}
	f := setup(t, "--grpc-keepalive-min-time=1m")
	conn, err := grpc.NewClient("passthrough:///"+f.server.Endpoint(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := pb.NewWatchClient(conn).Watch(harness.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte("k")},
	}}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	s := status.Convert(err)
	if s.Code() != codes.Unavailable || !strings.Contains(s.Message(), `ENHANCE_YOUR_CALM, debug data: "too_many_pings"`) {
		t.Errorf("the watch ended with %v", err)
	}
	// A ping of its own accord when the first answer came, and three for keeping alive.
	if lasted := time.Since(began); lasted < 25*time.Second {
		t.Errorf("sent away after %v, with fewer than four pings", lasted)
	}
	if _, err := pb.NewKVClient(conn).Range(f.ctx, &pb.RangeRequest{Key: []byte("k")}); err != nil {
		t.Errorf("after connecting anew: %v", err)
	}
}
