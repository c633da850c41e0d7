package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// InPlaceOfPassword is what postern's own client sends that has a certificate, if
// it is asked for a password: the gateway then knows why there is none.
const InPlaceOfPassword = "the-client-certificate-is-the-proof"

// scheme is that of the URI with the gateway and the subject.
const scheme = "postern"

// claimsPrefix begins the URI with the claims.
const claimsPrefix = "data:application/json;base64,"

// maxClaims bounds the claims in a certificate, in bytes of JSON. A client's
// certificate travels in each handshake.
const maxClaims = 16 << 10

// Client is what a client's certificate says.
type Client struct {
	Gateway string          // for which it was minted
	Subject string          // the subject's name at that time
	Claims  json.RawMessage // an object
	ID      string          // its serial number; set by [ReadClient]
	Expires time.Time
}

// NewRequest makes a key, and a request for a certificate of it in PEM. What
// the certificate says is for who signs it to decide.
func NewRequest() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate request: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// ErrRequest is a certificate request that is not one for a key on P-256, or
// that its key has not signed.
var ErrRequest = errors.New("not a certificate request in PEM that is signed by its own key on P-256")

// IssueClient signs a client's certificate for the key of a request, of which
// nothing else is used, and returns it in PEM with its identifier.
func (a *Authority) IssueClient(request []byte, c Client, now time.Time) (certificate []byte, id string, err error) {
	block, rest := pem.Decode(request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || strings.TrimSpace(string(rest)) != "" {
		return nil, "", ErrRequest
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || r.CheckSignature() != nil {
		return nil, "", ErrRequest
	}
	if key, ok := r.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, "", ErrRequest
	}
	if len(c.Claims) > maxClaims {
		return nil, "", fmt.Errorf("issue a client's certificate: the claims have %d bytes, at most %d go into a certificate", len(c.Claims), maxClaims)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: shortened(c.Subject)},
		URIs: []*url.URL{
			{Scheme: scheme, Host: c.Gateway, Path: "/" + c.Subject},
			{Scheme: "data", Opaque: strings.TrimPrefix(claimsPrefix, "data:") + base64.StdEncoding.EncodeToString(c.Claims)},
		},
	}
	der, err := a.sign(template, r.PublicKey, now, c.Expires.Sub(now))
	if err != nil {
		return nil, "", err
	}
	return certificatePEM(der), idOf(template), nil
}

// shortened cuts a name to the 64 characters that a common name may have. It
// is for people to read: the URI has the whole.
func shortened(name string) string {
	const most = 64
	if runes := []rune(name); len(runes) > most {
		return string(runes[:most])
	}
	return name
}

func idOf(cert *x509.Certificate) string { return fmt.Sprintf("%x", cert.SerialNumber) }

// ErrNotClient is a certificate that no control plane minted for a client.
var ErrNotClient = errors.New("not a client's certificate of a control plane")

// ReadClient reads what a client's certificate says. It verifies neither the
// certificate nor that its claims are JSON.
func ReadClient(cert *x509.Certificate) (Client, error) {
	if len(cert.URIs) != 2 || cert.IsCA {
		return Client{}, ErrNotClient
	}
	who, data := cert.URIs[0], cert.URIs[1]
	subject, rooted := strings.CutPrefix(who.Path, "/")
	encoded, claimed := strings.CutPrefix("data:"+data.Opaque, claimsPrefix)
	if who.Scheme != scheme || who.Host == "" || !rooted || subject == "" || who.User != nil || who.RawQuery != "" || who.Fragment != "" ||
		data.Scheme != "data" || !claimed {
		return Client{}, ErrNotClient
	}
	text, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(text) > maxClaims {
		return Client{}, ErrNotClient
	}
	return Client{Gateway: who.Host, Subject: subject, Claims: text, ID: idOf(cert), Expires: cert.NotAfter}, nil
}
