package control

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/control/internal/store"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
)

// caller is who calls, and as whom it may approve.
type caller struct {
	api.Caller
	voter *store.Voter // nil if it may not approve
}

// gateways returns the gateways whose role the caller has, or for which it has
// another.
func (c *caller) gateways() []string {
	var out []string
	for _, r := range c.Roles {
		if name, ok := r.Gateway(); ok {
			out = append(out, name)
		}
		if _, name, ok := r.Scope(); ok {
			out = append(out, name)
		}
	}
	return out
}

// may reports whether the caller has any of the roles, for all gateways or for
// this one.
func (c *caller) may(gateway string, roles ...api.Role) bool {
	return c.Has(roles...) || c.HasFor(gateway, roles...)
}

// mayAll is may for each of several gateways.
func (c *caller) mayAll(gateways map[string]bool, roles ...api.Role) bool {
	for g := range gateways {
		if !c.may(g, roles...) {
			return false
		}
	}
	return true
}

// readers are the roles that read objects, bundles and releases.
func readers() []api.Role { return []api.Role{api.RoleViewer, api.RoleAuthor, api.RoleAuditor} }

// authenticate says whose token the request carries, or whose certificate the
// connection has shown. A token outweighs a certificate.
func (s *Server) authenticate(r *http.Request) (*caller, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if r.Header.Get("Authorization") == "" && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			return nil, refuse(http.StatusForbidden, api.CodeForbidden, "client certificates are for programs",
				"a browser would show one for any page that asks; sign in at the console instead")
		}
		return s.certificateCaller(r.Context(), r.TLS.VerifiedChains[0][0])
	}
	if !ok || token == "" {
		return nil, refuse(http.StatusUnauthorized, api.CodeUnauthenticated, "a token is needed",
			"send an API token or an OpenID Connect token as Authorization: Bearer TOKEN")
	}
	address := clientAddress(r)
	if wait, ok := s.knocks.take(address, 0); !ok {
		return nil, tooMany(wait)
	}
	var c *caller
	var err error
	if strings.HasPrefix(token, api.TokenPrefix) {
		c, err = s.tokenCaller(r.Context(), token)
	} else {
		c, err = s.subjectCaller(r.Context(), token)
	}
	if errors.Is(err, errBadToken) {
		s.knocks.take(address, 1)
		return nil, refuse(http.StatusUnauthorized, api.CodeUnauthenticated, "the token is not accepted",
			"it may have expired, have been revoked, or be for another control plane; the control plane's log says more")
	}
	return c, err
}

// certificateCaller is whom a verified client certificate names: by its first
// URI, or else its common name.
func (s *Server) certificateCaller(ctx context.Context, cert *x509.Certificate) (*caller, error) {
	name := cert.Subject.CommonName
	if len(cert.URIs) > 0 {
		name = cert.URIs[0].String()
	}
	roles, known := s.config.CertificateRoles[name]
	if !known {
		s.log.LogAttrs(ctx, slog.LevelInfo, "client certificate refused", slog.String("name", name))
		return nil, refuse(http.StatusUnauthorized, api.CodeUnauthenticated, "the client certificate is not known here",
			"the control plane's operator gives certificates roles by name, with --client-role")
	}
	return &caller{Caller: api.Caller{Name: name, Kind: api.CallerCertificate, Roles: roles, Groups: []string{}, Expires: &cert.NotAfter}}, nil
}

var errBadToken = errors.New("the token is not accepted")

func (s *Server) tokenCaller(ctx context.Context, secret string) (*caller, error) {
	hash := hashToken(secret)
	now := s.now()
	t, stored, err := s.store.TokenByHash(ctx, hash, now)
	if errors.Is(err, store.ErrNotFound) || err == nil && subtle.ConstantTimeCompare([]byte(hash), []byte(stored)) != 1 {
		s.log.LogAttrs(ctx, slog.LevelInfo, "API token refused", slog.String("reason", "unknown, expired or revoked"))
		return nil, errBadToken
	}
	if err != nil {
		return nil, fmt.Errorf("look up token: %w", err)
	}
	s.touch(ctx, t, now)
	c := &caller{Caller: api.Caller{Name: t.Name, Kind: api.CallerToken, Roles: t.Roles, Groups: []string{}, Expires: t.ExpiresAt}}
	if t.Subject != "" && hasRole(t.Roles, api.RoleApprover) {
		c.Subject = t.Subject
		c.voter = &store.Voter{Name: t.Subject, Subject: "token:" + t.Subject}
	}
	return c, nil
}

// touch records the token's use, once a minute at most. That it cannot be
// recorded harms nobody.
func (s *Server) touch(ctx context.Context, t api.Token, now time.Time) {
	if t.LastUsedAt != nil && now.Sub(*t.LastUsedAt) < time.Minute {
		return
	}
	if err := s.store.TouchToken(ctx, t.ID, now); err != nil && ctx.Err() == nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "the token's use was not recorded", slog.String("token_id", t.ID), slog.Any("error", err))
	}
}

func (s *Server) subjectCaller(ctx context.Context, token string) (*caller, error) {
	if s.config.Identify == nil {
		s.log.LogAttrs(ctx, slog.LevelInfo, "OpenID Connect token refused", slog.String("reason", "no issuer is known"))
		return nil, errBadToken
	}
	subject, err := s.config.Identify(ctx, token)
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelInfo, "OpenID Connect token refused", slog.Any("reason", err))
		return nil, errBadToken
	}
	c := &caller{Caller: api.Caller{
		Name: subject.Name, Kind: api.CallerSubject, Subject: subject.Name,
		Groups: append([]string{}, subject.Groups...), Roles: s.rolesOf(subject),
	}}
	if !subject.Expires.IsZero() {
		c.Expires = &subject.Expires
	}
	// An agent that acts for somebody approves nothing in their name.
	if subject.Actor == nil {
		c.voter = &store.Voter{Name: subject.Name, Subject: "oidc:" + subject.Issuer + " " + subject.ID}
	}
	return c, nil
}

func (s *Server) rolesOf(subject *policylang.Subject) []api.Role {
	roles := []api.Role{}
	if subject.Actor != nil {
		return roles
	}
	for _, g := range subject.Groups {
		roles = append(roles, s.config.GroupRoles[g]...)
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

func hasRole(roles []api.Role, want api.Role) bool { return slices.Contains(roles, want) }

// hashToken returns what is stored of a token. A token is 32 random bytes, so
// that one fast hash hides it.
func hashToken(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func newTokenSecret() (string, error) {
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	return api.TokenPrefix + base64.RawURLEncoding.EncodeToString(raw), nil
}

// newID returns a prefix and 16 random hexadecimal digits.
func newID(prefix string) (string, error) {
	raw := make([]byte, 8)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("make id: %w", err)
	}
	return prefix + hex.EncodeToString(raw), nil
}

func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
