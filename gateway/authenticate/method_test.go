package authenticate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/pki"
	"github.com/posternhq/postern/policylang"
)

const corp = "https://login.example.com"

// newAuthenticator accepts certificates of ca under a policy that lets the
// control plane speak for corp.
func newAuthenticator(ca *pki.Authority) *authenticate.Authenticator {
	cfg := authenticate.Config{Issuers: func() []policylang.Issuer {
		return []policylang.Issuer{
			{Name: "corp", URL: corp, Audience: "postern"},
			{Name: api.CredentialIssuer, URL: "https://control.example.com", Audience: "orders"},
		}
	}}
	if ca != nil {
		cfg.ClientCAs = []*x509.Certificate{ca.Certificate()}
	}
	return authenticate.New(cfg)
}

func newAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	ca, err := pki.NewAuthority("clients")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// issue makes a client's certificate that ended, or will end, after life.
func issue(t *testing.T, ca *pki.Authority, gateway, claims string, at time.Time) *x509.Certificate {
	t.Helper()
	_, request, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	c := pki.Client{Gateway: gateway, Subject: "ana", Claims: []byte(claims), Expires: at.Add(10 * time.Minute)}
	text, _, err := ca.IssueClient(request, c, at)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

const anasClaims = `{"iss":"https://login.example.com","sub":"u-17","iat":1700000000,"repository_id":9007199254740993}`

// TestChoose takes a certificate before what the client asks for, that before
// the name it connects to, and that before the listener's default.
func TestChoose(t *testing.T) {
	ca := newAuthority(t)
	ours := []*x509.Certificate{issue(t, ca, "orders", anasClaims, time.Now())}
	foreign := []*x509.Certificate{issue(t, newAuthority(t), "orders", anasClaims, time.Now())}
	listener := authenticate.Methods{
		Default: authenticate.MethodSCRAM, ByServerName: map[string]authenticate.Method{"oauth.example.com": authenticate.MethodOAuthBearer},
	}
	tests := []struct {
		name    string
		methods authenticate.Methods
		hints   authenticate.Hints
		want    authenticate.Method
		code    string
	}{
		{name: "nothing said", want: authenticate.MethodToken},
		{name: "the listener's default", methods: listener, want: authenticate.MethodSCRAM},
		{name: "a name without a method", methods: listener, hints: authenticate.Hints{ServerName: "db.example.com"}, want: authenticate.MethodSCRAM},
		{name: "a name before the default", methods: listener, hints: authenticate.Hints{ServerName: "OAuth.example.com"}, want: authenticate.MethodOAuthBearer},
		{name: "the client before the name", methods: listener, hints: authenticate.Hints{ServerName: "oauth.example.com", Option: "token"}, want: authenticate.MethodToken},
		{name: "a certificate before all", methods: listener, hints: authenticate.Hints{Certificates: ours, ServerName: "oauth.example.com", Option: "token"}, want: authenticate.MethodCertificate},
		{name: "a foreign certificate is passed over", methods: listener, hints: authenticate.Hints{Certificates: foreign, Option: "token"}, want: authenticate.MethodToken},
		{name: "a certificate can't be asked for", hints: authenticate.Hints{Option: "certificate"}, code: "method_unknown"},
		{name: "a method that there is not", hints: authenticate.Hints{Option: "md5"}, code: "method_unknown"},
	}
	authenticator := newAuthenticator(ca)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, claims, err := authenticator.Choose(test.methods, test.hints)
			if test.code != "" {
				_ = wantFailure(t, err, test.code)
				return
			}
			if err != nil || got != test.want || (claims != nil) != (got == authenticate.MethodCertificate) {
				t.Errorf("got %q, claims %v, error %v, want %q", got, claims, err, test.want)
			}
		})
	}
	if got, _, err := newAuthenticator(nil).Choose(listener, authenticate.Hints{Certificates: ours}); got != authenticate.MethodSCRAM || err != nil {
		t.Errorf("without an authority a certificate gives %q, %v", got, err)
	}
}

func wantFailure(t *testing.T, err error, code string) *authenticate.Failure {
	t.Helper()
	var f *authenticate.Failure
	if !errors.As(err, &f) || f.Code != code {
		t.Fatalf("got %v, want the failure %s", err, code)
	}
	if f.Public == "" || f.Reason == "" {
		t.Errorf("got %+v", f)
	}
	return f
}

func TestCertificate(t *testing.T) {
	ca, now := newAuthority(t), time.Now()
	authenticator := newAuthenticator(ca)
	claims, err := authenticator.Certificate([]*x509.Certificate{issue(t, ca, "orders", anasClaims, now)})
	if err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != "u-17" || claims["iss"] != corp || claims["repository_id"] != int64(9007199254740993) {
		t.Errorf("the claims are %v", claims)
	}
	if id, _ := claims["jti"].(string); len(id) != 32 {
		t.Errorf("the identifier is %q, want a serial number", id)
	}
	if expires, _ := claims["exp"].(int64); expires < now.Unix() || expires > now.Add(11*time.Minute).Unix() {
		t.Errorf("it expires at %v", claims["exp"])
	}
	upstream, err := ca.IssueUpstream("ana", "s_1", now, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.ParseCertificate(upstream.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, code string
		cert       *x509.Certificate
	}{
		{"expired", "certificate_expired", issue(t, ca, "orders", anasClaims, now.Add(-time.Hour))},
		{"of tomorrow", "certificate_not_yet_valid", issue(t, ca, "orders", anasClaims, now.Add(24*time.Hour))},
		{"for another gateway", "token_audience", issue(t, ca, "billing", anasClaims, now)},
		{"of an issuer that the policy has not", "token_issuer_unknown", issue(t, ca, "orders", `{"iss":"https://evil.example","sub":"u-17"}`, now)},
		{"speaks for the control plane itself", "token_issuer_unknown", issue(t, ca, "orders", `{"iss":"https://control.example.com","sub":"u-17"}`, now)},
		{"without a subject", "token_malformed", issue(t, ca, "orders", `{"iss":"https://login.example.com"}`, now)},
		{"claims that are no object", "token_malformed", issue(t, ca, "orders", `[]`, now)},
		{"not a client's", "certificate_invalid", other},
		{"for a server", "certificate_invalid", serverCertificate(t)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := authenticator
			if test.name == "for a server" { // it is its own authority
				a = authenticate.New(authenticate.Config{Issuers: func() []policylang.Issuer { return nil }, ClientCAs: []*x509.Certificate{test.cert}})
			}
			got, err := a.Certificate([]*x509.Certificate{test.cert})
			f := wantFailure(t, err, test.code)
			if got != nil {
				t.Errorf("with claims %v", got)
			}
			if strings.Contains(f.Public+f.Hint, corp) || strings.Contains(f.Public+f.Hint, "u-17") {
				t.Errorf("the client is told %q", f.Public)
			}
		})
	}
}

// serverCertificate has everything that a client's has but the purpose.
func serverCertificate(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ana"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Minute),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		URIs: []*url.URL{{Scheme: "postern", Host: "orders", Path: "/ana"}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
