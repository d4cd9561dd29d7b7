// Package contract states, test by test, what clients of the etcd v3 API rely on, with clientv3 where its behaviour is part of the
// contract and with plain gRPC where the bare answer is. It holds only tests.
package contract
