package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestClientCertificates calls a control plane with client certificates in
// place of tokens.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	clients, strangers := filepath.Join(dir, "clients"), filepath.Join(dir, "strangers")
	certificate := func(t *testing.T, authorityDir, name string) (cert, key string) {
		t.Helper()
		if err := os.MkdirAll(authorityDir, 0o700); err != nil {
			t.Fatal(err)
		}
		ca, err := authority(authorityDir)
		if err != nil {
			t.Fatal(err)
		}
		uri, err := url.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		cert, key = filepath.Join(t.TempDir(), "client.pem"), filepath.Join(t.TempDir(), "client.key")
		err = writeCertificate(cert, key, &x509.Certificate{
			Subject: pkix.Name{CommonName: "client"}, URIs: []*url.URL{uri}, NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, &ca)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	cert, key := certificate(t, clients, "spiffe://corp/ci")
	address := freeAddress(t)
	data := filepath.Join(dir, "postern")
	background(t, address, "control", "--data", data, "--control-listen", address,
		"--client-ca", filepath.Join(clients, "ca.pem"), "--client-role", "spiffe://corp/ci=author:orders+viewer")
	t.Setenv(envToken, "")
	t.Setenv(envCA, filepath.Join(data, "ca.pem"))
	call := func(cert, key string, args ...string) (string, error) {
		return runPostern(t.Context(), append(args, "--control", "https://"+address, "--client-cert", cert, "--client-key", key)...)
	}
	out, err := call(cert, key, "token", "whoami")
	if err != nil || out != "spiffe://corp/ci\tcertificate\tauthor:orders, viewer\t\t\t"+strings.TrimSpace(out[strings.LastIndex(out, "\t")+1:])+"\n" {
		t.Errorf("whoami: %q, %v", out, err)
	}
	_, err = call(cert, key, "token", "list")
	wantError(t, err, "it needs one of the roles [admin]")
	other, otherKey := certificate(t, clients, "spiffe://corp/other")
	_, err = call(other, otherKey, "token", "whoami")
	wantError(t, err, "the client certificate is not known here")
	forged, forgedKey := certificate(t, strangers, "spiffe://corp/ci")
	if _, err = call(forged, forgedKey, "token", "whoami"); err == nil {
		t.Error("a certificate of a strange authority is accepted")
	}
	for _, tt := range []struct{ args, want string }{
		{"--client-ca " + filepath.Join(clients, "ca.pem"), "go together"},
		{"--client-role ci=author", "go together"},
		{"--client-ca " + filepath.Join(clients, "ca.pem") + " --client-role ci=approver", "certificates approve nothing"},
		{"--client-ca " + filepath.Join(clients, "ca.pem") + " --client-role ci=king", "unknown role"},
		{"--client-ca " + key + " --client-role ci=author", "holds no PEM certificate"},
	} {
		_, err := runPostern(t.Context(), append([]string{"control", "--data", t.TempDir(), "--control-listen", "127.0.0.1:0"}, strings.Fields(tt.args)...)...)
		wantError(t, err, tt.want)
	}
}
