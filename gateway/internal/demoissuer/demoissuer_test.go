package demoissuer_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func start(t *testing.T, cfg demoissuer.Config) *demoissuer.Issuer {
	t.Helper()
	issuer, err := demoissuer.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := issuer.Close(); err != nil {
			t.Error(err)
		}
	})
	return issuer
}

// ask makes a request without keeping the connection.
func ask(t *testing.T, request *http.Request) (status int, body string) {
	t.Helper()
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func get(t *testing.T, address string, v any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	status, body := ask(t, request)
	if status != http.StatusOK {
		t.Fatalf("got status %d: %s", status, body)
	}
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatal(err)
	}
}

func published(t *testing.T, issuer *demoissuer.Issuer) jose.JSONWebKeySet {
	t.Helper()
	var keys jose.JSONWebKeySet
	get(t, issuer.URL()+"/jwks", &keys)
	return keys
}

// verify returns the claims if a published key signed the token.
func verify(t *testing.T, issuer *demoissuer.Issuer, token string) map[string]any {
	t.Helper()
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(published(t, issuer))
	if err != nil {
		return nil
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestStartRefusesOtherAddresses(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "localhost:0", "192.0.2.1:0", "127.0.0.1", "nonsense"} {
		if issuer, err := demoissuer.Start(demoissuer.Config{Addr: addr}); err == nil {
			_ = issuer.Close()
			t.Errorf("%q was accepted", addr)
		}
	}
}

func TestStartRefusesOtherAlgorithms(t *testing.T) {
	if issuer, err := demoissuer.Start(demoissuer.Config{Algorithm: "HS256"}); err == nil {
		_ = issuer.Close()
		t.Error("HS256 was accepted")
	}
}

func TestDiscovery(t *testing.T) {
	issuer := start(t, demoissuer.Config{})
	var document map[string]any
	get(t, issuer.URL()+"/.well-known/openid-configuration", &document)
	if document["issuer"] != issuer.URL() || document["jwks_uri"] != issuer.URL()+"/jwks" {
		t.Errorf("got %v", document)
	}
}

func TestIssue(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	issuer := start(t, demoissuer.Config{Clock: func() time.Time { return now }})
	claims := verify(t, issuer, issuer.Issue(map[string]any{"sub": "ana", "aud": "postern", "jti": nil}, time.Hour))
	want := map[string]any{
		"iss": issuer.URL(), "sub": "ana", "aud": "postern",
		"iat": float64(now.Unix()), "exp": float64(now.Add(time.Hour).Unix()),
	}
	if len(claims) != len(want) {
		t.Errorf("got %v, want %v", claims, want)
	}
	for name, value := range want {
		if claims[name] != value {
			t.Errorf("got %s %v, want %v", name, claims[name], value)
		}
	}
}

func TestRotateAndRemove(t *testing.T) {
	issuer := start(t, demoissuer.Config{})
	claims := map[string]any{"sub": "ana"}
	first := issuer.Issue(claims, time.Hour)
	if err := issuer.Rotate(); err != nil {
		t.Fatal(err)
	}
	second := issuer.Issue(claims, time.Hour)
	if n := len(published(t, issuer).Keys); n != 2 {
		t.Errorf("%d keys are published, want 2", n)
	}
	if verify(t, issuer, first) == nil || verify(t, issuer, second) == nil {
		t.Error("a token of a published key does not verify")
	}
	issuer.Remove()
	if verify(t, issuer, first) != nil {
		t.Error("the removed key is still published")
	}
	if verify(t, issuer, second) == nil {
		t.Error("the newest key was removed")
	}
	for _, key := range published(t, issuer).Keys {
		if !key.IsPublic() {
			t.Error("a private key is published")
		}
	}
}

func TestTokenEndpoint(t *testing.T) {
	issuer := start(t, demoissuer.Config{Users: map[string]map[string]any{
		"ana": {"aud": "postern", "email": "ana@example.com"},
		"bot": {"sub": "repo:acme/shop", "aud": "postern"},
	}})
	post := func(user, secret, accept, host string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, issuer.URL()+"/token",
			strings.NewReader(url.Values{"user": {user}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Accept", accept)
		if secret != "" {
			request.Header.Set("Authorization", "Bearer "+secret)
		}
		if host != "" {
			request.Host = host
		}
		return ask(t, request)
	}
	status, body := post("ana", issuer.Secret(), "text/plain", "")
	if status != http.StatusOK || verify(t, issuer, body)["sub"] != "ana" {
		t.Errorf("got status %d and no token of ana", status)
	}
	status, body = post("bot", issuer.Secret(), "", "")
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		t.Fatalf("got status %d, %v", status, err)
	}
	if verify(t, issuer, answer.AccessToken)["sub"] != "repo:acme/shop" || answer.ExpiresIn != 900 {
		t.Errorf("got a token of somebody else, or for %d s", answer.ExpiresIn)
	}

	refusals := []struct {
		name, user, secret, host string
		want                     int
	}{
		{"no secret", "ana", "", "", http.StatusUnauthorized},
		{"wrong secret", "ana", "guess", "", http.StatusUnauthorized},
		{"unknown user", "eve", issuer.Secret(), "", http.StatusNotFound},
		{"rebound name", "ana", issuer.Secret(), "evil.example.com:80", http.StatusForbidden},
	}
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			status, body := post(test.user, test.secret, "text/plain", test.host)
			if status != test.want || strings.Count(body, ".") == 2 {
				t.Errorf("got status %d, want %d", status, test.want)
			}
		})
	}
}
