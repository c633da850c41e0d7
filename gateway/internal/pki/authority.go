// Package pki is the certificates that Postern makes itself, all on P-256: an
// [Authority] that is kept in two files, the short-lived certificates of clients
// ([Authority.IssueClient], [ReadClient]) and those that a gateway logs in
// upstream with ([Authority.IssueUpstream]).
//
// # The certificate of a client
//
// It is what the control plane mints in place of a credential: it lives for
// minutes, may authenticate clients and nothing else, and has two URIs as
// alternative names of its subject (RFC 5280, section 4.2.1.6):
//
//	postern://GATEWAY/SUBJECT              for which gateway, and who
//	data:application/json;base64,CLAIMS    the verified claims that it was minted for (RFC 2397)
//
// CLAIMS are what a credential has as "claims", with the actor's under "act", so
// that an identity's condition matches them however the identity logs in. The
// serial number, in hexadecimal, is the identifier by which it is revoked.
//
// # The certificate for an upstream
//
// Its common name is the role that the gateway logs in as, which is what
// PostgreSQL's "cert" authentication compares; its organisational unit is the
// session.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"time"
)

// backdated is how far the clocks of who signs and who verifies may differ.
const backdated = 5 * time.Minute

// authorityLife is the life of an authority that is made here.
const authorityLife = 10 * 365 * 24 * time.Hour

// Authority signs certificates. It is immutable and safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-backdated), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	return &Authority{cert: cert, key: key}, nil
}

// LoadAuthority reads an authority from two PEM files, and makes it if there
// is neither. The key is then readable for its owner alone.
func LoadAuthority(certFile, keyFile, name string) (*Authority, error) {
	certPEM, certErr := os.ReadFile(certFile)
	keyPEM, keyErr := os.ReadFile(keyFile)
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		return makeAuthority(certFile, keyFile, name)
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, fmt.Errorf("read the %s: %w", name, err)
	}
	a := &Authority{}
	certs, err := ParseCertificates(certPEM)
	if err != nil {
		return nil, fmt.Errorf("read the %s: %s: %w", name, certFile, err)
	}
	a.cert = certs[0]
	block, _ := pem.Decode(keyPEM)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("read the %s: %s holds no PEM PRIVATE KEY", name, keyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the %s: %s: %w", name, keyFile, err)
	}
	var ok bool
	if a.key, ok = key.(*ecdsa.PrivateKey); !ok || a.key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("read the %s: %s holds no key on P-256", name, keyFile)
	}
	if !a.key.PublicKey.Equal(a.cert.PublicKey) {
		return nil, fmt.Errorf("read the %s: the key in %s is not that of the certificate in %s", name, keyFile, certFile)
	}
	if !a.cert.IsCA || a.cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("read the %s: the certificate in %s may not sign others", name, certFile)
	}
	return a, nil
}

func makeAuthority(certFile, keyFile, name string) (*Authority, error) {
	a, err := NewAuthority(name)
	if err != nil {
		return nil, err
	}
	key, err := KeyPEM(a.key)
	if err != nil {
		return nil, fmt.Errorf("make the %s: %w", name, err)
	}
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		return nil, fmt.Errorf("make the %s: %w", name, err)
	}
	if err := os.WriteFile(certFile, a.PEM(), 0o644); err != nil {
		return nil, fmt.Errorf("make the %s: %w", name, err)
	}
	return a, nil
}

// Certificate returns the authority's own certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// PEM returns the authority's own certificate, which others are to trust.
func (a *Authority) PEM() []byte { return certificatePEM(a.cert.Raw) }

// sign issues a certificate that may authenticate a client until the end of a
// life, and no longer than the authority's own.
func (a *Authority) sign(template *x509.Certificate, public any, now time.Time, life time.Duration) ([]byte, error) {
	template.SerialNumber = serial()
	template.NotBefore, template.NotAfter = now.Add(-backdated), now.Add(life)
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	template.BasicConstraintsValid = true
	if template.NotAfter.After(a.cert.NotAfter) {
		return nil, fmt.Errorf("issue a certificate: the authority %q itself ends at %s", a.cert.Subject.CommonName, a.cert.NotAfter.UTC().Format(time.RFC3339))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate: %w", err)
	}
	return der, nil
}

// serial is unguessable and positive, of 16 bytes.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}

// KeyPEM encodes a private key as PKCS #8.
func KeyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// ParseCertificates reads the certificates of a PEM text, at least one.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read a certificate: %w", err)
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		return nil, errors.New("it holds no PEM CERTIFICATE")
	}
	return out, nil
}
