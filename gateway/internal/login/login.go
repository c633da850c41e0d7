// Package login is how a person's command line signs in: at an identity
// provider, by the authorization code flow with PKCE on a loopback address
// (RFC 8252, RFC 7636) or by the device flow (RFC 8628), and then, for each
// connection, at the control plane, which exchanges the login for a
// short-lived credential (RFC 8693).
//
//	provider, err := login.Discover(ctx, issuer, httpClient)
//	l, err := provider.Browser(ctx, login.BrowserConfig{Open: open})
//	err = login.DefaultStore().Save(l)
//	granted, err := login.Exchange(ctx, controlURL, gateway, l.IDToken, "", httpClient)
//
// Errors never hold a token.
package login

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/posternhq/postern/gateway/internal/api"
)

// Login is what somebody has after signing in. Its tokens are secrets.
type Login struct {
	Control  string           `json:"control"`      // URL of the control plane
	CA       string           `json:"ca,omitempty"` // PEM file of its authorities
	Issuer   api.SignInIssuer `json:"issuer"`
	Gateway  string           `json:"gateway,omitempty"` // used unless another is named
	Subject  string           `json:"subject,omitempty"` // of the ID token
	IDToken  string           `json:"id_token"`
	Refresh  string           `json:"refresh_token,omitempty"`
	Expires  time.Time        `json:"expires_at"` // the ID token's
	SignedIn time.Time        `json:"signed_in_at"`
}

// ErrExpired says that a login is over and cannot be renewed.
var ErrExpired = errors.New("the login has expired; run: postern login")

// renewBefore is how long before its end an ID token is replaced, so that it
// is good for what it is got for.
const renewBefore = time.Minute

// Provider is an identity provider that was discovered.
type Provider struct {
	issuer   api.SignInIssuer
	config   oauth2.Config
	verifier *goidc.IDTokenVerifier
	client   *http.Client
	iss      bool // its authorization responses name it (RFC 9207)
}

