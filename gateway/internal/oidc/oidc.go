// Package oidc verifies OpenID Connect tokens that arrive as credentials: ID
// tokens, JWT access tokens and the workload tokens of GitHub Actions, GitLab
// and Kubernetes. go-oidc checks signature, issuer, audience and expiry; this
// package adds what it leaves out, and its own set of keys.
//
// A [Verifier] is asked with [Verifier.Verify] and answers with the claims or
// with an [*Error], whose Code says which check failed. It accepts a token that
//
//   - is a compact JWS of at most 64 KiB, with one of the asymmetric algorithms
//     of RFC 7518 or EdDSA, of type JWT or at+jwt if it has a type, without
//     critical extensions, and not a security event (RFC 8417);
//   - was signed by a key that its issuer published at the last look;
//   - has an issuer of the list, exactly, and an audience that the list has for
//     that issuer; with more than one audience, "azp" is that audience too;
//   - has "sub", "iat" and "exp": exp is not more than [Leeway] ago, iat and
//     nbf are not more than that ahead, and exp is at most the longest lifetime
//     after iat.
//
// # Credentials
//
// A token of the type postern+jwt is a credential that the control plane minted
// for somebody whose token it had verified. It is accepted of the issuer that
// the policy names "postern", which may send nothing else, with a life of 15
// minutes at most. The answer is then the claims inside it, which must be of an
// issuer that the policy names as well, with the credential's own exp and jti.
// A SAML identity provider of the policy is such an issuer, and no other: none of
// its own tokens are accepted.
//
// # Keys
//
// An issuer is discovered when the first of its tokens arrives. Its keys are
// read again when they are older than ten minutes, so that a key it withdrew is
// distrusted from then on, and once per 30 seconds at most when a token names a
// key that is not known: a flood of bogus tokens does not become a flood of
// requests. All callers share one request. While the issuer can't be reached
// its keys stay trusted for an hour after they were read, and are asked for
// again with growing pauses; then its tokens are refused.
//
// Issuers are read by HTTPS; plain HTTP is accepted for 127.0.0.1 and ::1
// alone, and only when configured. Redirects are refused, and answers of more
// than 1 MiB.
//
// Nothing of a token but its issuer, and what a verified one is meant for, ever
// appears in an error or a log record. A Verifier is safe for concurrent use.
package oidc

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
)

// Leeway is how far the clocks of issuer and gateway may differ.
const Leeway = 30 * time.Second

// defaultMaxLifetime bounds exp - iat where the configuration does not.
const defaultMaxLifetime = 24 * time.Hour

// Config says whose tokens are accepted. Issuers is required.
type Config struct {
	// Issuers returns the issuers of the policy in force. It is called for each
	// token; what was known of an issuer that is gone is forgotten.
	Issuers func() []policylang.Issuer

	AllowLoopbackHTTP bool              // accept http://127.0.0.1 and http://[::1], for the demo and tests
	MaxLifetime       time.Duration     // longest exp - iat; 24 hours if zero
	Transport         http.RoundTripper // reaches issuers; a plain one with the environment's proxies if nil
	Clock             func() time.Time  // time.Now if nil
	Logger            *slog.Logger      // slog.Default if nil
}

// Verifier verifies tokens of the issuers in force.
type Verifier struct {
	issuers     func() []policylang.Issuer
	maxLifetime time.Duration
	fetcher     *fetcher
	clock       func() time.Time
	log         *slog.Logger

	mu   sync.Mutex
	keys map[string]*keySet // guarded by mu; by issuer URL
}

// NewVerifier returns a verifier that knows no keys yet.
func NewVerifier(cfg Config) *Verifier {
	v := &Verifier{
		issuers: cfg.Issuers, maxLifetime: cfg.MaxLifetime, clock: cfg.Clock, log: cfg.Logger,
		fetcher: newFetcher(cfg.Transport, cfg.AllowLoopbackHTTP),
		keys:    make(map[string]*keySet),
	}
	if v.maxLifetime == 0 {
		v.maxLifetime = defaultMaxLifetime
	}
	if v.clock == nil {
		v.clock = time.Now
	}
	if v.log == nil {
		v.log = slog.Default()
	}
	return v
}

