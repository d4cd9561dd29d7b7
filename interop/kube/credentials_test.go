package kube

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// credentials are the files kube-apiserver authenticates itself and its callers with; made anew for every test.
type credentials struct {
	certFile, keyFile   string // what it serves TLS with; self-signed, so the certificate is also the CA
	serviceAccountsFile string // signs and verifies service account tokens
	tokensFile          string // the static tokens it accepts
	adminToken          string // the token of a member of system:masters
}

func newCredentials(t *testing.T, dir string) credentials {
	t.Helper()
	c := credentials{
		certFile:            filepath.Join(dir, "tls.crt"),
		keyFile:             filepath.Join(dir, "tls.key"),
		serviceAccountsFile: filepath.Join(dir, "service-accounts.key"),
		tokensFile:          filepath.Join(dir, "tokens.csv"),
		adminToken:          randomToken(t),
	}
	key := newKey(t, c.keyFile)
	newKey(t, c.serviceAccountsFile)
	certificate := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "kube-apiserver"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, c.certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, c.tokensFile, fmt.Appendf(nil, "%s,admin,1,system:masters\n", c.adminToken))
	return c
}

func newKey(t *testing.T, path string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	return key
}

func randomToken(t *testing.T) string {
	t.Helper()
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(secret)
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
