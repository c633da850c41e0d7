package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/pki"
	"github.com/posternhq/postern/policylang"
)

// maxForm bounds a request: two tokens of 64 KiB, percent-encoded.
const maxForm = 512 << 10

// problem is a refusal as RFC 6749, section 5.2, has it. Its cause is for the
// operator's log alone.
type problem struct {
	status int
	code   string
	text   string // for the caller
	hint   string
	cause  error
}

func (p *problem) Error() string { return p.code + ": " + p.text }

func invalidRequest(format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, code: "invalid_request", text: fmt.Sprintf(format, args...)}
}

func invalidGrant(text, hint string, cause error) *problem {
	return &problem{status: http.StatusBadRequest, code: "invalid_grant", text: text, hint: hint, cause: cause}
}

const hintLogin = "run: postern login"

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	granted, refused := s.grantOf(r)
	if refused == nil {
		answer(w, http.StatusOK, granted)
		return
	}
	level := slog.LevelWarn
	if refused.status >= 500 {
		level = slog.LevelError
	}
	s.log.LogAttrs(r.Context(), level, "no token is given", slog.String("code", refused.code), slog.String("reason", refused.text),
		slog.Any("cause", refused.cause), slog.String("client_addr", r.RemoteAddr))
	answer(w, refused.status, api.OAuthError{Code: refused.code, Description: refused.text, Hint: refused.hint})
}

// grantOf gives what the form asks for.
func (s *Server) grantOf(r *http.Request) (any, *problem) {
	if err := r.ParseForm(); err != nil {
		return nil, invalidRequest("the body cannot be read")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return nil, invalidRequest("%.40q is given twice", name)
		}
	}
	switch r.PostForm.Get("grant_type") {
	case api.GrantTokenExchange:
		granted, refused := s.exchange(r)
		return granted, refused
	case api.GrantCode:
		granted, refused := s.redeem(r, r.PostForm)
		return granted, refused
	}
	return nil, &problem{
		status: http.StatusBadRequest, code: "unsupported_grant_type",
		text: "grant_type must be " + api.GrantTokenExchange + " or " + api.GrantCode,
	}
}

// request is what an exchange asks for.
type request struct {
	gateway Gateway
	subject string // tokens
	actor   string
	proof   proof
}

func (s *Server) exchange(r *http.Request) (*api.TokenGranted, *problem) {
	in, refused := s.readRequest(r.PostForm)
	if refused != nil {
		return nil, refused
	}
	claims, ends, err := s.subjectClaims(r.Context(), in)
	if err != nil {
		return nil, invalidGrant("the subject token is not accepted", "it may have expired, or be for somebody else; "+hintLogin, err)
	}
	if _, delegated := claims["act"]; delegated {
		return nil, invalidGrant("the subject token is an agent's that acts for somebody", "exchange the person's own token, and give the agent's as actor_token", nil)
	}
	claims = lean(claims)
	if in.actor != "" {
		actor, err := in.gateway.Verify(r.Context(), in.actor)
		if err != nil {
			return nil, invalidGrant("the actor token is not accepted", "give the agent a fresh token of its own", err)
		}
		if _, delegated := actor["act"]; delegated {
			return nil, invalidGrant("the actor token is an agent's that acts for somebody", "an agent acts with a token of its own", nil)
		}
		claims["act"] = lean(actor)
	}
	subject, err := in.gateway.Identify(claims)
	if err != nil {
		if in.actor != "" {
			return nil, invalidGrant("no identity of the gateway's policy matches the subject, or none of kind agent the actor", "ask the owner of the policy to add them", err)
		}
		return nil, invalidGrant("no identity of the gateway's policy matches", "ask the owner of the policy to add you", err)
	}
	return s.grant(r, &in, claims, subject, ends)
}

// subjectClaims verifies the subject's token. A login that the control plane
// gave has an end that no credential outlives.
func (s *Server) subjectClaims(ctx context.Context, in request) (claims map[string]any, ends time.Time, err error) {
	if unverifiedIssuer(in.subject) == s.config.URL {
		l, err := s.loginFor(in.subject, in.gateway.Issuers)
		if err != nil {
			return nil, time.Time{}, err
		}
		return l.Claims, time.Unix(l.Expires, 0), nil
	}
	claims, err = in.gateway.Verify(ctx, in.subject)
	return claims, time.Time{}, err
}

