package authenticate

import (
	"crypto/x509"
	"errors"

	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/gateway/internal/pki"
)

// errForeign is a certificate of somebody else's authority. It proves nothing
// here, and is no reason to refuse its owner: libpq sends what it finds in
// ~/.postgresql to every server that asks.
var errForeign = errors.New("the certificate is not of the control plane's authority")

// Certificate returns the claims of a client's certificate, which comes first
// in chain and whose key the client has proven to have. An error is errForeign
// or a [*Failure].
func (a *Authenticator) Certificate(chain []*x509.Certificate) (map[string]any, error) {
	leaf := chain[0]
	if !a.ours(leaf) {
		return nil, errForeign
	}
	roots := x509.NewCertPool()
	for _, ca := range a.clientCAs {
		roots.AddCert(ca)
	}
	now := a.clock()
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(leaf.NotBefore):
		return nil, refuseCertificate("certificate_not_yet_valid", "the client certificate is not valid yet", "compare this machine's clock with the control plane's", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return nil, refuseCertificate("certificate_expired", "the client certificate has expired", "run: postern token --certificate", err)
	case err != nil:
		return nil, refuseCertificate("certificate_invalid", "the client certificate is not accepted", "run: postern token --certificate", err)
	}
	client, err := pki.ReadClient(leaf)
	if err != nil {
		return nil, refuseCertificate("certificate_invalid", "the client certificate does not say who you are", "run: postern token --certificate", err)
	}
	claims, err := a.tokens.Vouched(oidc.Statement{Audience: client.Gateway, Claims: client.Claims, ID: client.ID, Expires: client.Expires})
	if err != nil {
		f := failureOf(err)
		f.Public, f.Reason = "the client certificate is not accepted here", "the client certificate "+client.ID+": "+f.Reason
		return nil, f
	}
	return claims, nil
}

// PassedOver is how a client fails that has a certificate of an authority that is
// not known here, or that was not asked for because none is, and a password that
// is not even a token: it expected to be let in by the certificate. Other
// failures stay what they are.
func PassedOver(err error) error {
	var f *Failure
	if !errors.As(err, &f) || f.Code != string(oidc.CodeMalformed) {
		return err
	}
	return &Failure{
		Code: "certificate_foreign", Public: "the client certificate is of no authority that this gateway knows, and the password is not a token",
		Hint:   "tell the owner of the gateway, which --login-ca names that authority to; or log in with a token: run postern psql without --with",
		Reason: "the client certificate is of no authority that --login-ca names, and the password is not a token", Err: err,
	}
}

// ours reports whether one of the authorities has signed a certificate, be it
// good or not.
func (a *Authenticator) ours(leaf *x509.Certificate) bool {
	for _, ca := range a.clientCAs {
		if leaf.CheckSignatureFrom(ca) == nil {
			return true
		}
	}
	return false
}

func refuseCertificate(code, public, hint string, err error) *Failure {
	return &Failure{Code: code, Public: public, Hint: hint, Reason: err.Error(), Err: err}
}
