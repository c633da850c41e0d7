package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/policylang"
)

func (b *bench) token(t *testing.T, key testKey) string {
	t.Helper()
	return sign(t, key, nil, claimsAt(b.clock.Now(), nil))
}

// wantRequests checks how often the keys were asked for.
func (b *bench) wantRequests(t *testing.T, want int64) {
	t.Helper()
	if got := b.issuer.jwks.Load(); got != want {
		t.Fatalf("keys were read %d times, want %d", got, want)
	}
}

func TestKeysAreReadAgainAfterTenMinutes(t *testing.T) {
	key := ecKey(t, "k1")
	b := newBench(t, key.public())
	b.mustAccept(t, b.token(t, key))
	b.clock.advance(10*time.Minute - time.Second)
	b.mustAccept(t, b.token(t, key))
	b.wantRequests(t, 1)
	b.clock.advance(time.Second)
	b.mustAccept(t, b.token(t, key))
	b.wantRequests(t, 2)
	if n := b.issuer.discovery.Load(); n != 1 {
		t.Errorf("the issuer was discovered %d times, want 1 an hour", n)
	}
	b.clock.advance(time.Hour)
	b.mustAccept(t, b.token(t, key))
	if n := b.issuer.discovery.Load(); n != 2 {
		t.Errorf("the issuer was discovered %d times, want 2", n)
	}
}

func TestRemovedKeyIsDistrusted(t *testing.T) {
	old, young := ecKey(t, "old"), ecKey(t, "young")
	b := newBench(t, old.public(), young.public())
	b.mustAccept(t, b.token(t, old))
	b.issuer.publish(young.public())
	b.clock.advance(10 * time.Minute)
	_ = b.mustRefuse(t, b.token(t, old), oidc.CodeUnknownKey)
	b.mustAccept(t, b.token(t, young))

	b.issuer.publish()
	b.clock.advance(10 * time.Minute)
	_ = b.mustRefuse(t, b.token(t, young), oidc.CodeUnknownKey)
}

func TestNewKeyIsFoundAtOnce(t *testing.T) {
	old, young := ecKey(t, "old"), ecKey(t, "young")
	b := newBench(t, old.public())
	b.mustAccept(t, b.token(t, old))
	b.issuer.publish(old.public(), young.public())
	b.mustAccept(t, b.token(t, young))
	b.wantRequests(t, 2)
}

func TestFloodOfUnknownKeysCostsOneRequestIn30Seconds(t *testing.T) {
	key := ecKey(t, "k1")
	b := newBench(t, key.public())
	b.mustAccept(t, b.token(t, key))
	stranger := ecKey(t, "")
	flood := func() {
		var group sync.WaitGroup
		for i := range 50 {
			token := sign(t, stranger, map[string]any{"kid": fmt.Sprint("bogus-", i)}, claimsAt(b.clock.Now(), nil))
			group.Go(func() {
				if _, err := b.Verify(t.Context(), token); err == nil {
					t.Error("a bogus token was accepted")
				}
			})
		}
		group.Wait()
	}
	flood()
	b.wantRequests(t, 2)
	b.clock.advance(29 * time.Second)
	flood()
	b.wantRequests(t, 2)
	b.clock.advance(time.Second)
	flood()
	b.wantRequests(t, 3)
	b.mustAccept(t, b.token(t, key))
	b.wantRequests(t, 3)
}

func TestFirstUnknownKeyCostsOneRequest(t *testing.T) {
	b := newBench(t, ecKey(t, "k1").public())
	_ = b.mustRefuse(t, b.token(t, ecKey(t, "bogus")), oidc.CodeUnknownKey)
	b.wantRequests(t, 1)
}

func TestCallersShareARequest(t *testing.T) {
	key := ecKey(t, "k1")
	b := newBench(t, key.public())
	token := b.token(t, key)
	release := make(chan struct{})
	b.issuer.set(func(*http.Request) (*http.Response, error) {
		<-release
		return nil, nil
	})
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := b.Verify(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	group.Wait()
	b.wantRequests(t, 1)
}

// TestKnownKeysDontWait shows that a flood's request doesn't delay the others.
func TestKnownKeysDontWait(t *testing.T) {
	key := ecKey(t, "k1")
	b := newBench(t, key.public())
	b.mustAccept(t, b.token(t, key))
	asked, release := make(chan struct{}), make(chan struct{})
	b.issuer.set(func(*http.Request) (*http.Response, error) {
		close(asked)
		<-release
		return nil, nil
	})
	bogus := b.token(t, ecKey(t, "bogus"))
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := b.Verify(t.Context(), bogus); err == nil {
			t.Error("a bogus token was accepted")
		}
	})
	<-asked
	b.mustAccept(t, b.token(t, key))
	close(release)
	group.Wait()
}