func (s *Server) readRequest(form url.Values) (request, *problem) {
	in := request{subject: form.Get("subject_token"), actor: form.Get("actor_token")}
	var refused *problem
	if in.proof, refused = s.readProof(form); refused != nil {
		return request{}, refused
	}
	if in.subject == "" || !isTokenType(form.Get("subject_token_type")) {
		return request{}, invalidRequest("subject_token and subject_token_type are needed; the type is %s or %s", api.TokenTypeID, api.TokenTypeJWT)
	}
	if (in.actor != "") != isTokenType(form.Get("actor_token_type")) {
		return request{}, invalidRequest("actor_token and actor_token_type need each other")
	}
	gateways := s.config.Gateways()
	n := slices.IndexFunc(gateways, func(g Gateway) bool { return g.Name == form.Get("audience") })
	if n < 0 {
		return request{}, &problem{
			status: http.StatusBadRequest, code: "invalid_target",
			text: "audience names no gateway that this control plane knows", hint: "there is " + namesOf(gateways),
		}
	}
	in.gateway = gateways[n]
	for _, token := range []string{in.subject, in.actor} {
		if isCredential(token) {
			return request{}, invalidGrant("a credential is not exchanged for another one", hintLogin, nil)
		}
	}
	return in, nil
}

func isTokenType(t string) bool {
	return t == api.TokenTypeID || t == api.TokenTypeJWT || t == api.TokenTypeAccess
}

// grant mints what is asked for. Unless ends is zero it ends then at the latest.
func (s *Server) grant(r *http.Request, in *request, claims map[string]any, subject *policylang.Subject, ends time.Time) (*api.TokenGranted, *problem) {
	gateway := in.gateway.Name
	life := s.config.Life
	out := &api.TokenGranted{
		IssuedTokenType: in.proof.tokenType, TokenType: in.proof.use(), Subject: subject.Name, Identity: subject.Identity, Kind: subject.Kind,
		DatabaseRole: subject.DatabaseRole, Gateway: gateway, Address: in.gateway.Address,
	}
	m := Minted{Gateway: gateway, Subject: subject.Name}
	if subject.Actor != nil {
		life = min(life, actorLife)
		m.Actor, out.Actor = subject.Actor.Name, subject.Actor.Name
	}
	now := s.now()
	m.Expires = now.Add(life)
	if !ends.IsZero() && ends.Before(m.Expires) {
		m.Expires = ends
	}
	var err error
	out.AccessToken, m.ID, err = s.mint(mintage{gateway: gateway, subject: subject.Name, claims: claims, now: now, expires: m.Expires}, in.proof)
	if errors.Is(err, pki.ErrRequest) {
		return nil, invalidRequest("csr must be a certificate request in PEM, signed by its own key on P-256")
	}
	if err != nil {
		return nil, &problem{status: http.StatusInternalServerError, code: "server_error", text: "the credential could not be made", cause: err}
	}
	if err := s.config.Record(r.Context(), m); err != nil {
		return nil, &problem{
			status: http.StatusServiceUnavailable, code: "temporarily_unavailable",
			text: "no credential is given, because that cannot be recorded", hint: "tell the owner of the control plane; its log says why", cause: err,
		}
	}
	out.ExpiresIn = int64(m.Expires.Sub(now).Seconds())
	return out, nil
}

// lean drops what no identity is matched on and would make a credential long:
// a password in psql's prompt is cut at 4095 bytes.
func lean(claims map[string]any) map[string]any {
	out := make(map[string]any, len(claims))
	for name, value := range claims {
		switch name {
		case "at_hash", "c_hash", "s_hash", "nonce", "exp", "nbf":
		default:
			out[name] = value
		}
	}
	return out
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller has left: nobody to tell
}

// namesOf lists gateways for a person. Their names are what anybody is told who
// asks where to sign in.
func namesOf(gateways []Gateway) string {
	if len(gateways) == 0 {
		return "none with a policy yet"
	}
	names := make([]string, len(gateways))
	for i, g := range gateways {
		names[i] = g.Name
	}
	return strings.Join(names, ", ")
}
