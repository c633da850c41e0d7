package pki_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/pki"
)

func TestLoadAuthority(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	first, err := pki.LoadAuthority(certFile, keyFile, "test authority")
	if err != nil {
		t.Fatal(err)
	}
	again, err := pki.LoadAuthority(certFile, keyFile, "test authority")
	if err != nil || !bytes.Equal(first.PEM(), again.PEM()) {
		t.Fatalf("it is another one: %v", err)
	}
	if info, err := os.Stat(keyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	good, _ := os.ReadFile(certFile)
	goodKey, _ := os.ReadFile(keyFile)
	other, err := pki.LoadAuthority(filepath.Join(dir, "other.pem"), filepath.Join(dir, "other.key"), "other")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text string
		cert, key  []byte
	}{
		{"no certificate", "no PEM CERTIFICATE", []byte("nothing"), goodKey},
		{"no key", "no PEM PRIVATE KEY", good, []byte("nothing")},
		{"another's certificate", "is not that of the certificate", other.PEM(), goodKey},
		{"the key alone", "no such file", nil, goodKey},
		{"the certificate alone", "no such file", good, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			for file, data := range map[string][]byte{certFile: test.cert, keyFile: test.key} {
				_ = os.Remove(file)
				if data == nil {
					continue
				}
				if err := os.WriteFile(file, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := pki.LoadAuthority(certFile, keyFile, "test authority"); err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %q", err, test.text)
			}
		})
	}
}

// TestIssueClient takes the key of a request, and nothing else that it says.
func TestIssueClient(t *testing.T) {
	ca, err := pki.NewAuthority("clients")
	if err != nil {
		t.Fatal(err)
	}
	key, request, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	want := pki.Client{Gateway: "orders", Subject: "Ana Lima/ops?x#y", Claims: []byte(`{"sub":"u-17"}`), Expires: now.Add(10 * time.Minute).Truncate(time.Second)}
	text, id, err := ca.IssueClient(request, want, now)
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, text)
	got, err := pki.ReadClient(cert)
	if err != nil {
		t.Fatal(err)
	}
	if got.Gateway != want.Gateway || got.Subject != want.Subject || string(got.Claims) != string(want.Claims) || got.ID != id || !got.Expires.Equal(want.Expires) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !key.PublicKey.Equal(cert.PublicKey) || cert.IsCA || len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Errorf("the certificate is of another key, or good for more than a client: %+v", cert.ExtKeyUsage)
	}
	if err := cert.CheckSignatureFrom(ca.Certificate()); err != nil {
		t.Error(err)
	}
	block, _ := pem.Decode(request)
	forged := bytes.Clone(block.Bytes)
	forged[len(forged)-1] ^= 1
	for name, bad := range map[string][]byte{
		"empty":           nil,
		"no PEM":          []byte("request"),
		"a certificate":   text,
		"two requests":    append(bytes.Clone(request), request...),
		"not signed well": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: forged}),
	} {
		if _, _, err := ca.IssueClient(bad, want, now); !errors.Is(err, pki.ErrRequest) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	want.Claims = bytes.Repeat([]byte{' '}, 20<<10)
	if _, _, err := ca.IssueClient(request, want, now); err == nil || !strings.Contains(err.Error(), "16384") {
		t.Errorf("with too many claims: %v", err)
	}
}

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	certs, err := pki.ParseCertificates(text)
	if err != nil {
		t.Fatal(err)
	}
	return certs[0]
}

func TestReadClient(t *testing.T) {
	for _, uris := range [][]string{
		nil,
		{"postern://orders/ana"},
		{"data:application/json;base64,e30=", "postern://orders/ana"},
		{"postern://orders", "data:application/json;base64,e30="},
		{"postern://orders/", "data:application/json;base64,e30="},
		{"postern:///ana", "data:application/json;base64,e30="},
		{"postern://x@orders/ana", "data:application/json;base64,e30="},
		{"postern://orders/ana?x", "data:application/json;base64,e30="},
		{"spiffe://orders/ana", "data:application/json;base64,e30="},
		{"postern://orders/ana", "data:text/plain;base64,e30="},
		{"postern://orders/ana", "data:application/json;base64,e30"},
		{"postern://orders/ana", "data:application/json;base64,e30=", "postern://billing/eve"},
	} {
		cert := &x509.Certificate{}
		for _, text := range uris {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			cert.URIs = append(cert.URIs, u)
		}
		if _, err := pki.ReadClient(cert); !errors.Is(err, pki.ErrNotClient) {
			t.Errorf("%q: got %v", uris, err)
		}
	}
}

func TestIssueUpstream(t *testing.T) {
	ca, err := pki.NewAuthority("upstream")
	if err != nil {
		t.Fatal(err)
	}
	issued, err := ca.IssueUpstream("Ana, \"the\" DBA", "s_1", time.Now(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(issued.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != "Ana, \"the\" DBA" || cert.Subject.OrganizationalUnit[0] != "s_1" || time.Until(cert.NotAfter) > time.Minute {
		t.Errorf("it is for %v until %v", cert.Subject, cert.NotAfter)
	}
	for _, role := range []string{"", strings.Repeat("r", 65)} {
		if _, err := ca.IssueUpstream(role, "s_1", time.Now(), time.Minute); err == nil {
			t.Errorf("a certificate for the role %q", role)
		}
	}
}
