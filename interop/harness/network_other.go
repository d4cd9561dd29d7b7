//go:build !linux

package harness

import (
	"context"
	"errors"
	"net"
	"testing"
)

// Network needs Linux.
type Network struct{}

type namespace struct {
	network *Network
	address string
}

// NewNetwork skips the test.
func NewNetwork(t testing.TB) *Network {
	t.Skip("SKIPPED: network namespaces need Linux")
	return nil
}

func (*Network) member() (*namespace, error) { return nil, errors.ErrUnsupported }

// Cut is never reached.
func (*Network) Cut(_, _ *Server) {}

// CutOneWay is never reached.
func (*Network) CutOneWay(_, _ *Server) {}

// HealAll is never reached.
func (*Network) HealAll() {}

// Dial is never reached.
func (*Network) Dial(context.Context, string) (net.Conn, error) { return nil, errors.ErrUnsupported }

func (*namespace) do(f func() error) error { return f() }
