package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCertificateIsReadAgain replaces a certificate's files, and breaks them,
// while the certificate is served.
func TestCertificateIsReadAgain(t *testing.T) {
	f := &commonFlags{data: t.TempDir(), certFile: filepath.Join(t.TempDir(), "c.pem"), keyFile: filepath.Join(t.TempDir(), "k.pem")}
	write := func(name string) {
		t.Helper()
		template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
		if err := writeCertificate(f.certFile, f.keyFile, template, nil); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	cfg, err := f.serveCertificate(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	served := func() string {
		t.Helper()
		cert, err := cfg.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.Subject.CommonName
	}
	becomes := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); served() != want; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q is served, want %q", served(), want)
			}
		}
	}
	becomes("first")
	write("second")
	becomes("second")
	if err := os.WriteFile(f.certFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(certificateInterval + 100*time.Millisecond)
	becomes("second")
	write("third")
	becomes("third")
}

// TestGeneratedCertificateIsRenewed: the last third of its life need not be a
// start.
func TestGeneratedCertificateIsRenewed(t *testing.T) {
	f := &commonFlags{data: t.TempDir(), hosts: []string{"localhost"}}
	cfg, err := f.serveCertificate(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first, err := cfg.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	old := &x509.Certificate{NotAfter: time.Now().Add(serverLife / 4), DNSNames: f.hosts}
	ca, err := authority(f.data)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeCertificate(f.path("server.pem"), f.path("server.key"), old, &ca); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		now, err := cfg.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		if now.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) != 0 && stillGood(now.Leaf, f.hosts) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it was not renewed")
		}
	}
}
