// Package demoissuer is an OpenID Connect issuer for the demo and for tests,
// and for nothing else: whoever can reach it and knows its secret becomes
// anybody. It speaks plain HTTP and refuses to listen on anything but
// 127.0.0.1 or ::1, and a gateway accepts such an issuer only when it was told
// to allow plain HTTP on loopback.
//
// Tests call [Start] and then [Issuer.Issue] for a token with any claims. The
// demo's other processes get a token for one of [Config].Users from the token
// endpoint:
//
//	curl -s -H "Authorization: Bearer $SECRET" -H "Accept: text/plain" -d user=ana $ISSUER/token
//
// It serves
//
//	GET  /.well-known/openid-configuration   the discovery document
//	GET  /jwks                               the public keys
//	GET  /authorize                          authorization code with PKCE, for the client "postern"
//	POST /device_authorization, /device      device flow: for the device, for the person
//	POST /token                              OAuth's grants; or user=NAME, guarded by the secret
//
// Signing in takes the secret too: in the form, or as Authorization: Bearer
// with login_hint, for programs that stand for a person's browser.
//
// An Issuer is safe for concurrent use. Keys live in memory alone.
package demoissuer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Config says what the issuer is. The zero Config listens on a free port of
// 127.0.0.1, signs with ES256 and knows no user.
type Config struct {
	Addr      string                    // loopback IP address and port; "127.0.0.1:0" if empty
	Algorithm string                    // "ES256" (if empty) or "RS256"
	Users     map[string]map[string]any // for the token endpoint: user name to claims; "sub" is the name if absent
	TokenTTL  time.Duration             // of the token endpoint's tokens; 15 minutes if zero
	Clock     func() time.Time          // time.Now if nil
}

// Issuer is a running issuer. The caller closes it.
type Issuer struct {
	url       string
	secret    string
	algorithm jose.SignatureAlgorithm
	users     map[string]map[string]any
	tokenTTL  time.Duration
	clock     func() time.Time

	server *http.Server
	served chan struct{} // closed when the serve loop has ended

	mu     sync.Mutex
	keys   []signingKey // guarded by mu; published, the last one signs
	grants grants       // guarded by mu
}

// Start listens and serves until [Issuer.Close]. An address that is not a
// literal loopback address is refused.
func Start(cfg Config) (*Issuer, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	addr, err := netip.ParseAddrPort(cfg.Addr)
	if err != nil || !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("start demo issuer: %q is not a loopback IP address and port", cfg.Addr)
	}
	listener, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("start demo issuer: %w", err)
	}
	i, err := newIssuer(cfg, "http://"+listener.Addr().String())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	i.server = &http.Server{Handler: i.handler(), ReadHeaderTimeout: 5 * time.Second}
	go i.serveLoop(listener)
	return i, nil
}

func newIssuer(cfg Config, url string) (*Issuer, error) {
	i := &Issuer{
		grants: newGrants(),
		url:    url, secret: rand.Text(), users: cfg.Users,
		algorithm: jose.SignatureAlgorithm(cfg.Algorithm),
		tokenTTL:  cfg.TokenTTL, clock: cfg.Clock, served: make(chan struct{}),
	}
	if i.algorithm == "" {
		i.algorithm = jose.ES256
	}
	if i.tokenTTL == 0 {
		i.tokenTTL = 15 * time.Minute
	}
	if i.clock == nil {
		i.clock = time.Now
	}
	key, err := newSigningKey(i.algorithm)
	if err != nil {
		return nil, fmt.Errorf("start demo issuer: %w", err)
	}
	i.keys = []signingKey{key}
	return i, nil
}

func (i *Issuer) serveLoop(listener net.Listener) {
	defer close(i.served)
	_ = i.server.Serve(listener) // ends with http.ErrServerClosed when closed
}

// URL returns the issuer's URL, the "iss" of its tokens.
func (i *Issuer) URL() string { return i.url }

// Secret returns what the token endpoint asks for, made anew by each Start.
func (i *Issuer) Secret() string { return i.secret }

// Close stops the server and waits until it has ended.
func (i *Issuer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := i.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = i.server.Close()
	}
	<-i.served
	return err
}
