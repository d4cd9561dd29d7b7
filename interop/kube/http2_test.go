package kube

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const frameHeaderLength = 9

// protocolError is something on the wire that is not HTTP/2 or not gRPC.
type protocolError struct {
	err error
}

func (e *protocolError) Error() string { return "unreadable bytes on the wire: " + e.err.Error() }

// connection follows the gRPC calls on one HTTP/2 connection.
type connection struct {
	requests, responses *halfConnection

	mu    sync.Mutex // held while either half hands over a frame
	calls map[uint32]*call
	tally *tally
}

func newConnection(tally *tally) *connection {
	c := &connection{calls: map[uint32]*call{}, tally: tally}
	c.requests = newHalfConnection(c, true)
	c.responses = newHalfConnection(c, false)
	return c
}

// closed ends the calls that were still open.
func (c *connection) closed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, call := range c.calls {
		call.broken()
		delete(c.calls, id)
	}
}

// halfConnection reads one direction: bytes into frames, frames into header lists and gRPC messages.
type halfConnection struct {
	connection *connection
	fromClient bool

	buffer  bytes.Buffer
	framer  *http2.Framer
	preface int // bytes of the client's preface still to come
	headers *hpack.Decoder
	fields  []hpack.HeaderField
	ends    bool // the header list being read ends the stream
}

func newHalfConnection(c *connection, fromClient bool) *halfConnection {
	h := &halfConnection{connection: c, fromClient: fromClient}
	h.framer = http2.NewFramer(io.Discard, &h.buffer)
	h.framer.SetMaxReadFrameSize(1<<24 - 1)
	h.headers = hpack.NewDecoder(4096, func(f hpack.HeaderField) { h.fields = append(h.fields, f) })
	h.headers.SetAllowedMaxDynamicTableSize(1 << 20)
	if fromClient {
		h.preface = len(http2.ClientPreface)
	}
	return h
}

// Write takes the next bytes of this direction, as much of them as there is.
func (h *halfConnection) Write(p []byte) (int, error) {
	skip := min(h.preface, len(p))
	h.preface -= skip
	h.buffer.Write(p[skip:])
	for h.holdsFrame() {
		frame, err := h.framer.ReadFrame()
		if err == nil {
			err = h.frame(frame)
		}
		if err != nil {
			return 0, &protocolError{err}
		}
	}
	return len(p), nil
}

func (h *halfConnection) holdsFrame() bool {
	b := h.buffer.Bytes()
	return len(b) >= frameHeaderLength && len(b)-frameHeaderLength >= int(b[0])<<16|int(b[1])<<8|int(b[2])
}

func (h *halfConnection) frame(frame http2.Frame) error {
	c := h.connection
	c.mu.Lock()
	defer c.mu.Unlock()
	id := frame.Header().StreamID
	switch f := frame.(type) {
	case *http2.HeadersFrame:
		h.fields, h.ends = nil, f.StreamEnded()
		return h.headerBlock(id, f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.ContinuationFrame:
		return h.headerBlock(id, f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.DataFrame:
		call := c.calls[id]
		if call == nil {
			return nil // after a reset
		}
		if h.fromClient {
			return call.request.add(f.Data())
		}
		return call.response.add(f.Data())
	case *http2.RSTStreamFrame:
		if call := c.calls[id]; call != nil {
			call.reset(h.fromClient, f.ErrCode)
			delete(c.calls, id)
		}
	}
	return nil
}

func (h *halfConnection) headerBlock(id uint32, fragment []byte, last bool) error {
	if _, err := h.headers.Write(fragment); err != nil || !last {
		return err
	}
	if err := h.headers.Close(); err != nil {
		return err
	}
	c := h.connection
	switch call := c.calls[id]; {
	case h.fromClient && call == nil:
		c.calls[id] = c.tally.begin(field(h.fields, ":path"))
	case !h.fromClient && call != nil && h.ends:
		delete(c.calls, id)
		return call.finish(field(h.fields, "grpc-status"), field(h.fields, "grpc-message"))
	}
	return nil
}

func field(fields []hpack.HeaderField, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// messages puts gRPC messages together from the data of one direction of a call.
type messages struct {
	buffer []byte
	handle func([]byte) error
}

func (m *messages) add(data []byte) error {
	const prefix = 5 // one byte of flags, four of length
	m.buffer = append(m.buffer, data...)
	for len(m.buffer) >= prefix {
		if m.buffer[0] != 0 {
			return fmt.Errorf("gRPC message with flags %#x, compressed though nobody asked for it", m.buffer[0])
		}
		end := prefix + int(binary.BigEndian.Uint32(m.buffer[1:prefix]))
		if len(m.buffer) < end {
			return nil
		}
		if err := m.handle(m.buffer[prefix:end]); err != nil {
			return err
		}
		m.buffer = m.buffer[end:]
	}
	return nil
}
