package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// TestStore_socket: the store is reached over a Unix socket.
func TestStore_socket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	servertest.Single(t, servertest.Redis, "--unixsocket", socket)
	s := newStore(t, Options{URL: "unix://" + socket})
	warm(t, s, "o")
}

// TestStore_TLS: the store is reached over TLS, if its certificate is one that
// we trust, and not else.
func TestStore_TLS(t *testing.T) {
	dir, roots := t.TempDir(), x509.NewCertPool()
	cert, key := certificate(t, dir, roots)
	addr := servertest.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	servertest.Single(t, servertest.Redis, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key,
		"--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	s := newStore(t, Options{URL: "rediss://" + addr, TLS: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}})
	warm(t, s, "o")
	other := newStore(t, Options{URL: "rediss://" + addr})
	goesLocal(t, other, "o", CauseTLS)
}

// certificate makes one for the loopback, signed by itself.
func certificate(t *testing.T, dir string, roots *x509.CertPool) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(signed)
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert", "CERTIFICATE", der), write("key", "EC PRIVATE KEY", secret)
}
