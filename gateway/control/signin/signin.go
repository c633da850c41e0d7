// Package signin is the control plane's part in logging in: it verifies a
// token of an identity provider, asks the policy whose it is, and mints a
// short-lived credential for one gateway. The login, which lives for hours, and
// the credential, which is shown to a gateway and so to whoever sits between,
// are two things.
//
//	server, err := signin.New(signin.Config{URL: "https://control:8443", Key: key, Gateways: gateways})
//	mux.Handle("/", server.Handler())
//
// # Endpoints
//
//	GET  /.well-known/openid-configuration   so that gateways find the keys
//	GET  /oauth/keys                         the public keys (RFC 7517)
//	GET  /oauth/client-ca.pem                the authority of client certificates
//	GET  /oauth/sign-in                      where people sign in, and for which gateways ([api.SignIn])
//	POST /oauth/token                        token exchange (RFC 8693), authorization code
//	POST /oauth/back-channel-logout          an identity provider ends what it began
//	GET  /oauth/authorize                    sign in by way of a SAML identity provider
//	POST /saml/acs                           what the identity provider answers
//	GET  /saml/metadata/{issuer}             what it must know of us
//
// For token exchange the token endpoint takes subject_token, subject_token_type, audience (the
// gateway's name) and, from an agent that acts for the subject, actor_token and
// actor_token_type. Both tokens are of issuers that the gateway's policy names.
//
// # The credential
//
// A credential is a JWT, signed with ES256, of the type
// "application/postern+jwt", with iss (the control plane's URL), aud (the
// gateway's name), sub (the subject's name), iat, exp, jti, and claims: the
// verified claims of the token that was exchanged, with those of the actor
// under "act". The gateway matches its identities against that inner object, so
// that an identity is the same person however they logged in. It accepts a
// credential only of the issuer that its policy names "postern", and only with
// inner claims of an issuer that the policy names too: the signed policy bounds
// for whom the control plane's key may speak. A credential is never exchanged
// for another one.
//
// # Without a bearer
//
// A client that must not send what could be used by whoever sees it asks, by
// requested_token_type, for one of two other things. Both are made for a secret
// of the client's own, which neither the control plane nor the gateway ever has:
//
//   - [api.TokenTypeCertificate], with a certificate request as csr: a certificate
//     as the package pki specifies it, of the server's ClientCA.
//   - [api.TokenTypeSCRAM], with the verifier of a SCRAM secret as scram_verifier, in
//     PostgreSQL's notation: a SCRAM grant, which is a credential of the type
//     "application/postern-scram+jwt" with the verifier as "scram".
//
// # SAML
//
// To people's command lines the control plane is an OpenID Connect provider for
// what it is not itself: GET /oauth/authorize, with PKCE, a redirect URI on a
// loopback address, "idp" (the issuer's name) and "gateway", sends the browser to
// the SAML identity provider of that gateway's policy. The sign-in that is under
// way is sealed into a cookie, so that nothing is kept for a stranger and only the
// browser that began it ends it. What comes back is verified by package saml; the
// browser is then sent to the command line with a code, good once and for a
// minute, for a login: an ID token of our own, which lives as long as the session
// at the identity provider and for [maxLogin] at most. It holds the claims that
// package saml made, and the digest of the metadata that vouches for them, so that
// a gateway whose policy trusts other metadata does not believe it. Gateways never
// accept it; it is exchanged like any identity provider's token.
//
// A Server is safe for concurrent use. It holds no state but its key: codes, and
// which assertions were seen, are kept by [Config.Once].
package signin

import (
	"context"
	"crypto/cipher"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/gateway/internal/pki"
	"github.com/posternhq/postern/policylang"
)

// The lives of credentials.
const (
	defaultLife = 10 * time.Minute
	actorLife   = 5 * time.Minute // of an agent's that acts for somebody
)

// Config says what a server mints. URL, Key and Gateways are required.
type Config struct {
	URL      string                                                                     // the control plane's: "iss" of what it mints
	Key      *ecdsa.PrivateKey                                                          // on P-256; replicas share it
	Gateways func() []Gateway                                                           // for which credentials are minted
	Record   func(context.Context, Minted) error                                        // before a credential is given away; its error prevents it
	Once     Once                                                                       // keeps codes and assertions; without it nobody signs in by SAML
	Life     time.Duration                                                              // of a credential; 10 minutes if zero, 15 at most
	Revoke   func(context.Context, string, api.RevocationInput) (api.Revocation, error) // on behalf of somebody; none is heard if nil
	ClientCA *pki.Authority                                                             // signs client certificates; none are made if nil
	Logger   *slog.Logger                                                               // slog.Default if nil
	Clock    func() time.Time                                                           // time.Now if nil
}

// Once keeps what is used once, for all replicas.
type Once interface {
	// Put keeps content under an id until it expires. It fails if there is
	// something under that id.
	Put(ctx context.Context, id, content string, expires time.Time) error
	// Take removes what is kept under an id and returns it, or fails. Of several
	// who take at once one gets it.
	Take(ctx context.Context, id string) (content string, err error)
}