var errDown = errors.New("connection refused")

func down(*http.Request) (*http.Response, error) { return nil, errDown }

func TestIssuerDownAtStart(t *testing.T) {
	key := ecKey(t, "k1")
	b := newBench(t, key.public())
	b.issuer.set(down)
	refused := b.mustRefuse(t, b.token(t, key), oidc.CodeIssuerUnreachable)
	if !strings.Contains(refused.Detail, issuerURL) || !errors.Is(refused, errDown) {
		t.Errorf("got %v, want the issuer and the cause", refused)
	}
	// Asked again after pauses that double, however many logins arrive.
	attempts := b.issuer.discovery.Load()
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		b.clock.advance(pause*time.Second - time.Millisecond)
		_ = b.mustRefuse(t, b.token(t, key), oidc.CodeIssuerUnreachable)
		if n := b.issuer.discovery.Load(); n != attempts {
			t.Fatalf("the issuer was asked within %ds of its failure", pause)
		}
		b.clock.advance(time.Millisecond)
		_ = b.mustRefuse(t, b.token(t, key), oidc.CodeIssuerUnreachable)
		attempts++
		if n := b.issuer.discovery.Load(); n != attempts {
			t.Fatalf("the issuer was asked %d times after a pause of %ds, want %d", n, pause, attempts)
		}
	}
	b.issuer.set(nil)
	b.clock.advance(30 * time.Second)
	b.mustAccept(t, b.token(t, key))
}

func TestIssuerDownLater(t *testing.T) {
	key := ecKey(t, "k1")
	b := newBench(t, key.public())
	b.mustAccept(t, b.token(t, key))
	b.issuer.set(down)
	b.clock.advance(time.Hour - time.Second)
	b.mustAccept(t, b.token(t, key)) // stale, within bounds
	_ = b.mustRefuse(t, b.token(t, ecKey(t, "k2")), oidc.CodeIssuerUnreachable)
	b.clock.advance(time.Second)
	_ = b.mustRefuse(t, b.token(t, key), oidc.CodeIssuerUnreachable)
	b.issuer.set(nil)
	b.clock.advance(30 * time.Second)
	b.mustAccept(t, b.token(t, key))
}

func TestIssuerAnswersThatAreRefused(t *testing.T) {
	key := ecKey(t, "k1")
	discovery := func(v any) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
				return respond(http.StatusOK, v), nil
			}
			return nil, nil
		}
	}
	keys := func(status int, v any) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/jwks") {
				return respond(status, v), nil
			}
			return nil, nil
		}
	}
	tests := []struct {
		name   string
		answer func(*http.Request) (*http.Response, error)
		want   string
	}{
		{"redirect", func(*http.Request) (*http.Response, error) {
			response := respond(http.StatusFound, []byte{})
			response.Header.Set("Location", "https://elsewhere.example.com/")
			return response, nil
		}, "redirects"},
		{"status", keys(http.StatusBadGateway, []byte("internal: secret text")), "status 502"},                                               //nolint:bodyclose // the answer is made in memory
		{"another issuer", discovery(map[string]any{"issuer": "https://evil.example.com", "jwks_uri": issuerURL + "/jwks"}), "calls itself"}, //nolint:bodyclose // the answer is made in memory
		{"plain keys", discovery(map[string]any{"issuer": issuerURL, "jwks_uri": "http://id.example.com/jwks"}), "not an https URL"},         //nolint:bodyclose // the answer is made in memory
		{"no keys address", discovery(map[string]any{"issuer": issuerURL}), "jwks_uri"},                                                      //nolint:bodyclose // the answer is made in memory
		{"no JSON", keys(http.StatusOK, []byte("<html>")), "not the JSON"},                                                                   //nolint:bodyclose // the answer is made in memory
		{"no list of keys", keys(http.StatusOK, map[string]any{}), "no list of keys"},                                                        //nolint:bodyclose // the answer is made in memory
		{"too long", keys(http.StatusOK, []byte(`{"keys":[]}`+strings.Repeat(" ", 1<<20))), "longer than 1048576 bytes"},                     //nolint:bodyclose // the answer is made in memory
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, key.public())
			b.issuer.set(test.answer)
			refused := b.mustRefuse(t, b.token(t, key), oidc.CodeIssuerUnreachable)
			if !strings.Contains(refused.Detail, test.want) {
				t.Errorf("got %v, want %q in it", refused, test.want)
			}
			if strings.Contains(refused.Detail+b.log.String(), "secret text") {
				t.Error("the issuer's answer was quoted")
			}
		})
	}
}

