package conformtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// secure gives the server a certificate, so that clients speak TLS on both
// ways and report the loss of a connection in the same words. It returns the
// file that clients trust.
func (s *site) secure(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject:      pkix.Name{CommonName: "conformance"}, // Java reads no certificate without an issuer
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames: []string{"localhost"}, // what node-postgres asks for when it connects again
		IsCA:     true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	for name, content := range map[string][]byte{
		"server.crt": public, "server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	} {
		if err := s.cluster.WriteFile(name, string(content)); err != nil {
			t.Fatal(err)
		}
	}
	s.cluster.MustExec(t, "postgres", "ALTER SYSTEM SET ssl = on")
	s.cluster.MustExec(t, "postgres", "SELECT pg_reload_conf()")
	file := filepath.Join(t.TempDir(), "server.pem")
	if err := os.WriteFile(file, public, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
