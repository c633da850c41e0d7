package signin_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/control/signin"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/gateway/internal/pki"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
)

const controlURL = "https://control.example.com"

// place is a sign-in server, and a gateway's verifier that reads its keys.
type place struct {
	idp      *demoissuer.Issuer
	server   *signin.Server
	gateway  *oidc.Verifier
	program  *compile.Program
	log      bytes.Buffer
	minted   []signin.Minted
	recorded error
}

func newPlace(t *testing.T, mayMint bool) *place {
	t.Helper()
	p := &place{}
	var err error
	if p.idp, err = demoissuer.Start(demoissuer.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.idp.Close() })
	issuers := []policylang.Issuer{{Name: "corp", URL: p.idp.URL(), Audience: "postern"}}
	known := issuers
	if mayMint {
		known = append(known, policylang.Issuer{Name: api.CredentialIssuer, URL: controlURL, Audience: "orders"})
	}
	policy := policylang.Policy{
		Gateways: []policylang.Gateway{{Name: "orders", Upstream: policylang.Upstream{Host: "db"}, Issuers: known}},
		Identities: []policylang.Identity{
			{Name: "ana", Kind: "human", When: `token.sub == "u-17"`},
			{Name: "helper", Kind: "agent", When: `token.sub == "agent-1"`},
			{Name: "job", Kind: "service", When: `token.sub == "job-1"`},
		},
	}
	program, problems := compile.Compile(policy, "orders")
	if program == nil {
		t.Fatal(problems)
	}
	p.program = program
	key, err := signin.LoadKey(filepath.Join(t.TempDir(), "credentials.key"))
	if err != nil {
		t.Fatal(err)
	}
	verifier := oidc.NewVerifier(oidc.Config{Issuers: func() []policylang.Issuer { return issuers }, AllowLoopbackHTTP: true})
	log := slog.New(slog.NewTextHandler(&p.log, nil))
	clientCA, err := pki.NewAuthority("clients")
	if err != nil {
		t.Fatal(err)
	}
	p.server, err = signin.New(signin.Config{
		URL: controlURL, Key: key, ClientCA: clientCA, Logger: log,
		Gateways: func() []signin.Gateway {
			return []signin.Gateway{{
				Name: "orders", Address: "db.example.com:6432", Issuers: issuers, Verify: verifier.Verify,
				Identify: func(claims map[string]any) (*policylang.Subject, error) { return program.Identify(claims, time.Now()) },
			}}
		},
		Record: func(_ context.Context, m signin.Minted) error {
			p.minted = append(p.minted, m)
			return p.recorded
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	network := &http.Transport{DisableKeepAlives: true}
	transport := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "control.example.com" {
			return controlclient.InProcess(p.server.Handler()).RoundTrip(r)
		}
		return network.RoundTrip(r)
	})
	p.gateway = oidc.NewVerifier(oidc.Config{Issuers: func() []policylang.Issuer { return known }, AllowLoopbackHTTP: true, Transport: transport})
	return p
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (p *place) token(sub string, more map[string]any) string {
	claims := map[string]any{"sub": sub, "aud": "postern", "nonce": "n", "at_hash": "h"}
	for name, value := range more {
		claims[name] = value
	}
	return p.idp.Issue(claims, time.Minute)
}

func form(subject, actor string) url.Values {
	f := url.Values{
		"grant_type": {api.GrantTokenExchange}, "audience": {"orders"}, "subject_token": {subject}, "subject_token_type": {api.TokenTypeID},
	}
	if actor != "" {
		f.Set("actor_token", actor)
		f.Set("actor_token_type", api.TokenTypeJWT)
	}
	return f
}

func (p *place) post(f url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader(f.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	p.server.Handler().ServeHTTP(w, r)
	return w
}

func (p *place) exchange(t *testing.T, f url.Values) api.TokenGranted {
	t.Helper()
	w := p.post(f)
	var granted api.TokenGranted
	if err := json.Unmarshal(w.Body.Bytes(), &granted); err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", w.Code, err, w.Body)
	}
	return granted
}

// TestCredential follows a person's token through the exchange to the gateway.
func TestCredential(t *testing.T) {
	p := newPlace(t, true)
	granted := p.exchange(t, form(p.token("u-17", map[string]any{"groups": []string{"dba"}}), ""))
	if granted.Subject != "ana" || granted.DatabaseRole != "ana" || granted.ExpiresIn != 600 || granted.Address != "db.example.com:6432" {
		t.Errorf("granted %+v", granted)
	}
	claims, err := p.gateway.Verify(t.Context(), granted.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if claims["iss"] != p.idp.URL() || claims["sub"] != "u-17" || claims["jti"] != p.minted[0].ID || claims["nonce"] != nil {
		t.Errorf("the gateway reads %v", claims)
	}
	if claims["exp"] != p.minted[0].Expires.Unix() {
		t.Errorf("the credential's expiry is %v, want %v", claims["exp"], p.minted[0].Expires)
	}
	if payload := payloadOf(t, granted.AccessToken); payload["aud"] != "orders" || payload["iss"] != controlURL || payload["sub"] != "ana" {
		t.Errorf("the credential says %v", payload)
	}
}

// TestActor follows an agent that acts for a person.
func TestActor(t *testing.T) {
	p := newPlace(t, true)
	granted := p.exchange(t, form(p.token("u-17", nil), p.token("agent-1", nil)))
	if granted.Subject != "ana" || granted.Actor != "helper" || granted.ExpiresIn != 300 {
		t.Errorf("granted %+v", granted)
	}
	claims, err := p.gateway.Verify(t.Context(), granted.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	subject, err := p.program.Identify(claims, time.Now())
	if err != nil || subject.Name != "ana" || subject.Actor == nil || subject.Actor.Name != "helper" {
		t.Fatalf("%+v, %v", subject, err)
	}
	if p.minted[0].Actor != "helper" {
		t.Errorf("recorded %+v", p.minted[0])
	}
}

func payloadOf(t *testing.T, token string) map[string]any {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestExchangeRefuses has each refusal fail for its own reason. None of them
// shows a token, to the caller or in the log.
func TestExchangeRefuses(t *testing.T) {
	p := newPlace(t, true)
	other, err := demoissuer.Start(demoissuer.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	person, agent := p.token("u-17", nil), p.token("agent-1", nil)
	credential := p.exchange(t, form(person, "")).AccessToken
	for name, c := range map[string]struct {
		form      url.Values
		code, say string
	}{
		"no grant type":              {with(form(person, ""), "grant_type", "password"), "unsupported_grant_type", "token-exchange"},
		"no subject":                 {form("", ""), "invalid_request", "subject_token"},
		"subject's type":             {with(form(person, ""), "subject_token_type", "urn:ietf:params:oauth:token-type:saml2"), "invalid_request", "subject_token_type"},
		"actor without type":         {with(form(person, agent), "actor_token_type", ""), "invalid_request", "actor_token_type"},
		"type without actor":         {with(form(person, ""), "actor_token_type", api.TokenTypeJWT), "invalid_request", "actor_token"},
		"given twice":                {url.Values{"grant_type": {"a", "b"}}, "invalid_request", "twice"},
		"unknown gateway":            {with(form(person, ""), "audience", "payroll"), "invalid_target", "audience"},
		"another issuer's":           {form(other.Issue(map[string]any{"sub": "u-17", "aud": "postern"}, time.Minute), ""), "invalid_grant", "subject token"},
		"expired":                    {form(p.token("u-17", map[string]any{"iat": 1, "exp": 2}), ""), "invalid_grant", "subject token"},
		"for somebody else":          {form(p.token("u-17", map[string]any{"aud": "payroll"}), ""), "invalid_grant", "subject token"},
		"a credential":               {form(credential, ""), "invalid_grant", "not exchanged"},
		"a credential as actor":      {form(person, credential), "invalid_grant", "not exchanged"},
		"unknown person":             {form(p.token("u-99", nil), ""), "invalid_grant", "no identity"},
		"unregistered actor":         {form(person, p.token("agent-2", nil)), "invalid_grant", "no identity"},
		"a person as actor":          {form(person, person), "invalid_grant", "no identity"},
		"a service as actor":         {form(person, p.token("job-1", nil)), "invalid_grant", "no identity"},
		"actor that is not accepted": {form(person, p.token("agent-1", map[string]any{"aud": "payroll"})), "invalid_grant", "actor token"},
		"subject with an actor":      {form(p.token("u-17", map[string]any{"act": map[string]any{"sub": "agent-1"}}), ""), "invalid_grant", "acts for somebody"},
		"actor with an actor":        {form(person, p.token("agent-1", map[string]any{"act": map[string]any{"sub": "agent-2"}})), "invalid_grant", "acts for somebody"},
	} {
		t.Run(name, func(t *testing.T) {
			w := p.post(c.form)
			var refused api.OAuthError
			if err := json.Unmarshal(w.Body.Bytes(), &refused); err != nil {
				t.Fatalf("%v: %s", err, w.Body)
			}
			if w.Code != http.StatusBadRequest || refused.Code != c.code || !strings.Contains(refused.Description, c.say) {
				t.Errorf("status %d, %+v", w.Code, refused)
			}
			for _, token := range []string{c.form.Get("subject_token"), c.form.Get("actor_token")} {
				if token != "" && (strings.Contains(w.Body.String(), token) || strings.Contains(p.log.String(), token)) {
					t.Error("the token is shown")
				}
			}
		})
	}
	if len(p.minted) != 1 {
		t.Errorf("%d credentials were recorded, want the first one only", len(p.minted))
	}
}

func with(f url.Values, name, value string) url.Values {
	if f.Set(name, value); value == "" {
		f.Del(name)
	}
	return f
}

// TestNothingUnrecorded gives no credential that cannot be recorded.
func TestNothingUnrecorded(t *testing.T) {
	p := newPlace(t, true)
	p.recorded = errors.New("disk full")
	w := p.post(form(p.token("u-17", nil), ""))
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "disk") || strings.Contains(w.Body.String(), "access_token") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// TestPolicyBoundsMinting lets a policy without an issuer "postern" accept no
// credential.
func TestPolicyBoundsMinting(t *testing.T) {
	p := newPlace(t, false)
	granted := p.exchange(t, form(p.token("u-17", nil), ""))
	_, err := p.gateway.Verify(t.Context(), granted.AccessToken)
	var refused *oidc.Error
	if !errors.As(err, &refused) || refused.Code != oidc.CodeUnknownIssuer {
		t.Errorf("got %v", err)
	}
}

func TestLoadKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials.key")
	first, err := signin.LoadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := signin.LoadKey(file)
	if err != nil || !first.Equal(again) {
		t.Fatalf("the key is another one, %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := signin.LoadKey(file); err == nil {
		t.Error("a file without a key was read")
	}
}