func TestKeysThatAreNotTrusted(t *testing.T) {
	key := ecKey(t, "k1")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := key.public()
	tests := []struct {
		name      string
		key       testKey
		published any
	}{
		{"for encryption", key, jose.JSONWebKey{Key: public.Key, KeyID: "k1", Use: "enc"}},
		{"of another algorithm", key, jose.JSONWebKey{Key: public.Key, KeyID: "k1", Algorithm: "ES384"}},
		{"private", key, jose.JSONWebKey{Key: key.private, KeyID: "k1"}},
		{"symmetric", key, map[string]any{"kty": "oct", "kid": "k1", "k": "c2VjcmV0"}},
		{"of an unknown kind", key, map[string]any{"kty": "AKP", "kid": "k1"}},
		{"no key", key, "k1"},
		{"too short", testKey{"k1", jose.RS256, weak}, jose.JSONWebKey{Key: weak.Public(), KeyID: "k1"}},
		{"of another curve", key, jose.JSONWebKey{Key: p384.Public(), KeyID: "k1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			other := ecKey(t, "other")
			b := newBench(t, test.published, other.public())
			_ = b.mustRefuse(t, b.token(t, test.key), oidc.CodeUnknownKey)
			b.mustAccept(t, b.token(t, other)) // the rest of the set is good
		})
	}
	t.Run("two without a choice", func(t *testing.T) {
		b := newBench(t, key.public(), ecKey(t, "k2").public())
		_ = b.mustRefuse(t, sign(t, key, map[string]any{"kid": nil}, claimsAt(b.clock.Now(), nil)), oidc.CodeUnknownKey)
	})
}

// TestIssuerAddresses shows where a verifier goes without being asked twice:
// nowhere but to https, and to loopback when that is allowed.
func TestIssuerAddresses(t *testing.T) {
	key := ecKey(t, "k1")
	tests := []struct {
		url      string
		loopback bool // AllowLoopbackHTTP
		asked    bool
	}{
		{"https://id.example.com", false, true},
		{"http://id.example.com", false, false},
		{"http://id.example.com", true, false},
		{"http://127.0.0.1:8080", false, false},
		{"http://127.0.0.1:8080", true, true},
		{"http://[::1]:8080", true, true},
		{"http://localhost:8080", true, false},
		{"http://127.0.0.1.example.com", true, false},
		{"http://127.0.0.1@id.example.com", true, false},
		{"https://user:pw@id.example.com", false, false},
		{"file:///etc/passwd", true, false},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.url, " ", test.loopback), func(t *testing.T) {
			b := newBench(t)
			verifier := oidc.NewVerifier(oidc.Config{
				Issuers: func() []policylang.Issuer {
					return []policylang.Issuer{{Name: "x", URL: test.url, Audience: audience}}
				},
				AllowLoopbackHTTP: test.loopback, Transport: b.issuer, Clock: b.clock.Now,
				Logger: slog.New(slog.DiscardHandler),
			})
			_, err := verifier.Verify(t.Context(), sign(t, key, nil, claimsAt(b.clock.Now(), map[string]any{"iss": test.url})))
			if err == nil || strings.Contains(err.Error(), "pw") {
				t.Errorf("got error %v", err)
			}
			if asked := b.issuer.discovery.Load() > 0; asked != test.asked {
				t.Errorf("asked %v, want %v", asked, test.asked)
			}
		})
	}
}

// TestRealIssuer rotates and removes keys of a real issuer over HTTP.
func TestRealIssuer(t *testing.T) {
	for _, algorithm := range []string{"ES256", "RS256"} {
		t.Run(algorithm, func(t *testing.T) {
			issuer, err := demoissuer.Start(demoissuer.Config{Algorithm: algorithm})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = issuer.Close() }()
			b := newBench(t)
			clock := &fakeClock{now: time.Now()}
			b.Verifier = oidc.NewVerifier(oidc.Config{
				Issuers: func() []policylang.Issuer {
					return []policylang.Issuer{{Name: "demo", URL: issuer.URL(), Audience: audience}}
				},
				AllowLoopbackHTTP: true, Clock: clock.Now,
				Logger: slog.New(slog.NewTextHandler(b.log, nil)),
			})
			token := func() string {
				return issuer.Issue(map[string]any{"sub": "ana", "aud": audience}, 2*time.Hour)
			}
			first := token()
			b.mustAccept(t, first)
			if err := issuer.Rotate(); err != nil {
				t.Fatal(err)
			}
			second := token()
			b.mustAccept(t, second)
			b.mustAccept(t, first)
			issuer.Remove()
			clock.advance(10 * time.Minute)
			_ = b.mustRefuse(t, first, oidc.CodeUnknownKey)
			b.mustAccept(t, second)
			if err := issuer.Close(); err != nil {
				t.Fatal(err)
			}
			clock.advance(59 * time.Minute)
			b.mustAccept(t, second)
			clock.advance(time.Minute)
			_ = b.mustRefuse(t, second, oidc.CodeIssuerUnreachable)
		})
	}
}
