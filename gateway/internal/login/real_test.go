package login_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/issuertest"
	"github.com/posternhq/postern/gateway/internal/login"
	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/policylang"
)

// signIn signs ana in by a browser with cookies.
func signIn(t *testing.T, i *issuertest.Issuer) *login.Login {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := discover(t, i).Browser(ctx, login.BrowserConfig{Hint: "ana", Open: func(page string) error {
		go func() {
			if err := issuertest.Browse(page); err != nil {
				t.Errorf("the browser: %v", err)
			}
		}()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func discover(t *testing.T, i *issuertest.Issuer) *login.Provider {
	t.Helper()
	at := api.SignInIssuer{Name: "corp", URL: i.URL, ClientID: issuertest.ClientID}
	p, err := login.Discover(t.Context(), at, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRealDevice signs in by the device flow: on another device ana enters the
// code, or refuses it.
func TestRealDevice(t *testing.T) {
	i := issuertest.Start(t)
	issuers := []policylang.Issuer{{Name: "corp", URL: i.URL, Audience: issuertest.ClientID}}
	v := oidc.NewVerifier(oidc.Config{Issuers: func() []policylang.Issuer { return issuers }, AllowLoopbackHTTP: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := discover(t, i).Device(ctx, func(d *oauth2.DeviceAuthResponse) {
		if d.UserCode == "" || d.VerificationURI != i.URL+"/device" {
			t.Errorf("the person is told %q and %q", d.UserCode, d.VerificationURI)
		}
		if err := issuertest.Browse(d.VerificationURIComplete); err != nil {
			t.Errorf("the other device: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if claims, err := v.Verify(t.Context(), l.IDToken); err != nil || claims["sub"] != "ana" || l.Refresh == "" {
		t.Errorf("it is the login of %v, %v", claims["sub"], err)
	}
	_, err = discover(t, i).Device(ctx, func(d *oauth2.DeviceAuthResponse) { i.Tell(t, "refuse "+d.UserCode) })
	if err == nil || !strings.Contains(err.Error(), "it was refused there") {
		t.Errorf("refused there: %v", err)
	}
}

// clock can be set forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// TestRealIssuer is the life of an issuer's keys, as a gateway sees it.
func TestRealIssuer(t *testing.T) {
	i, c := issuertest.Start(t), &clock{}
	issuers := []policylang.Issuer{{Name: "corp", URL: i.URL, Audience: issuertest.ClientID}}
	v := oidc.NewVerifier(oidc.Config{Issuers: func() []policylang.Issuer { return issuers }, AllowLoopbackHTTP: true, Clock: c.now})
	accepted := func(what, token string) {
		t.Helper()
		claims, err := v.Verify(t.Context(), token)
		if err != nil || claims["sub"] != "ana" {
			t.Fatalf("%s: %v, %v", what, claims, err)
		}
	}
	refused := func(what, token string, want oidc.Code) {
		t.Helper()
		_, err := v.Verify(t.Context(), token)
		var e *oidc.Error
		if !errors.As(err, &e) || e.Code != want {
			t.Fatalf("%s: got %v, want %s", what, err, want)
		}
	}

	first := signIn(t, i)
	accepted("the first token", first.IDToken)
	refused("an altered token", altered(first.IDToken), oidc.CodeSignature)

	i.Tell(t, "rotate")
	second := signIn(t, i)
	accepted("a token of a key that is new", second.IDToken)
	accepted("a token of the key before", first.IDToken)

	before := i.Tell(t, "fetches")
	for n := range 50 {
		refused("a token of a key that there is not", withKey(t, first.IDToken, fmt.Sprint("bogus-", n)), oidc.CodeUnknownKey)
	}
	if after := i.Tell(t, "fetches"); after != before {
		t.Errorf("fifty bogus tokens made %s requests of %s, want none so soon after the last", after, before)
	}

	i.Tell(t, "remove")
	accepted("a token of a withdrawn key, before the keys are read again", first.IDToken)
	c.forward(11 * time.Minute)
	refused("a token of a withdrawn key", first.IDToken, oidc.CodeUnknownKey)
	accepted("a token of the key that stays", second.IDToken)

	i.Stop()
	c.forward(11 * time.Minute)
	accepted("while the issuer is away", second.IDToken)
	c.forward(time.Hour)
	refused("when it has been away for long", second.IDToken, oidc.CodeIssuerUnreachable)
}

// TestRealLogout has the real issuer end a sign-in.
func TestRealLogout(t *testing.T) {
	sent := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { sent <- r.PostFormValue("logout_token") }))
	t.Cleanup(server.Close)
	i := issuertest.Start(t, server.URL)
	issuers := []policylang.Issuer{{Name: "corp", URL: i.URL, Audience: issuertest.ClientID}}
	v := oidc.NewVerifier(oidc.Config{Issuers: func() []policylang.Issuer { return issuers }, AllowLoopbackHTTP: true})
	claims, err := v.Verify(t.Context(), signIn(t, i).IDToken)
	if err != nil {
		t.Fatal(err)
	}
	session, _ := claims["sid"].(string)
	if session == "" {
		t.Fatal("the ID token names no session")
	}
	if said := i.Tell(t, "logout ana "+session); said != "done" {
		t.Fatal(said)
	}
	token := <-sent
	said, err := v.VerifyLogout(t.Context(), token)
	if err != nil || said.Issuer != i.URL || said.Subject != "ana" || said.Session != session || said.ID == "" {
		t.Errorf("it says %+v, %v", said, err)
	}
	var refused *oidc.Error
	if _, err := v.Verify(t.Context(), token); !errors.As(err, &refused) || refused.Code != oidc.CodeTokenType {
		t.Errorf("as a token to log in with: %v", err)
	}
}

// TestRenew exchanges a refresh token at the real issuer.
func TestRenew(t *testing.T) {
	i := issuertest.Start(t)
	l := signIn(t, i)
	if l.Refresh == "" {
		t.Fatal("the issuer gave no refresh token")
	}
	l.Control, l.Expires = "https://control.example.com", time.Now().Add(-time.Minute)
	fresh, err := login.Renew(t.Context(), l, time.Now(), http.DefaultClient)
	if err != nil || fresh.IDToken == l.IDToken || !fresh.Expires.After(time.Now()) || fresh.Control != l.Control {
		t.Fatalf("%v, it expires at %v", err, fresh.Expires)
	}
	if fresh.Subject != "ana" {
		t.Errorf("it is the login of %q", fresh.Subject)
	}
	fresh.Subject, fresh.Expires = "ben", time.Now().Add(-time.Minute)
	if _, err := login.Renew(t.Context(), fresh, time.Now(), http.DefaultClient); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("a login that becomes another's: %v", err)
	}
	l.Refresh = "not one"
	if _, err := login.Renew(t.Context(), l, time.Now(), http.DefaultClient); !errors.Is(err, login.ErrExpired) {
		t.Errorf("got %v, want ErrExpired", err)
	}
}

// altered changes a claim under the signature.
func altered(token string) string {
	parts := strings.Split(token, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), `"ana"`, `"ben"`, 1)))
	return strings.Join(parts, ".")
}

// withKey names another key in the header.
func withKey(t *testing.T, token, id string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	header := map[string]any{}
	data, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err == nil {
		err = json.Unmarshal(data, &header)
	}
	if err != nil {
		t.Fatal(err)
	}
	header["kid"] = id
	if data, err = json.Marshal(header); err != nil {
		t.Fatal(err)
	}
	parts[0] = base64.RawURLEncoding.EncodeToString(data)
	return strings.Join(parts, ".")
}
