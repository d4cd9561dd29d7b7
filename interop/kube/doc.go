// Package kube runs a real kube-apiserver on a server of the etcd v3 API and walks through what Kubernetes asks of it.
//
// All of it is in the tests. A cluster is one process of the server under test or several, before each of them a [wire] that reads along on
// the connections between, and one process of kube-apiserver; the tests talk to the apiserver through client-go, as any Kubernetes component
// does.
//
// It is a module apart from the other interop suites, and shares no code with them: in one module theirs would decide which release of etcd's
// client is built into the apiserver.
package kube
