package kube

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// wire forwards TCP connections of kube-apiserver to the server under test and reads along. It changes nothing: a server that dies is a
// connection that breaks, for the apiserver as for the tally.
type wire struct {
	listener net.Listener
	upstream string
	tally    *tally
}

func startWire(t *testing.T, upstream string, tally *tally) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, upstream: upstream, tally: tally}
	t.Cleanup(func() { listener.Close() })
	go w.accept()
	return w
}

func (w *wire) address() string {
	return w.listener.Addr().String()
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return // closed at the end of the test
		}
		go w.forward(client)
	}
}

func (w *wire) forward(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.upstream)
	if err != nil {
		return // the server is down: the apiserver sees a connection that closes
	}
	defer server.Close()
	connection := newConnection(w.tally)
	var both sync.WaitGroup
	both.Go(func() { w.pump(server, client, connection.requests) })
	both.Go(func() { w.pump(client, server, connection.responses) })
	both.Wait()
	connection.closed()
}

// pump copies one direction until either end closes, and then closes both, as the loss of a connection does. Bytes are read along before
// they are passed on: no answer is seen before its request.
func (w *wire) pump(to, from net.Conn, along *halfConnection) {
	defer to.Close()
	defer from.Close()
	_, err := io.Copy(struct{ io.Writer }{to}, io.TeeReader(struct{ io.Reader }{from}, along))
	if unreadable := (*protocolError)(nil); errors.As(err, &unreadable) {
		w.tally.problem("%v", err)
	}
}
