package contract

import (
	"crypto/sha1"
	"encoding/binary"
)

// etcdIDs are the member and cluster id of a one-member cluster: the first 8 bytes of the SHA-1 of the peer URL and the cluster token,
// and of the member id.
func etcdIDs(peerURL, token string) (member, cluster uint64) {
	sum := sha1.Sum([]byte(peerURL + token))
	member = binary.BigEndian.Uint64(sum[:8])
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], member)
	sum = sha1.Sum(id[:])
	return member, binary.BigEndian.Uint64(sum[:8])
}
