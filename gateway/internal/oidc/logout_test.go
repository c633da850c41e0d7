package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/policylang"
)

// TestLogout accepts logout tokens, and nothing that looks like one.
func TestLogout(t *testing.T) {
	newKey := func() jose.JSONWebKey {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return jose.JSONWebKey{Key: private, KeyID: "k", Algorithm: "ES256"}
	}
	key, stranger := newKey(), newKey()
	fake := &fakeIssuer{}
	fake.publish(key.Public())
	issuers := []policylang.Issuer{{Name: "corp", URL: issuerURL, Audience: audience}}
	v := oidc.NewVerifier(oidc.Config{Issuers: func() []policylang.Issuer { return issuers }, Transport: fake})
	now := time.Now()
	event := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	good := map[string]any{
		"iss": issuerURL, "aud": audience, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": "l-1", "sub": "u-1", "sid": "s-1", "events": event,
	}
	for name, c := range map[string]struct {
		typ    string
		key    jose.JSONWebKey
		change map[string]any // nil removes
		want   oidc.Code      // empty: accepted
	}{
		"good":                   {"logout+jwt", key, nil, ""},
		"without a type":         {"", key, nil, ""},
		"about all of a subject": {"logout+jwt", key, map[string]any{"sid": nil}, ""},
		"about one session":      {"logout+jwt", key, map[string]any{"sub": nil}, ""},
		"without an end":         {"logout+jwt", key, map[string]any{"exp": nil}, ""},
		"an ID token":            {"JWT", key, map[string]any{"events": nil}, oidc.CodeTokenType},
		"another event":          {"JWT", key, map[string]any{"events": map[string]any{"x": map[string]any{}}}, oidc.CodeTokenType},
		"an event that is text":  {"JWT", key, map[string]any{"events": "http://schemas.openid.net/event/backchannel-logout"}, oidc.CodeTokenType},
		"with a nonce":           {"logout+jwt", key, map[string]any{"nonce": "n"}, oidc.CodeTokenType},
		"a credential":           {"postern+jwt", key, nil, oidc.CodeTokenType},
		"about nobody":           {"logout+jwt", key, map[string]any{"sub": nil, "sid": nil}, oidc.CodeMalformed},
		"without an id":          {"logout+jwt", key, map[string]any{"jti": nil}, oidc.CodeMalformed},
		"for somebody else":      {"logout+jwt", key, map[string]any{"aud": "payroll"}, oidc.CodeAudience},
		"of a stranger":          {"logout+jwt", key, map[string]any{"iss": "https://other.example.com"}, oidc.CodeUnknownIssuer},
		"signed by a stranger":   {"logout+jwt", stranger, nil, oidc.CodeSignature},
		"expired":                {"logout+jwt", key, map[string]any{"iat": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(-time.Minute).Unix()}, oidc.CodeExpired},
		"old, without an end":    {"logout+jwt", key, map[string]any{"iat": now.Add(-time.Hour).Unix(), "exp": nil}, oidc.CodeExpired},
		"good for too long":      {"logout+jwt", key, map[string]any{"exp": now.Add(time.Hour).Unix()}, oidc.CodeLifetime},
	} {
		t.Run(name, func(t *testing.T) {
			claims := maps.Clone(good)
			for name, value := range c.change {
				if claims[name] = value; value == nil {
					delete(claims, name)
				}
			}
			said, err := v.VerifyLogout(t.Context(), signAs(t, c.key, c.typ, claims))
			var refused *oidc.Error
			switch {
			case c.want == "" && (err != nil || said.Issuer != issuerURL || said.ID != "l-1" || said.Subject == "" && said.Session == ""):
				t.Errorf("it says %+v, %v", said, err)
			case c.want != "" && (!errors.As(err, &refused) || refused.Code != c.want || said != (oidc.Logout{})):
				t.Errorf("it says %+v, %v, want %s", said, err, c.want)
			}
		})
	}
}
