package signin

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/posternhq/postern/gateway/control/saml"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
)

const (
	acsPath     = "/saml/acs"
	pendingLife = 10 * time.Minute // in which a person signs in
	codeLife    = time.Minute
)

// pending is a sign-in that is under way at a SAML identity provider. The
// browser keeps it, sealed.
type pending struct {
	Gateway   string    `json:"gateway"`
	Issuer    string    `json:"issuer"`  // its name in that gateway's policy
	Request   string    `json:"request"` // id of the SAML request
	Redirect  string    `json:"redirect_uri"`
	State     string    `json:"state"`
	Nonce     string    `json:"nonce"`
	Challenge string    `json:"code_challenge"`
	Expires   time.Time `json:"expires"`
}

// maxParameter bounds what a command line asks to get back: it goes into a
// cookie.
const maxParameter = 256

// serveAuthorize sends a browser to the SAML identity provider (RFC 6749,
// section 4.1.1; RFC 7636; RFC 8252).
func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p := pending{
		Gateway: q.Get("gateway"), Issuer: q.Get("idp"), Redirect: q.Get("redirect_uri"), State: q.Get("state"), Nonce: q.Get("nonce"),
		Challenge: q.Get("code_challenge"), Expires: s.now().Add(pendingLife),
	}
	if err := checkAuthorize(q, p); err != nil {
		http.Error(w, "This sign-in cannot begin: "+err.Error()+". Start it with: postern login", http.StatusBadRequest)
		return
	}
	page, relay, err := s.begin(&p)
	if err != nil {
		s.log.LogAttrs(r.Context(), slog.LevelWarn, "a SAML sign-in cannot begin", slog.String("issuer", p.Issuer), slog.String("gateway", p.Gateway), slog.Any("cause", err))
		s.sendBack(w, r, p, url.Values{"error": {"invalid_request"}})
		return
	}
	sealed, err := s.sealed(p, relay)
	if err != nil {
		http.Error(w, "This sign-in cannot begin; the control plane's log says why.", http.StatusInternalServerError)
		s.log.LogAttrs(r.Context(), slog.LevelError, "a SAML sign-in cannot begin", slog.Any("cause", err))
		return
	}
	http.SetCookie(w, pendingCookie(relay, sealed, int(pendingLife.Seconds())))
	http.Redirect(w, r, page, http.StatusSeeOther)
}

// checkAuthorize checks what does not depend on any policy. Until it has, the
// redirect URI is not to be followed.
func checkAuthorize(q url.Values, p pending) error {
	for name, values := range q {
		if len(values) > 1 || len(values[0]) > maxParameter {
			return fmt.Errorf("%.40q is given twice or is too long", name)
		}
	}
	switch {
	case !isLoopbackRedirect(p.Redirect):
		return errors.New("redirect_uri must be http://127.0.0.1:PORT/callback")
	case q.Get("response_type") != "code":
		return errors.New(`response_type must be "code"`)
	case q.Get("client_id") != api.LoginClient:
		return fmt.Errorf("client_id must be %q", api.LoginClient)
	case p.State == "" || p.Nonce == "":
		return errors.New("state and nonce are needed")
	case q.Get("code_challenge_method") != "S256" || len(p.Challenge) != base64.RawURLEncoding.EncodedLen(sha256.Size):
		return errors.New("code_challenge is needed, of the method S256")
	}
	return nil
}

func isLoopbackRedirect(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "/callback" {
		return false
	}
	addr, err := netip.ParseAddrPort(u.Host)
	return err == nil && addr.Addr().IsLoopback()
}

// begin makes the request to the identity provider.
func (s *Server) begin(p *pending) (page, relay string, err error) {
	provider, _, err := s.provider(p.Gateway, p.Issuer)
	if err != nil {
		return "", "", err
	}
	relay = rand.Text()
	page, p.Request, err = provider.Request(relay)
	return page, relay, err
}

// provider is the service provider of a gateway's SAML issuer.
func (s *Server) provider(gateway, issuer string) (*saml.Provider, policylang.Issuer, error) {
	if s.config.Once == nil {
		return nil, policylang.Issuer{}, errors.New("nothing is there to keep assertions in")
	}
	for _, g := range s.config.Gateways() {
		if gateway != "" && g.Name != gateway {
			continue
		}
		for _, i := range g.Issuers {
			if i.Name == issuer && i.SAMLMetadata != "" {
				p, err := saml.New(saml.Config{Issuer: i, ACS: s.config.URL + acsPath, Clock: s.now})
				return p, i, err
			}
		}
	}
	return nil, policylang.Issuer{}, fmt.Errorf("no policy of gateway %.40q has a SAML issuer %.40q at which people sign in", gateway, issuer)
}

// sendBack sends the browser to the command line, with a code or an error and
// never with a token.
func (s *Server) sendBack(w http.ResponseWriter, r *http.Request, p pending, answer url.Values) {
	answer.Set("state", p.State)
	answer.Set("iss", s.config.URL)
	http.Redirect(w, r, p.Redirect+"?"+answer.Encode(), http.StatusSeeOther)
}