// Discover asks an issuer where its endpoints are. Plain HTTP is for this
// machine alone.
func Discover(ctx context.Context, issuer api.SignInIssuer, client *http.Client) (*Provider, error) {
	u, err := url.Parse(issuer.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, fmt.Errorf("sign in: the issuer %q is not at an https:// URL", issuer.URL)
	}
	ctx = goidc.ClientContext(ctx, client)
	found, err := goidc.NewProvider(ctx, issuer.URL)
	if err != nil {
		return nil, fmt.Errorf("sign in: discover the issuer %s: %w", issuer.URL, err)
	}
	var more struct {
		Iss    bool     `json:"authorization_response_iss_parameter_supported"`
		Scopes []string `json:"scopes_supported"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, fmt.Errorf("sign in: read what the issuer %s supports: %w", issuer.URL, err)
	}
	scopes := []string{goidc.ScopeOpenID}
	for _, s := range more.Scopes {
		switch s {
		case "profile", "email", "groups", goidc.ScopeOfflineAccess:
			scopes = append(scopes, s)
		}
	}
	return &Provider{
		issuer: issuer, client: client, iss: more.Iss,
		config:   oauth2.Config{ClientID: issuer.ClientID, Endpoint: found.Endpoint(), Scopes: scopes},
		verifier: found.VerifierContext(ctx, &goidc.Config{ClientID: issuer.ClientID}),
	}, nil
}

func isLoopback(host string) bool { return host == "127.0.0.1" || host == "::1" || host == "localhost" }

// Device signs in by the device flow: show is told what a person must enter,
// and where, on any device.
func (p *Provider) Device(ctx context.Context, show func(*oauth2.DeviceAuthResponse)) (*Login, error) {
	if p.config.Endpoint.DeviceAuthURL == "" {
		return nil, fmt.Errorf("sign in: the issuer %s has no device flow; sign in where there is a browser", p.issuer.URL)
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, p.client)
	asked, err := p.config.DeviceAuth(ctx)
	if err != nil {
		return nil, p.failed(err)
	}
	show(asked)
	token, err := p.config.DeviceAccessToken(ctx, asked)
	if err != nil {
		return nil, p.failed(err)
	}
	return p.login(ctx, token, "")
}

// Renew returns a login whose ID token is good for a while: l itself, or one
// that the refresh token was exchanged for. ErrExpired says that only signing
// in again helps.
func Renew(ctx context.Context, l *Login, now time.Time, client *http.Client) (*Login, error) {
	if now.Add(renewBefore).Before(l.Expires) {
		return l, nil
	}
	if l.Refresh == "" {
		if now.Before(l.Expires) {
			return l, nil
		}
		return nil, ErrExpired
	}
	p, err := Discover(ctx, l.Issuer, client)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, client)
	token, err := p.config.TokenSource(ctx, &oauth2.Token{RefreshToken: l.Refresh}).Token()
	if err != nil {
		var refused *oauth2.RetrieveError
		if errors.As(err, &refused) && refused.ErrorCode == "invalid_grant" {
			return nil, ErrExpired
		}
		return nil, p.failed(err)
	}
	fresh, err := p.login(ctx, token, "")
	if err != nil {
		return nil, err
	}
	if l.Subject != "" && fresh.Subject != l.Subject { // OpenID Connect Core 1.0, section 12.2
		return nil, fmt.Errorf("sign in: the issuer %s renewed the login as that of somebody else; run: postern login", l.Issuer.URL)
	}
	fresh.Control, fresh.CA, fresh.Gateway, fresh.SignedIn = l.Control, l.CA, l.Gateway, l.SignedIn
	if fresh.Refresh == "" {
		fresh.Refresh = l.Refresh
	}
	return fresh, nil
}

// login makes a login of an issuer's answer.
func (p *Provider) login(ctx context.Context, token *oauth2.Token, nonce string) (*Login, error) {
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return nil, fmt.Errorf("sign in: the issuer %s gave no ID token", p.issuer.URL)
	}
	verified, err := p.verifier.Verify(goidc.ClientContext(ctx, p.client), raw)
	if err != nil {
		return nil, fmt.Errorf("sign in: the ID token of %s does not verify", p.issuer.URL)
	}
	if verified.Nonce != nonce && nonce != "" {
		return nil, fmt.Errorf("sign in: the ID token of %s is not the one that was asked for", p.issuer.URL)
	}
	return &Login{Issuer: p.issuer, Subject: verified.Subject, IDToken: raw, Refresh: token.RefreshToken, Expires: verified.Expiry, SignedIn: time.Now()}, nil
}

// failed says what an issuer refused, without what it was sent.
func (p *Provider) failed(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return fmt.Errorf("sign in at %s: %w", p.issuer.URL, err)
	}
	switch refused.ErrorCode {
	case "access_denied":
		return fmt.Errorf("sign in at %s: it was refused there", p.issuer.URL)
	case "expired_token":
		return fmt.Errorf("sign in at %s: the code was not entered in time; run it again", p.issuer.URL)
	case "":
		return fmt.Errorf("sign in at %s: it answered with status %d", p.issuer.URL, refused.Response.StatusCode)
	}
	return fmt.Errorf("sign in at %s: it refused: %s %s", p.issuer.URL, refused.ErrorCode, refused.ErrorDescription)
}

// SignIn asks the control plane where to sign in.
func SignIn(ctx context.Context, control string, client *http.Client) (*api.SignIn, error) {
	var out api.SignIn
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(control, "/")+"/oauth/sign-in", nil)
	if err != nil {
		return nil, fmt.Errorf("control plane %s: %w", control, err)
	}
	return &out, do(control, request, client, &out)
}

// Exchange turns a login into a credential for a gateway. With the token of an
// agent as actor the credential is for the agent on behalf of the subject.
func Exchange(ctx context.Context, control, gateway, subject, actor string, client *http.Client) (*api.TokenGranted, error) {
	return exchange(ctx, control, exchangeForm(gateway, subject, actor), client)
}

func exchangeForm(gateway, subject, actor string) url.Values {
	form := url.Values{
		"grant_type": {api.GrantTokenExchange}, "audience": {gateway},
		"subject_token": {subject}, "subject_token_type": {api.TokenTypeID},
	}
	if actor != "" {
		form.Set("actor_token", actor)
		form.Set("actor_token_type", api.TokenTypeJWT)
	}
	return form
}

func exchange(ctx context.Context, control string, form url.Values, client *http.Client) (*api.TokenGranted, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(control, "/")+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("control plane %s: %w", control, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var out api.TokenGranted
	return &out, do(control, request, client, &out)
}

// do reads an answer into out, or the refusal.
func do(control string, request *http.Request, client *http.Client, out any) error {
	response, err := client.Do(request)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) {
			return fmt.Errorf("control plane %s: its certificate is not trusted: name its authority with --ca or POSTERN_CA_FILE", control)
		}
		return fmt.Errorf("control plane %s: %w", control, err)
	}
	defer func() { _ = response.Body.Close() }()
	body := http.MaxBytesReader(nil, response.Body, 1<<20)
	if response.StatusCode != http.StatusOK {
		var refused api.OAuthError
		if json.NewDecoder(body).Decode(&refused) != nil || refused.Code == "" {
			return fmt.Errorf("control plane %s: the answer is %s; is this the URL of a Postern control plane?", control, response.Status)
		}
		return fmt.Errorf("control plane %s: %w", control, &refused)
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("control plane %s: the answer cannot be read; is this the URL of a Postern control plane?", control)
	}
	return nil
}