// Gateway is a gateway as its live policy has it.
type Gateway struct {
	Name    string
	Address string              // "host:port", where clients reach it; may be empty
	Issuers []policylang.Issuer // at which people may sign in
	// Verify returns the claims of a token, or an error that says for the
	// operator why it is refused.
	Verify func(ctx context.Context, token string) (map[string]any, error)
	// Identify says whose verified claims are.
	Identify func(claims map[string]any) (*policylang.Subject, error)
	// VerifyLogout returns what a logout token says, or an error for the
	// operator. Without it no identity provider is heard.
	VerifyLogout func(ctx context.Context, token string) (oidc.Logout, error)
}

// Minted is a credential that is about to be given away.
type Minted struct {
	Gateway string
	Subject string // names
	Actor   string // empty if the subject acts itself
	ID      string // its jti
	Expires time.Time
}

// Server mints credentials.
type Server struct {
	config Config
	signer jose.Signer // of credentials
	keyID  string

	scramSigner jose.Signer // of SCRAM grants
	logins      jose.Signer // of our own ID tokens
	seal        cipher.AEAD // of sign-ins that are under way
	log         *slog.Logger
	now         func() time.Time
}

// New returns a server.
func New(c Config) (*Server, error) {
	if c.Key == nil || c.Key.Curve.Params().BitSize != 256 {
		return nil, errors.New("make the sign-in server: the key must be on P-256")
	}
	if c.Life == 0 {
		c.Life = defaultLife
	}
	if c.Life < 0 || c.Life > api.MaxCredentialLife {
		return nil, fmt.Errorf("make the sign-in server: a credential may live %s at most", api.MaxCredentialLife)
	}
	if c.Record == nil {
		c.Record = func(context.Context, Minted) error { return nil }
	}
	s := &Server{config: c, log: c.Logger, now: c.Clock}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.keyID, err = thumbprint(c.Key); err != nil {
		return nil, err
	}
	if s.signer, err = s.signerOf(api.CredentialType); err != nil {
		return nil, err
	}
	if s.scramSigner, err = s.signerOf(api.SCRAMGrantType); err != nil {
		return nil, err
	}
	if s.logins, err = s.signerOf("JWT"); err != nil {
		return nil, err
	}
	s.seal, err = newSeal(c.Key)
	return s, err
}

// signerOf signs with the server's key what has the type in its header.
func (s *Server) signerOf(typ jose.ContentType) (jose.Signer, error) {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: s.config.Key},
		(&jose.SignerOptions{}).WithType(typ).WithHeader("kid", s.keyID))
	if err != nil {
		return nil, fmt.Errorf("make the sign-in server: %w", err)
	}
	return signer, nil
}

// Handler serves the endpoints.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", s.serveDiscovery)
	mux.HandleFunc("GET /oauth/keys", s.serveKeys)
	mux.HandleFunc("GET /oauth/client-ca.pem", s.serveClientCA)
	mux.HandleFunc("GET /oauth/sign-in", s.serveSignIn)
	mux.HandleFunc("POST /oauth/token", s.serveToken)
	mux.HandleFunc("POST /oauth/back-channel-logout", s.serveLogout)
	mux.HandleFunc("GET /oauth/authorize", s.serveAuthorize)
	mux.HandleFunc("POST "+acsPath, s.serveAssertion)
	mux.HandleFunc("GET /saml/metadata/{issuer}", s.serveMetadata)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer": s.config.URL, "jwks_uri": s.config.URL + "/oauth/keys", "token_endpoint": s.config.URL + "/oauth/token",
		"authorization_endpoint": s.config.URL + "/oauth/authorize", "scopes_supported": []string{"openid"},
		"grant_types_supported":    []string{api.GrantTokenExchange, api.GrantCode},
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"code_challenge_methods_supported": []string{"S256"}, "authorization_response_iss_parameter_supported": true,
		"id_token_signing_alg_values_supported": []string{string(jose.ES256)},
		"token_endpoint_auth_methods_supported": []string{"none"},
	})
}

func (s *Server) serveKeys(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{
		Key: s.config.Key.Public(), KeyID: s.keyID, Algorithm: string(jose.ES256), Use: "sig",
	}}})
}

// serveClientCA gives the authority that gateways are to trust clients by.
func (s *Server) serveClientCA(w http.ResponseWriter, r *http.Request) {
	if s.config.ClientCA == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, _ = w.Write(s.config.ClientCA.PEM()) // the caller has left: nobody to tell
}

// serveSignIn tells where people sign in. It is public, as an identity
// provider's address and client identifier are.
func (s *Server) serveSignIn(w http.ResponseWriter, _ *http.Request) {
	out := api.SignIn{Issuers: []api.SignInIssuer{}, Gateways: []api.SignInGateway{}}
	seen := map[api.SignInIssuer]bool{}
	for _, g := range s.config.Gateways() {
		out.Gateways = append(out.Gateways, api.SignInGateway{Name: g.Name, Address: g.Address})
		for _, i := range g.Issuers {
			issuer := api.SignInIssuer{Name: i.Name, URL: i.URL, ClientID: i.Audience}
			if i.SAMLMetadata != "" {
				issuer.URL, issuer.ClientID, issuer.SAML = s.config.URL, api.LoginClient, true
			}
			if !seen[issuer] {
				seen[issuer] = true
				out.Issuers = append(out.Issuers, issuer)
			}
		}
	}
	answer(w, http.StatusOK, out)
}
