package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/control"
	"github.com/posternhq/postern/gateway/control/signin"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/internal/pki"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/policylang"
)

// openSignIn makes the part of the control plane that mints credentials.
func (p *controlPlane) openSignIn(common *commonFlags) error {
	key, err := signin.LoadKey(common.path("credentials.key"))
	if err != nil {
		return err
	}
	p.clientCA, err = pki.LoadAuthority(common.path("client-ca.pem"), common.path("client-ca.key"), "postern client authority")
	if err != nil {
		return err
	}
	p.signIn, err = signin.New(signin.Config{
		URL: p.url(), Key: key, ClientCA: p.clientCA, Logger: p.log, Once: p.server.Once(), Revoke: p.server.Revoke,
		Gateways: func() []signin.Gateway { return p.gateways() },
		Record: func(ctx context.Context, m signin.Minted) error {
			return p.audit(ctx, control.Event{Time: time.Now(), Caller: caller(m), Action: "credential.mint", Target: m.ID, Gateway: m.Gateway})
		},
	})
	return err
}

// caller names both an agent and whom it acts for.
func caller(m signin.Minted) string {
	if m.Actor == "" {
		return m.Subject
	}
	return m.Actor + " for " + m.Subject
}

// identifyLogin says who a token's owner is, and knows the logins that the
// control plane gave itself.
func (p *controlPlane) identifyLogin(ctx context.Context, token string) (*policylang.Subject, error) {
	var errs []error
	for _, g := range p.gateways() {
		claims, own, err := p.signIn.LoginClaims(token, g.Issuers)
		if !own {
			break
		}
		var subject *policylang.Subject
		if err == nil {
			subject, err = g.Identify(claims)
		}
		if err == nil {
			return subject, nil
		}
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p.identify(ctx, token)
}

// signInGateway is a gateway as its live policy has it. Without a policy nobody
// signs in.
func (f *controlPlaneFlags) signInGateway(name, address string, auth *authenticate.Authenticator, live *livepolicy.Live) signin.Gateway {
	g := signin.Gateway{Name: name, Address: firstOf(f.addresses[name], address), Verify: auth.Token, VerifyLogout: auth.Logout}
	g.Identify = func(claims map[string]any) (*policylang.Subject, error) {
		now := live.Current()
		if now == nil {
			return nil, errors.New("no policy is live that says who people are")
		}
		return now.Program.Identify(claims, time.Now())
	}
	now := live.Current()
	if now == nil {
		return g
	}
	for _, issuer := range now.Program.Gateway().Issuers {
		if issuer.Name != api.CredentialIssuer && (len(f.signInAt) == 0 || slices.Contains(f.signInAt, issuer.Name)) {
			g.Issuers = append(g.Issuers, issuer)
		}
	}
	return g
}

// controlTransport reaches issuers as usual, but the control plane, which is
// one of them, by a transport of its own.
type controlTransport struct {
	scheme, host string
	control      http.RoundTripper
	others       http.RoundTripper
}

// newControlTransport returns the transport for a control plane at base.
func newControlTransport(base string, control http.RoundTripper) (http.RoundTripper, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	return &controlTransport{scheme: u.Scheme, host: u.Host, control: control, others: issuerTransport(nil)}, nil
}

// RoundTrip sends the request to where it belongs.
func (t *controlTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == t.scheme && r.URL.Host == t.host {
		return t.control.RoundTrip(r)
	}
	return t.others.RoundTrip(r)
}

// issuerTransport reaches issuers. One is asked once in ten minutes, so that no
// connection waits for the next time.
func issuerTransport(roots *x509.CertPool) http.RoundTripper {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
}

// keysInProcess is how a gateway reads the keys of the control plane in the
// same process.
func (p *controlPlane) keysInProcess() (http.RoundTripper, error) {
	return newControlTransport(p.url(), controlclient.InProcess(p.signIn.Handler()))
}

// keysByNetwork is how a gateway reads the keys of a control plane elsewhere,
// whose certificate may have an authority of its own.
func (f *controlFlags) keysByNetwork() (http.RoundTripper, error) {
	roots, err := f.roots()
	if err != nil {
		return nil, err
	}
	return newControlTransport(firstOf(f.url, os.Getenv(envControl)), issuerTransport(roots))
}
