package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"
)

// maxCommonName is the longest common name, RFC 5280's ub-common-name. A role
// has 63 bytes at most.
const maxCommonName = 64

// IssueUpstream makes a key and a certificate with which a role logs in
// upstream, for a session.
func (a *Authority) IssueUpstream(role, session string, now time.Time, life time.Duration) (tls.Certificate, error) {
	if role == "" || len(role) > maxCommonName {
		return tls.Certificate{}, errors.New("issue a certificate: the role's name is empty or too long")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issue a certificate: %w", err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: role, OrganizationalUnit: []string{session}}}
	der, err := a.sign(template, key.Public(), now, life)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
