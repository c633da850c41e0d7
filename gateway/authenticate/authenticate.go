// Package authenticate answers who a client is: it turns what the client proves
// itself by into verified claims, which the policy's identities then match. The
// claims have the same shape whatever the method: a token as the password or by
// OAUTHBEARER, a secret by SCRAM, or a client's certificate. A client that can't
// prove itself gets a [*Failure], in two voices: one is safe to send to the client
// and says what to do, the other tells the operator precisely which check failed.
// Neither ever holds the token.
//
//	method, claims, err := authenticator.Choose(methods, hints)
//	…
//	claims, err := authenticator.Token(ctx, password)
//	if failure, ok := errors.AsType[*authenticate.Failure](err); ok {
//		// send failure.Public and failure.Hint, log failure.Code and failure.Reason
//	}
//
// What makes a token valid is said by the package oidc that does the work; the
// form of certificates by the package pki. The messages themselves are read and
// written by others: nothing here touches a connection.
package authenticate

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/policylang"
)

// Config says whose tokens are accepted. Issuers is required.
type Config struct {
	// Issuers returns the issuers of the policy in force. It is called for each
	// login, so that a policy change holds from the next one on.
	Issuers func() []policylang.Issuer

	// ClientCAs are the authorities whose client certificates are accepted: the
	// control plane's. None if empty.
	ClientCAs []*x509.Certificate

	AllowLoopbackHTTP bool              // accept issuers at http://127.0.0.1 and http://[::1]: the demo and tests
	MaxLifetime       time.Duration     // longest life of a token; 24 hours if zero
	Transport         http.RoundTripper // reaches issuers; a plain one with the environment's proxies if nil
	Clock             func() time.Time  // time.Now if nil
	Logger            *slog.Logger      // slog.Default if nil
}

// Authenticator checks credentials. It is safe for concurrent use and needs no
// closing.
type Authenticator struct {
	tokens    *oidc.Verifier
	issuers   func() []policylang.Issuer
	clientCAs []*x509.Certificate
	clock     func() time.Time
}

// New returns an authenticator. It asks no issuer for anything until the first
// token arrives.
func New(cfg Config) *Authenticator {
	a := &Authenticator{issuers: cfg.Issuers, clientCAs: cfg.ClientCAs, clock: cfg.Clock}
	if a.clock == nil {
		a.clock = time.Now
	}
	a.tokens = oidc.NewVerifier(oidc.Config{
		Issuers: cfg.Issuers, AllowLoopbackHTTP: cfg.AllowLoopbackHTTP, MaxLifetime: cfg.MaxLifetime,
		Transport: cfg.Transport, Clock: cfg.Clock, Logger: cfg.Logger,
	})
	return a
}

// ClientCAs returns the authorities that clients are told when they are asked
// for a certificate, nil if none is accepted.
func (a *Authenticator) ClientCAs() *x509.CertPool {
	if len(a.clientCAs) == 0 {
		return nil
	}
	pool := x509.NewCertPool()
	for _, ca := range a.clientCAs {
		pool.AddCert(ca)
	}
	return pool
}

// Token returns the claims of a token that came as a password. Integral
// numbers among them are int64, others float64. An error is a [*Failure].
func (a *Authenticator) Token(ctx context.Context, raw string) (map[string]any, error) {
	claims, err := a.tokens.Verify(ctx, raw)
	if err != nil {
		return nil, failureOf(err)
	}
	return claims, nil
}

// Logout returns what a logout token of an identity provider says. An error is a
// [*Failure].
func (a *Authenticator) Logout(ctx context.Context, raw string) (oidc.Logout, error) {
	out, err := a.tokens.VerifyLogout(ctx, raw)
	if err != nil {
		return oidc.Logout{}, failureOf(err)
	}
	return out, nil
}

// failureOf gives an error of the verifier its public voice.
func failureOf(err error) *Failure {
	refused, ok := errors.AsType[*oidc.Error](err)
	if !ok {
		return &Failure{
			Code: "token_refused", Public: "the token is not accepted", Hint: hintLogin,
			Reason: "the verifier gave no reason", Err: err,
		}
	}
	voice := voiceOf(refused.Code)
	return &Failure{
		Code: string(refused.Code), Public: voice.public, Hint: voice.hint,
		Reason: refused.Detail, Err: err,
	}
}
