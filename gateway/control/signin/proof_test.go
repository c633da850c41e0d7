package signin_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/gateway/internal/pki"
)

// verifier is well formed; nobody knows its secret.
const verifier = "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

func asking(f url.Values, kind, name, value string) url.Values {
	f.Set("requested_token_type", kind)
	if name != "" {
		f.Set(name, value)
	}
	return f
}

// TestSCRAMGrant is good together with its secret, and never by itself.
func TestSCRAMGrant(t *testing.T) {
	p := newPlace(t, true)
	granted := p.exchange(t, asking(form(p.token("u-17", nil), ""), api.TokenTypeSCRAM, "scram_verifier", verifier))
	if granted.TokenType != "N_A" || granted.IssuedTokenType != api.TokenTypeSCRAM || granted.Subject != "ana" {
		t.Errorf("granted %+v", granted)
	}
	claims, got, err := p.gateway.VerifySCRAM(t.Context(), granted.AccessToken)
	if err != nil || got != verifier || claims["sub"] != "u-17" || claims["jti"] != p.minted[0].ID {
		t.Errorf("the gateway reads %v, %q, %v", claims, got, err)
	}
	var refused *oidc.Error
	if _, err := p.gateway.Verify(t.Context(), granted.AccessToken); !errors.As(err, &refused) || refused.Code != oidc.CodeTokenType {
		t.Errorf("as a token: %v", err)
	}
	credential := p.exchange(t, form(p.token("u-17", nil), ""))
	if _, _, err := p.gateway.VerifySCRAM(t.Context(), credential.AccessToken); !errors.As(err, &refused) || refused.Code != oidc.CodeTokenType {
		t.Errorf("a credential as a grant: %v", err)
	}
	if _, _, err := p.gateway.VerifySCRAM(t.Context(), p.token("u-17", map[string]any{"scram": verifier})); !errors.As(err, &refused) || refused.Code != oidc.CodeTokenType {
		t.Errorf("an identity provider's token as a grant: %v", err)
	}
}

func TestCertificateGranted(t *testing.T) {
	p := newPlace(t, true)
	_, request, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	granted := p.exchange(t, asking(form(p.token("u-17", map[string]any{"groups": []string{"dba"}}), p.token("agent-1", nil)), api.TokenTypeCertificate, "csr", string(request)))
	certs, err := pki.ParseCertificates([]byte(granted.AccessToken))
	if err != nil {
		t.Fatal(err)
	}
	client, err := pki.ReadClient(certs[0])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Groups []string       `json:"groups"`
		Act    map[string]any `json:"act"`
	}
	if err := json.Unmarshal(client.Claims, &claims); err != nil || len(claims.Groups) != 1 || claims.Act["sub"] != "agent-1" {
		t.Errorf("it says %s, %v", client.Claims, err)
	}
	if client.ID != p.minted[0].ID || client.Gateway != "orders" || granted.ExpiresIn != 300 {
		t.Errorf("it is %+v; recorded %+v", client, p.minted[0])
	}
	w := httptest.NewRecorder()
	p.server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth/client-ca.pem", nil))
	authority, err := pki.ParseCertificates(w.Body.Bytes())
	if err != nil || certs[0].CheckSignatureFrom(authority[0]) != nil {
		t.Errorf("the authority that is told did not sign it: %v", err)
	}
}

func TestProofRefused(t *testing.T) {
	p := newPlace(t, true)
	for _, test := range []struct{ name, kind, field, value, text string }{
		{"another kind", "urn:ietf:params:oauth:token-type:saml2", "", "", "requested_token_type must be"},
		{"no request", api.TokenTypeCertificate, "", "", "csr is needed"},
		{"not a request", api.TokenTypeCertificate, "csr", "hello", "csr must be"},
		{"no verifier", api.TokenTypeSCRAM, "", "", "scram_verifier is needed"},
		{"a password", api.TokenTypeSCRAM, "scram_verifier", "hunter2", "scram_verifier is needed"},
		{"few rounds", api.TokenTypeSCRAM, "scram_verifier", strings.Replace(verifier, "4096", "1", 1), "scram_verifier is needed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := p.post(asking(form(p.token("u-17", nil), ""), test.kind, test.field, test.value))
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), test.text) || strings.Contains(w.Body.String(), "hunter2") {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		})
	}
	if len(p.minted) != 0 {
		t.Errorf("%d were recorded", len(p.minted))
	}
}
