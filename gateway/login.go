package gateway

import (
	"context"
	"errors"
	"log/slog"

	"github.com/posternhq/postern/gateway/accept"
	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/internal/pki"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/livepolicy"
)

// Startup options that are the gateway's own. They are never passed on.
const (
	optionAuth  = "postern.auth"  // the way to log in that the client asks for
	optionGrant = "postern.grant" // the grant of a SCRAM secret
)

// Login says how clients log in.
type Login struct {
	Methods     authenticate.Methods
	OAuthIssuer string // name of the issuer that OAUTHBEARER clients are sent to; the first identity provider's if empty
	OAuthScope  string // that they ask it for; "openid" if empty
}

func (l Login) withDefaults() Login {
	if l.OAuthScope == "" {
		l.OAuthScope = "openid"
	}
	return l
}

// authenticate finds out who the client is. The role that it asks for must be
// the identity's.
func (s *session) authenticate(ctx context.Context, client *accept.Client, policy *livepolicy.Policy) error {
	var err error
	if s.claims, err = s.prove(ctx, client); err != nil {
		return s.loginFailed(ctx, err)
	}
	v, r := s.see(policy)
	if v != nil { // it is known whose token it is, let in or not
		s.view.Store(v)
		s.log = s.log.With(slog.String("session", s.info.ID), slog.String("identity", v.subject.Name))
		s.lookAround(ctx)
	}
	if r != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "login refused", slog.String("code", string(r.Code)), slog.String("method", s.method),
			slog.Any("issuer", s.claims["iss"]), slog.Any("subject", s.claims["sub"]), slog.String("reason", r.Message))
		s.server.cfg.Metrics.Login(s.method, r.Code)
		s.loginRefused(r)
		return r
	}
	s.server.cfg.Metrics.Login(s.method, "")
	return nil
}

// turnAway ends a login that was proven and yet gets no session: the client and
// the evidence are told why.
func (s *session) turnAway(why error) error {
	s.loginRefused(why)
	return refuse(s.client, why)
}

// prove has the client prove who it is, by one method that is chosen before
// anything is asked of it.
func (s *session) prove(ctx context.Context, client *accept.Client) (claims map[string]any, err error) {
	options := startupOptions(client.Startup.Options)
	hints := authenticate.Hints{Option: options[optionAuth]}
	if client.TLS != nil {
		hints.Certificates, hints.ServerName = client.TLS.PeerCertificates, client.TLS.ServerName
	}
	auth := s.server.cfg.Authenticator
	method, claims, err := auth.Choose(s.server.cfg.Login.Methods, hints)
	s.method = string(method)
	if err != nil {
		return nil, err
	}
	switch method {
	case authenticate.MethodCertificate:
		return claims, nil
	case authenticate.MethodOAuthBearer:
		return s.proveByBearer(ctx, client)
	case authenticate.MethodSCRAM:
		return s.proveBySCRAM(ctx, client, options[optionGrant])
	case authenticate.MethodToken:
	}
	token, err := accept.AskPassword(client.Conn)
	if err != nil {
		return nil, err
	}
	if claims, err = auth.Token(ctx, token); err != nil && (len(hints.Certificates) > 0 || token == pki.InPlaceOfPassword) {
		err = authenticate.PassedOver(err)
	}
	return claims, err
}

// proveByBearer is SASL OAUTHBEARER (RFC 7628). A client whose token is refused
// is told where to get one, and acknowledges that, before it is refused.
func (s *session) proveByBearer(ctx context.Context, client *accept.Client) (map[string]any, error) {
	auth, login := s.server.cfg.Authenticator, s.server.cfg.Login
	sasl, err := accept.StartSASL(client.Conn, authenticate.MechanismOAuthBearer)
	if err != nil {
		return nil, err
	}
	if sasl.Initial == nil { // the client waits for an empty challenge (RFC 4422, section 5, item 2)
		if sasl.Initial, err = sasl.Challenge(nil); err != nil {
			return nil, err
		}
	}
	claims, failure := auth.Bearer(ctx, sasl.Initial)
	if failure == nil {
		return claims, nil
	}
	answer, err := sasl.Challenge(auth.BearerChallenge(login.OAuthIssuer, login.OAuthScope))
	switch {
	case errors.Is(err, accept.ErrProbe): // it has what it asked for
	case err != nil:
		return nil, errors.Join(failure, err)
	case string(answer) != authenticate.BearerAcknowledged:
		return nil, refusal.New(refusal.Protocol, "the client did not acknowledge the OAUTHBEARER failure")
	}
	return nil, failure
}

// proveBySCRAM is SASL SCRAM-SHA-256 or SCRAM-SHA-256-PLUS (RFC 7677).
func (s *session) proveBySCRAM(ctx context.Context, client *accept.Client, grant string) (map[string]any, error) {
	proof, err := s.server.cfg.Authenticator.SCRAM(ctx, grant, client.ServerCertificate)
	if err != nil {
		return nil, err
	}
	sasl, err := accept.StartSASL(client.Conn, proof.Mechanisms()...)
	if err != nil {
		return nil, err
	}
	challenge, err := proof.First(sasl.Mechanism, sasl.Initial)
	if err != nil {
		return nil, err
	}
	answer, err := sasl.Challenge(challenge)
	if err != nil {
		return nil, err
	}
	final, claims, err := proof.Last(answer)
	if err != nil {
		return nil, err
	}
	return claims, sasl.Final(final)
}

// loginFailed turns an authenticator's failure into what the client is told,
// and tells the operator precisely why.
func (s *session) loginFailed(ctx context.Context, err error) error {
	var r *refusal.Refusal
	var f *authenticate.Failure
	switch {
	case errors.As(err, &f):
	case errors.As(err, &r), errors.Is(err, accept.ErrProbe):
		return err
	default: // the client left in the middle of it
		s.log.LogAttrs(ctx, slog.LevelInfo, "login not finished", slog.String("method", s.method), slog.Any("error", err))
		return err
	}
	r = refusal.New(refusal.TokenRefused, "%s", f.Public)
	if f.Hint != "" {
		r.Hint = f.Hint
	}
	if s.method == string(authenticate.MethodOAuthBearer) {
		r.SQLSTATE = invalidAuthorization
	}
	if authenticate.IsDiscovery(err) { // what libpq does first; it comes again with a token
		s.log.LogAttrs(ctx, slog.LevelDebug, "a client asked where to get a token")
		return r
	}
	s.server.cfg.Metrics.Login(s.method, refusal.TokenRefused)
	s.log.LogAttrs(ctx, slog.LevelWarn, "login refused", slog.String("code", f.Code), slog.String("method", s.method), slog.String("reason", f.Reason))
	return r
}

// invalidAuthorization is the SQLSTATE with which PostgreSQL refuses an OAuth
// token.
const invalidAuthorization = "28000"