// serveMetadata tells the identity provider's administrator who we are.
func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request) {
	provider, _, err := s.provider("", r.PathValue("issuer"))
	if err != nil {
		http.Error(w, "No policy has a SAML issuer of that name.", http.StatusNotFound)
		return
	}
	metadata, err := provider.Metadata()
	if err != nil {
		http.Error(w, "The metadata cannot be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	_, _ = w.Write(metadata) // the caller has left: nobody to tell
}

// serveAssertion takes what the identity provider answers by way of the browser.
func (s *Server) serveAssertion(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	relay := r.PostFormValue("RelayState")
	p, err := s.opened(r, relay)
	if err != nil {
		s.log.LogAttrs(r.Context(), slog.LevelWarn, "SAML response refused", slog.String("code", string(saml.CodeUnsolicited)),
			slog.Any("cause", err), slog.String("client_addr", r.RemoteAddr))
		http.Error(w, "This answers no sign-in that is under way in this browser. Sign-in starts with: postern login", http.StatusBadRequest)
		return
	}
	http.SetCookie(w, pendingCookie(relay, "", -1))
	code, err := s.admit(r, p)
	if err != nil {
		s.log.LogAttrs(r.Context(), slog.LevelWarn, "SAML response refused", slog.String("issuer", p.Issuer), slog.String("gateway", p.Gateway),
			slog.Any("cause", err), slog.String("client_addr", r.RemoteAddr))
		s.sendBack(w, r, p, url.Values{"error": {reasonOf(err)}})
		return
	}
	s.sendBack(w, r, p, url.Values{"code": {code}})
}

// reasonOf is the check that failed, which is safe to tell.
func reasonOf(err error) string {
	var refused *saml.Error
	switch {
	case errors.As(err, &refused):
		return string(refused.Code)
	case errors.Is(err, errReplayed):
		return "saml_replayed"
	}
	return "server_error"
}

// errReplayed says that an assertion was shown before.
var errReplayed = errors.New("the assertion was shown before, or that cannot be told")

// admit verifies a response and returns the code that its login is got with.
func (s *Server) admit(r *http.Request, p pending) (code string, err error) {
	provider, issuer, err := s.provider(p.Gateway, p.Issuer)
	if err != nil {
		return "", err
	}
	who, err := provider.Verify(r.PostFormValue("SAMLResponse"), p.Request)
	if err != nil {
		return "", err
	}
	if err := s.config.Once.Put(r.Context(), "saml "+hashed(who.ID), "", who.Until); err != nil {
		return "", fmt.Errorf("%w: %w", errReplayed, err)
	}
	ends := s.now().Add(maxLogin)
	if !who.Ends.IsZero() && who.Ends.Before(ends) {
		ends = who.Ends
	}
	return s.keep(r.Context(), loginCode{
		Login:    login{Claims: who.Claims, Metadata: hashed(issuer.SAMLMetadata), Expires: ends.Unix()},
		Redirect: p.Redirect, Nonce: p.Nonce, Challenge: p.Challenge,
	})
}

func (s *Server) keep(ctx context.Context, c loginCode) (string, error) {
	content, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("keep a login: %w", err)
	}
	code := rand.Text()
	if err := s.config.Once.Put(ctx, "code "+hashed(code), string(content), s.now().Add(codeLife)); err != nil {
		return "", fmt.Errorf("keep a login: %w", err)
	}
	return code, nil
}

func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// pendingCookie holds a sign-in that is under way. The identity provider's page
// posts to us, so that it must be sent across sites.
func pendingCookie(relay, value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: "__Host-postern-saml-" + relay, Value: value, Path: "/", MaxAge: seconds,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode,
	}
}

// newSeal derives the key of cookies from the credentials' key, which replicas
// share.
func newSeal(key *ecdsa.PrivateKey) (cipher.AEAD, error) {
	secret, err := key.Bytes()
	if err == nil {
		secret, err = hkdf.Key(sha256.New, secret, nil, "postern sign-in cookie", 32)
	}
	if err != nil {
		return nil, fmt.Errorf("derive the cookies' key: %w", err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("derive the cookies' key: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (s *Server) sealed(p pending, relay string) (string, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("seal a sign-in: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(s.seal.Seal(nil, nil, data, []byte(relay))), nil
}

// opened is the sign-in that the browser has under way.
func (s *Server) opened(r *http.Request, relay string) (pending, error) {
	if relay == "" || len(relay) > 80 {
		return pending{}, errors.New("there is no RelayState")
	}
	cookie, err := r.Cookie(pendingCookie(relay, "", 0).Name)
	if err != nil {
		return pending{}, errors.New("the browser has no sign-in of that RelayState")
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return pending{}, errors.New("the cookie is not ours")
	}
	data, err := s.seal.Open(nil, nil, sealed, []byte(relay))
	if err != nil {
		return pending{}, errors.New("the cookie is not ours")
	}
	var p pending
	if err := json.Unmarshal(data, &p); err != nil {
		return pending{}, errors.New("the cookie cannot be read")
	}
	if !s.now().Before(p.Expires) {
		return pending{}, errors.New("the sign-in took longer than ten minutes")
	}
	return p, nil
}
