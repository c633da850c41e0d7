package signin_test

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/control/signin"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/samltest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
)

// once is a keeper in memory.
type once struct {
	mu    sync.Mutex
	kept  map[string]string
	fails error
}

func (o *once) Put(_ context.Context, id, content string, _ time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.kept[id]; ok || o.fails != nil {
		return errors.Join(errors.New("it is there"), o.fails)
	}
	o.kept[id] = content
	return nil
}

func (o *once) Take(_ context.Context, id string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	content, ok := o.kept[id]
	if !ok {
		return "", errors.New("it is not there")
	}
	delete(o.kept, id)
	return content, nil
}

// samlPlace is a sign-in server whose people sign in by SAML.
type samlPlace struct {
	place
	saml  *samltest.IDP
	once  *once
	ahead time.Duration // of the server's clock
}

const (
	samlControl  = "https://control.example.com"
	redirect     = "http://127.0.0.1:4711/callback"
	codeVerifier = "a-verifier-of-the-length-that-is-asked-for-00"
)

func newSAMLPlace(t *testing.T) *samlPlace {
	t.Helper()
	p := &samlPlace{saml: samltest.New(t), once: &once{kept: map[string]string{}}}
	issuer := policylang.Issuer{Name: "sso", URL: samltest.EntityID, Audience: samltest.Audience, SAMLMetadata: samltest.Metadata(p.saml)}
	elsewhere := issuer
	elsewhere.SAMLMetadata = samltest.Metadata(samltest.New(t)) // of the same name, and somebody else's key
	program, problems := compile.Compile(policylang.Policy{
		Gateways:   []policylang.Gateway{{Name: "orders", Upstream: policylang.Upstream{Host: "db"}, Issuers: []policylang.Issuer{issuer}}},
		Identities: []policylang.Identity{{Name: "ana", Kind: "human", When: `token.sub == "u-17" && "dba" in token.attributes.groups`}},
	}, "orders")
	if program == nil {
		t.Fatal(problems)
	}
	key, err := signin.LoadKey(filepath.Join(t.TempDir(), "credentials.key"))
	if err != nil {
		t.Fatal(err)
	}
	verify := func(context.Context, string) (map[string]any, error) {
		return nil, errors.New("not a token of an issuer")
	}
	identify := func(claims map[string]any) (*policylang.Subject, error) { return program.Identify(claims, time.Now()) }
	gateways := []signin.Gateway{
		{Name: "orders", Issuers: []policylang.Issuer{issuer}, Verify: verify, Identify: identify},
		{Name: "payroll", Issuers: []policylang.Issuer{elsewhere}, Verify: verify, Identify: identify},
	}
	p.server, err = signin.New(signin.Config{
		URL: samlControl, Key: key, Once: p.once, Gateways: func() []signin.Gateway { return gateways },
		Clock: func() time.Time { return time.Now().Add(p.ahead) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func authorizeQuery() url.Values {
	sum := sha256.Sum256([]byte(codeVerifier))
	return url.Values{
		"response_type": {"code"}, "client_id": {api.LoginClient}, "redirect_uri": {redirect}, "scope": {"openid"}, "state": {"S"}, "nonce": {"N"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "idp": {"sso"}, "gateway": {"orders"},
	}
}

func (p *samlPlace) get(q url.Values) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth/authorize?"+q.Encode(), nil))
	return w
}

// begun is a sign-in that is under way in a browser.
type begun struct {
	relay, request string
	cookies        []*http.Cookie
}

func (p *samlPlace) begin(t *testing.T) begun {
	t.Helper()
	w := p.get(authorizeQuery())
	u, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != http.StatusSeeOther || u.Host != "idp.example.com" {
		t.Fatalf("%d to %v, %v: %s", w.Code, u, err, w.Body)
	}
	b := begun{relay: u.Query().Get("RelayState"), cookies: w.Result().Cookies()}
	request := inflate(t, u.Query().Get("SAMLRequest"))
	b.request = regexp.MustCompile(` ID="([^"]+)"`).FindStringSubmatch(request)[1]
	return b
}

func (p *samlPlace) post(posted, relay string, cookies []*http.Cookie) *httptest.ResponseRecorder {
	form := url.Values{"SAMLResponse": {posted}, "RelayState": {relay}}
	r := httptest.NewRequest(http.MethodPost, "/saml/acs", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	p.server.Handler().ServeHTTP(w, r)
	return w
}

// answered is what the command line is sent back.
func answered(t *testing.T, w *httptest.ResponseRecorder) url.Values {
	t.Helper()
	at := w.Header().Get("Location")
	u, err := url.Parse(at)
	if err != nil || w.Code != http.StatusSeeOther || !strings.HasPrefix(at, redirect+"?") {
		t.Fatalf("%d to %q: %s", w.Code, at, w.Body)
	}
	q := u.Query()
	if q.Get("state") != "S" || q.Get("iss") != samlControl || strings.Contains(at, "eyJ") {
		t.Errorf("sent back %s", at)
	}
	return q
}

func codeForm(code string) url.Values {
	return url.Values{
		"grant_type": {api.GrantCode}, "code": {code}, "redirect_uri": {redirect}, "client_id": {api.LoginClient}, "code_verifier": {codeVerifier},
	}
}

// login signs u-17 in.
func (p *samlPlace) login(t *testing.T, change func(*samltest.Response)) string {
	t.Helper()
	b := p.begin(t)
	r := samltest.Answer(b.request)
	if change != nil {
		change(&r)
	}
	code := answered(t, p.post(samltest.Post(t, p.saml.Signed(t, r)), b.relay, b.cookies)).Get("code")
	w := p.place.post(codeForm(code))
	var granted api.LoginGranted
	if err := json.Unmarshal(w.Body.Bytes(), &granted); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %v: %s", w.Code, err, w.Body)
	}
	return granted.IDToken
}

func TestSAMLLogin(t *testing.T) {
	p := newSAMLPlace(t)
	token := p.login(t, nil)
	payload := payloadOf(t, token)
	if payload["aud"] != api.LoginClient || payload["nonce"] != "N" || payload["iss"] != samlControl || payload["sub"] != "u-17" {
		t.Errorf("the login says %v", payload)
	}
	if life := lifeOf(t, token); life > time.Hour || life < 50*time.Minute {
		t.Errorf("the login lives %v, the identity provider's session an hour", life)
	}
	granted := p.exchange(t, form(token, ""))
	if granted.Subject != "ana" || granted.ExpiresIn != 600 {
		t.Errorf("granted %+v", granted)
	}
	t.Run("at a gateway that trusts other metadata", func(t *testing.T) {
		if w := p.place.post(with(form(token, ""), "audience", "payroll")); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "invalid_grant") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("altered", func(t *testing.T) {
		parts := strings.Split(token, ".")
		data, _ := base64.RawURLEncoding.DecodeString(parts[1])
		parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.ReplaceAll(string(data), "u-17", "u-18")))
		if w := p.place.post(form(strings.Join(parts, "."), "")); w.Code != http.StatusBadRequest {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("as somebody's agent", func(t *testing.T) {
		if w := p.place.post(form(token, token)); w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "access_token") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("no session end", func(t *testing.T) {
		brief := p.login(t, func(r *samltest.Response) { r.Session = time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339) })
		if life := lifeOf(t, brief); life > 8*time.Hour {
			t.Errorf("the login lives %v", life)
		}
	})
	t.Run("a session that ends soon", func(t *testing.T) {
		brief := p.login(t, func(r *samltest.Response) { r.Session = time.Now().Add(2 * time.Minute).UTC().Format(time.RFC3339) })
		if granted := p.exchange(t, form(brief, "")); granted.ExpiresIn > 120 || granted.ExpiresIn < 100 {
			t.Errorf("the credential lives %d seconds, the session two minutes", granted.ExpiresIn)
		}
		p.ahead = 3 * time.Minute
		defer func() { p.ahead = 0 }()
		if w := p.place.post(form(brief, "")); w.Code != http.StatusBadRequest {
			t.Errorf("after the session's end: %d %s", w.Code, w.Body)
		}
	})
}

// lifeOf is how long a token has yet to live.
func lifeOf(t *testing.T, token string) time.Duration {
	t.Helper()
	expires, ok := payloadOf(t, token)["exp"].(float64)
	if !ok {
		t.Fatal("the token does not say when it expires")
	}
	return time.Until(time.Unix(int64(expires), 0))
}

// TestSAMLOnce uses everything twice.
func TestSAMLOnce(t *testing.T) {
	p := newSAMLPlace(t)
	b := p.begin(t)
	posted := samltest.Post(t, p.saml.Signed(t, samltest.Answer(b.request)))
	first := p.post(posted, b.relay, b.cookies)
	code := answered(t, first).Get("code")
	if !slices.ContainsFunc(first.Result().Cookies(), func(c *http.Cookie) bool { return c.MaxAge < 0 }) {
		t.Error("the browser keeps the sign-in")
	}
	if got := answered(t, p.post(posted, b.relay, b.cookies)); got.Get("error") != "saml_replayed" || got.Get("code") != "" {
		t.Errorf("the same response again: %v", got)
	}
	if w := p.place.post(with(codeForm(code), "code_verifier", "another")); w.Code != http.StatusBadRequest {
		t.Errorf("with another verifier: %d %s", w.Code, w.Body)
	}
	if w := p.place.post(codeForm(code)); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "good once") {
		t.Errorf("a code that was shown before: %d %s", w.Code, w.Body)
	}
	p.once.fails = errors.New("disk full")
	b = p.begin(t)
	if got := answered(t, p.post(samltest.Post(t, p.saml.Signed(t, samltest.Answer(b.request))), b.relay, b.cookies)); got.Get("code") != "" || got.Get("error") == "" {
		t.Errorf("what cannot be kept: %v", got)
	}
}

// TestSAMLRefuses answers a sign-in wrongly.
func TestSAMLRefuses(t *testing.T) {
	p := newSAMLPlace(t)
	b, other := p.begin(t), p.begin(t)
	good := func(b begun) string { return samltest.Post(t, p.saml.Signed(t, samltest.Answer(b.request))) }
	for name, c := range map[string]struct {
		posted, relay string
		cookies       []*http.Cookie
		ahead         time.Duration
	}{
		"IdP-initiated":        {posted: good(b), relay: ""},
		"unknown RelayState":   {posted: good(b), relay: "UNKNOWN", cookies: b.cookies},
		"another browser":      {posted: good(b), relay: b.relay},
		"another one's cookie": {posted: good(b), relay: b.relay, cookies: rename(other.cookies, b.cookies[0].Name)},
		"a made-up cookie":     {posted: good(b), relay: b.relay, cookies: []*http.Cookie{{Name: b.cookies[0].Name, Value: "AAAA"}}},
		"too late":             {posted: good(b), relay: b.relay, cookies: b.cookies, ahead: 11 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			p.ahead = c.ahead
			defer func() { p.ahead = 0 }()
			w := p.post(c.posted, c.relay, c.cookies)
			if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" || !strings.Contains(w.Body.String(), "postern login") {
				t.Errorf("%d to %q: %s", w.Code, w.Header().Get("Location"), w.Body)
			}
		})
	}
	for name, c := range map[string]struct {
		posted, reason string
	}{
		"the answer to another request": {good(other), "saml_unsolicited"},
		"signed by a stranger":          {samltest.Post(t, samltest.New(t).Signed(t, samltest.Answer(b.request))), "saml_signature"},
		"nothing":                       {"", "saml_malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := answered(t, p.post(c.posted, b.relay, b.cookies)); got.Get("error") != c.reason || got.Get("code") != "" {
				t.Errorf("sent back %v, want %s", got, c.reason)
			}
		})
	}
}

func rename(cookies []*http.Cookie, name string) []*http.Cookie {
	out := *cookies[0]
	out.Name = name
	return []*http.Cookie{&out}
}

// TestAuthorizeRefuses never redirects to where it must not.
func TestAuthorizeRefuses(t *testing.T) {
	p := newSAMLPlace(t)
	for name, c := range map[string]struct{ parameter, value string }{
		"another host":         {"redirect_uri", "https://attacker.example.com/callback"},
		"a host that looks so": {"redirect_uri", "http://127.0.0.1:80@attacker.example.com/callback"},
		"a name":               {"redirect_uri", "http://localhost:4711/callback"},
		"another path":         {"redirect_uri", "http://127.0.0.1:4711/elsewhere"},
		"a query":              {"redirect_uri", redirect + "?x=y"},
		"an implicit flow":     {"response_type", "token"},
		"another client":       {"client_id", "console"},
		"no state":             {"state", ""},
		"no nonce":             {"nonce", ""},
		"no PKCE":              {"code_challenge", ""},
		"plain PKCE":           {"code_challenge_method", "plain"},
		"too long":             {"state", strings.Repeat("s", 300)},
	} {
		t.Run(name, func(t *testing.T) {
			w := p.get(with(authorizeQuery(), c.parameter, c.value))
			if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
				t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
			}
		})
	}
	for name, c := range map[string]struct{ parameter, value string }{"unknown issuer": {"idp", "corp"}, "unknown gateway": {"gateway", "lab"}} {
		t.Run(name, func(t *testing.T) {
			if got := answered(t, p.get(with(authorizeQuery(), c.parameter, c.value))); got.Get("error") != "invalid_request" {
				t.Errorf("sent back %v", got)
			}
		})
	}
}

// inflate reads a SAMLRequest of the HTTP-Redirect binding.
func inflate(t *testing.T, request string) string {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(request)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