// Verify returns the claims of a token, or an [*Error]. Integral numbers among
// the claims are int64, others float64. It waits for the issuer's keys where
// needed, as long as ctx allows.
func (v *Verifier) Verify(ctx context.Context, raw string) (map[string]any, error) {
	claims, err := v.verify(ctx, raw, kindBearer)
	if err != nil {
		if looksCut(raw, err.Code) {
			return nil, refuse(CodeTruncated, "exactly %d bytes long, as psql's prompt cuts a password", psqlPromptLimit)
		}
		return nil, err
	}
	return claims, nil
}

// verify returns the claims of a token of the wanted kind; those that a
// credential was minted for, but a SCRAM grant's own.
func (v *Verifier) verify(ctx context.Context, raw string, want kind) (map[string]any, *Error) {
	token, err := parseEnvelope(raw)
	if err != nil {
		return nil, err
	}
	if (token.kind == kindSCRAM) != (want == kindSCRAM) || token.kind == kindLogout {
		return nil, refuse(CodeTokenType, "the token is of the type %s, which is not wanted here", token.kind)
	}
	issuers := v.issuers()
	audiences, keys := v.lookUp(token.issuer, issuers)
	if keys == nil {
		return nil, refuse(CodeUnknownIssuer, "the issuer %s is not among the policy's", describeIssuer(token.issuer))
	}
	if err := token.checkKind(issuers); err != nil {
		return nil, err
	}
	now := v.clock()
	signed := &signature{token: token, keys: keys}
	idToken := goidc.NewVerifier(token.issuer, signed, &goidc.Config{
		ClientID:             chooseAudience(audiences, token.audience),
		SupportedSigningAlgs: algorithmNames(),
		Now:                  func() time.Time { return now.Add(-Leeway) },
	})
	_, refused := idToken.Verify(ctx, raw)
	if signed.failed != nil {
		return nil, signed.failed
	}
	if signed.payload == nil {
		return nil, refuse(CodeMalformed, "the token is not a signed JWT")
	}
	claims, err := readClaims(signed.payload)
	if err != nil {
		return nil, err
	}
	expected := expectation{issuer: token.issuer, audiences: audiences, now: now, maxLifetime: v.maxLifetime}
	if token.kind != kindBearer {
		expected.maxLifetime = min(v.maxLifetime, api.MaxCredentialLife)
	}
	if err := expected.check(claims); err != nil {
		return nil, err
	}
	if refused != nil { // stricter than we are: its word counts, its text may quote the token
		return nil, refuse(CodeMalformed, "the token's claims are not those of an ID token")
	}
	if token.kind == kindCredential {
		return unwrap(claims, issuers)
	}
	return claims, nil
}

// lookUp returns the audiences accepted of an issuer and its keys, nil if the
// issuer is not in force. It forgets issuers that no longer are.
func (v *Verifier) lookUp(url string, issuers []policylang.Issuer) (audiences []string, keys *keySet) {
	for _, issuer := range issuers {
		if issuer.URL == url && issuer.Audience != "" && issuer.SAMLMetadata == "" {
			audiences = append(audiences, issuer.Audience)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for known := range v.keys {
		if !slices.ContainsFunc(issuers, func(i policylang.Issuer) bool { return i.URL == known }) {
			delete(v.keys, known)
		}
	}
	if len(audiences) == 0 {
		return nil, nil
	}
	keys = v.keys[url]
	if keys == nil {
		keys = newKeySet(url, v.fetcher, v.clock, v.log)
		v.keys[url] = keys
	}
	return audiences, keys
}

// chooseAudience returns the accepted audience that the token names, else any:
// the token is then refused by it.
func chooseAudience(accepted, named []string) string {
	for _, a := range named {
		if slices.Contains(accepted, a) {
			return a
		}
	}
	return accepted[0]
}
