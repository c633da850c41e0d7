package signin

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
)

// maxLogin is the longest life of a login that the control plane gives.
const maxLogin = 8 * time.Hour

// login is what an ID token of our own says besides the registered claims.
type login struct {
	Claims   map[string]any `json:"claims"`   // of the assertion
	Metadata string         `json:"metadata"` // digest of what vouches for them
	Expires  int64          `json:"exp"`      // seconds since 1970
}

// loginCode is what a code is good for.
type loginCode struct {
	Login     login  `json:"login"`
	Redirect  string `json:"redirect_uri"`
	Nonce     string `json:"nonce"`
	Challenge string `json:"code_challenge"`
}

// redeem gives the login of a code (RFC 6749, section 4.1.3; RFC 7636, section
// 4.6). A code that anything is wrong with is used up all the same.
func (s *Server) redeem(r *http.Request, form url.Values) (*api.LoginGranted, *problem) {
	if s.config.Once == nil || form.Get("client_id") != api.LoginClient {
		return nil, &problem{status: http.StatusBadRequest, code: "invalid_client", text: "client_id must be " + api.LoginClient}
	}
	content, err := s.config.Once.Take(r.Context(), "code "+hashed(form.Get("code")))
	if err != nil {
		return nil, invalidGrant("the code is not accepted", "it is good once, for a minute; "+hintLogin, err)
	}
	var c loginCode
	if err := json.Unmarshal([]byte(content), &c); err != nil {
		return nil, &problem{status: http.StatusInternalServerError, code: "server_error", text: "the login cannot be read", cause: err}
	}
	proof := hashed(form.Get("code_verifier"))
	if c.Redirect != form.Get("redirect_uri") || subtle.ConstantTimeCompare([]byte(proof), []byte(c.Challenge)) != 1 {
		return nil, invalidGrant("the code is not accepted", hintLogin, errors.New("redirect_uri or code_verifier is not that of the request"))
	}
	now := s.now()
	token, err := s.signLogin(c, now)
	if err != nil {
		return nil, &problem{status: http.StatusInternalServerError, code: "server_error", text: "the login cannot be made", cause: err}
	}
	return &api.LoginGranted{AccessToken: token, IDToken: token, TokenType: "Bearer", ExpiresIn: c.Login.Expires - now.Unix()}, nil
}

func (s *Server) signLogin(c loginCode, now time.Time) (string, error) {
	return sign(s.logins, map[string]any{
		"iss": s.config.URL, "aud": api.LoginClient, "sub": c.Login.Claims["sub"], "nonce": c.Nonce, "jti": rand.Text(),
		"iat": now.Unix(), "exp": c.Login.Expires, "claims": c.Login.Claims, "metadata": c.Login.Metadata,
	})
}

// errNoLogin says that a token is not a login that is good now.
var errNoLogin = errors.New("it is not a login of this control plane, or it has expired")

// readLogin reads an ID token of our own.
func (s *Server) readLogin(token string) (*login, error) {
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(parsed.Signatures) != 1 || parsed.Signatures[0].Header.ExtraHeaders[jose.HeaderType] != "JWT" {
		return nil, errNoLogin
	}
	payload, err := parsed.Verify(s.config.Key.Public())
	if err != nil {
		return nil, errNoLogin
	}
	var in struct {
		login
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
	}
	if err := json.NewDecoder(bytes.NewReader(payload)).Decode(&in); err != nil {
		return nil, errNoLogin
	}
	if in.Issuer != s.config.URL || in.Audience != api.LoginClient || !s.now().Before(time.Unix(in.Expires, 0)) {
		return nil, errNoLogin
	}
	return &in.login, nil
}

// LoginClaims returns the claims of a login that the control plane gave itself,
// for a gateway whose policy trusts the metadata that vouches for them. own
// reports whether the token is one that it says it gave.
func (s *Server) LoginClaims(token string, issuers []policylang.Issuer) (claims map[string]any, own bool, err error) {
	if unverifiedIssuer(token) != s.config.URL {
		return nil, false, nil
	}
	l, err := s.loginFor(token, issuers)
	if err != nil {
		return nil, true, err
	}
	return l.Claims, true, nil
}

func (s *Server) loginFor(token string, issuers []policylang.Issuer) (*login, error) {
	l, err := s.readLogin(token)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(issuers, func(i policylang.Issuer) bool {
		return i.SAMLMetadata != "" && i.URL == l.Claims["iss"] && hashed(i.SAMLMetadata) == l.Metadata
	}) {
		return nil, fmt.Errorf("the gateway's policy does not trust the metadata of the SAML issuer %q that it was signed in with; sign in again if that has changed", l.Claims["iss"])
	}
	return l, nil
}
