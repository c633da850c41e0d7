package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/policylang"
)

const mintURL = "https://control.example.com"

// samlURL is the entityID of a SAML identity provider. The control plane may speak
// for it, and it makes no tokens.
const samlURL = "https://sso.example.com/metadata"

// TestCredentials accepts what the control plane minted, and nothing that
// looks like it.
func TestCredentials(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: "k", Algorithm: "ES256"}
	fake := &fakeIssuer{}
	fake.publish(key.Public())
	issuers := []policylang.Issuer{
		{Name: "corp", URL: issuerURL, Audience: audience},
		{Name: "postern", URL: mintURL, Audience: "orders"},
		{Name: "sso", URL: samlURL, Audience: audience, SAMLMetadata: "<EntityDescriptor/>"},
	}
	verifier := oidc.NewVerifier(oidc.Config{Issuers: func() []policylang.Issuer { return issuers }, Transport: fake})
	now := time.Now()
	inner := map[string]any{"iss": issuerURL, "sub": "u-17", "iat": now.Unix()}
	good := map[string]any{
		"iss": mintURL, "aud": "orders", "sub": "ana", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": "c-1", "claims": inner,
	}
	for name, c := range map[string]struct {
		typ    string
		change map[string]any
		want   oidc.Code // empty: accepted
	}{
		"good":                              {"postern+jwt", nil, ""},
		"its long type":                     {"application/postern+jwt", nil, ""},
		"an ID token of the control plane":  {"JWT", nil, oidc.CodeTokenType},
		"no type":                           {"", nil, oidc.CodeTokenType},
		"an identity provider's credential": {"postern+jwt", map[string]any{"iss": issuerURL, "aud": audience}, oidc.CodeTokenType},
		"for another gateway":               {"postern+jwt", map[string]any{"aud": "payroll"}, oidc.CodeAudience},
		"too long a life":                   {"postern+jwt", map[string]any{"exp": now.Add(16 * time.Minute).Unix()}, oidc.CodeLifetime},
		"expired":                           {"postern+jwt", map[string]any{"iat": now.Add(-20 * time.Minute).Unix(), "exp": now.Add(-10 * time.Minute).Unix()}, oidc.CodeExpired},
		"no claims":                         {"postern+jwt", map[string]any{"claims": nil}, oidc.CodeMalformed},
		"no subject":                        {"postern+jwt", map[string]any{"claims": map[string]any{"iss": issuerURL}}, oidc.CodeMalformed},
		"for an issuer that is not named":   {"postern+jwt", map[string]any{"claims": map[string]any{"iss": "https://other.example.com", "sub": "u"}}, oidc.CodeUnknownIssuer},
		"of a SAML identity provider's own": {"JWT", map[string]any{"iss": samlURL, "aud": audience}, oidc.CodeUnknownIssuer},
		"for itself":                        {"postern+jwt", map[string]any{"claims": map[string]any{"iss": mintURL, "sub": "u"}}, oidc.CodeUnknownIssuer},
		"an actor of one that is not named": {"postern+jwt", map[string]any{"claims": map[string]any{"iss": issuerURL, "sub": "u", "act": map[string]any{"iss": "https://other.example.com", "sub": "a"}}}, oidc.CodeUnknownIssuer},
		"an actor that is no object":        {"postern+jwt", map[string]any{"claims": map[string]any{"iss": issuerURL, "sub": "u", "act": "a"}}, oidc.CodeMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			claims := maps.Clone(good)
			maps.Copy(claims, c.change)
			got, err := verifier.Verify(t.Context(), signAs(t, key, c.typ, claims))
			var refused *oidc.Error
			switch {
			case c.want == "" && (err != nil || got["iss"] != issuerURL || got["sub"] != "u-17" || got["jti"] != "c-1"):
				t.Errorf("got %v, %v", got, err)
			case c.want != "" && (!errors.As(err, &refused) || refused.Code != c.want):
				t.Errorf("got error %v, want %s", err, c.want)
			}
		})
	}
}

// TestCredentialForSAML accepts a credential for somebody who signed in by SAML.
func TestCredentialForSAML(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: "k", Algorithm: "ES256"}
	fake := &fakeIssuer{}
	fake.publish(key.Public())
	issuers := []policylang.Issuer{
		{Name: "postern", URL: mintURL, Audience: "orders"},
		{Name: "sso", URL: samlURL, Audience: audience, SAMLMetadata: "<EntityDescriptor/>"},
	}
	verifier := oidc.NewVerifier(oidc.Config{Issuers: func() []policylang.Issuer { return issuers }, Transport: fake})
	now := time.Now()
	got, err := verifier.Verify(t.Context(), signAs(t, key, "postern+jwt", map[string]any{
		"iss": mintURL, "aud": "orders", "sub": "ana", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": "c-1",
		"claims": map[string]any{"iss": samlURL, "sub": "u-17"},
	}))
	if err != nil || got["iss"] != samlURL {
		t.Errorf("got %v, %v", got, err)
	}
}

func signAs(t *testing.T, key jose.JSONWebKey, typ string, claims map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", key.KeyID)
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key.Key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
