package etcdctl

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vetch/interop/harness"
)

// authority issues certificates for 127.0.0.1 into a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		Subject: pkix.Name{CommonName: "authority"},
	}
	a.cert, a.key = a.sign(template, nil, nil)
	a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	a.last++
	template.SerialNumber = big.NewInt(a.last)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// write replaces a file by renaming.
func (a *authority) write(name, kind string, der []byte) {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue writes name.pem and name-key.pem and returns the serial number.
func (a *authority) issue(name string) int64 {
	cert, key := a.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+"-key.pem", "EC PRIVATE KEY", der)
	a.write(name+".pem", "CERTIFICATE", cert.Raw)
	return a.last
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// secure is a server that listens with TLS only, and etcdctl with the given options.
type secure struct {
	*ctl
	address string
}

func startSecure(t *testing.T, serverFlags []string, ctlFlags ...string) *secure {
	t.Helper()
	target, err := harness.UnderTest()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	flags := append([]string{"--listen-client-urls=https://" + address, "--advertise-client-urls=https://" + address}, serverFlags...)
	harness.StartTarget(t, target, harness.Options{Flags: flags, NoWait: true})
	s := &secure{&ctl{t: t, bin: harness.MustTool(t, "etcdctl"), endpoint: "https://" + address}, address}
	harness.Eventually(t, time.Minute, "a server at "+address, func() bool {
		_, _, err := s.try(time.Second, "", append(ctlFlags, "get", "k")...)
		return err == nil
	})
	return s
}

// refused runs etcdctl, which must not get through.
func (s *secure) refused(why string, args ...string) {
	s.t.Helper()
	if stdout, _, err := s.try(10*time.Second, "", append(args, "--command-timeout=1s", "get", "k")...); err == nil {
		s.t.Errorf("%s: let in, and told %q", why, stdout)
	}
}

// handshake returns what both sides agreed on.
func (s *secure) handshake(config *tls.Config) (tls.ConnectionState, error) {
	conn, err := tls.Dial("tcp", s.address, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}

// TestTLS: a certificate from files, read anew when it changes, for gRPC and HTTP.
func TestTLS(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	first := a.issue("server")
	s := startSecure(t, []string{"--cert-file=" + a.path("server.pem"), "--key-file=" + a.path("server-key.pem")}, "--cacert="+a.path("ca.pem"))
	s.want("OK\n", "--cacert="+a.path("ca.pem"), "put", "k", "v")
	s.want("k\nv\n", "--cacert="+a.path("ca.pem"), "get", "k")
	s.refused("a client that trusts another authority", "--cacert="+other.path("ca.pem"))
	plain := *s.ctl
	plain.endpoint = "http://" + s.address
	(&secure{&plain, s.address}).refused("a client without TLS")

	trusting := &tls.Config{RootCAs: a.pool(), NextProtos: []string{"h2"}}
	serial := func() int64 {
		state, err := s.handshake(trusting)
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != first {
		t.Errorf("serial number %d, want %d", got, first)
	}
	second := a.issue("server")
	if got := serial(); got != second {
		t.Errorf("after the files changed: serial number %d, want %d", got, second)
	}

	client := http.Client{Transport: &http.Transport{TLSClientConfig: trusting, ForceAttemptHTTP2: true}}
	for _, path := range []string{"/health", "/version", "/metrics"} {
		response, err := client.Get("https://" + s.address + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
}

// TestClientCertificates: who has none of the authority's stays out.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	a.issue("server")
	a.issue("client")
	other.issue("client")
	ca := "--cacert=" + a.path("ca.pem")
	files := []string{"--cert-file=" + a.path("server.pem"), "--key-file=" + a.path("server-key.pem"), "--trusted-ca-file=" + a.path("ca.pem")}
	identity := func(a *authority) []string {
		return []string{ca, "--cert=" + a.path("client.pem"), "--key=" + a.path("client-key.pem")}
	}
	for name, flags := range map[string][]string{
		"asked for":             append(files, "--client-cert-auth"),
		"asked for by the file": files,
	} {
		t.Run(name, func(t *testing.T) {
			s := startSecure(t, flags, identity(a)...)
			s.want("OK\n", append(identity(a), "put", "k", "v")...)
			s.refused("a client without a certificate", ca)
			s.refused("a client with a stranger's certificate", identity(other)...)
		})
	}
}

// TestTLSVersionsAndSuites: only what the flags allow is agreed on.
func TestTLSVersionsAndSuites(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("server")
	ca := "--cacert=" + a.path("ca.pem")
	files := []string{"--cert-file=" + a.path("server.pem"), "--key-file=" + a.path("server-key.pem")}
	old := &tls.Config{RootCAs: a.pool(), NextProtos: []string{"h2"}, MaxVersion: tls.VersionTLS12}
	t.Run("1.3", func(t *testing.T) {
		s := startSecure(t, append(files, "--tls-min-version=TLS1.3"), ca)
		if _, err := s.handshake(old); err == nil {
			t.Error("TLS 1.2 was let in")
		}
	})
	t.Run("1.2", func(t *testing.T) {
		s := startSecure(t, append(files, "--tls-max-version=TLS1.2", "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"), ca)
		state, err := s.handshake(&tls.Config{RootCAs: a.pool(), NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		if state.Version != tls.VersionTLS12 || state.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 {
			t.Errorf("agreed on %x, %s", state.Version, tls.CipherSuiteName(state.CipherSuite))
		}
		another := old.Clone()
		another.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
		if _, err := s.handshake(another); err == nil {
			t.Error("a client that has another suite only was let in")
		}
	})
}

// TestAutoTLS: the certificate is generated where etcd keeps it, and clients can trust the file.
func TestAutoTLS(t *testing.T) {
	t.Parallel()
	skip := []string{"--insecure-transport=false", "--insecure-skip-tls-verify"}
	data := filepath.Join(t.TempDir(), "data")
	s := startSecure(t, []string{"--auto-tls", "--data-dir=" + data}, skip...)
	s.want("OK\n", append(skip, "put", "k", "v")...)
	s.want("k\nv\n", "--cacert="+filepath.Join(data, "fixtures", "client", "cert.pem"), "get", "k")
}
