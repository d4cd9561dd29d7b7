// Package etcdctl walks the real etcdctl and etcdutl through a server under test, as an operator would. It holds only tests.
package etcdctl
