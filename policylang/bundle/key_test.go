package bundle_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang/bundle"
)

func TestKeyTextRoundTrips(t *testing.T) {
	k := key(t, "prod-2026.1")
	private, err := bundle.ParsePrivateKey("  " + k.Secret() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if private.Secret() != k.Secret() || private.PublicKey() != k.PublicKey() {
		t.Error("the private key changed")
	}
	public, err := bundle.ParsePublicKey(k.PublicKey().String() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if public != k.PublicKey() || !strings.HasPrefix(public.ID(), "prod-2026.1+") {
		t.Errorf("got %s, want %s", public, k.PublicKey())
	}
}

func TestParseKeyRefuses(t *testing.T) {
	k := key(t, "prod")
	public, private := k.PublicKey().String(), k.Secret()
	tests := []struct {
		name, text, want string
	}{
		{"empty", "", "not a key"},
		{"something else", "ssh-ed25519 AAAA", "not a key"},
		{"a field is missing", strings.Replace(public, "+prod", "", 1), ""},
		{"renamed", strings.Replace(public, "+prod+", "+next+", 1), "fingerprint"},
		{"without a name", strings.Replace(public, "+prod+", "++", 1), "key name"},
		{"bad name", strings.Replace(public, "+prod+", "+pr od+", 1), "key name"},
		{"long name", strings.Replace(public, "+prod+", "+"+strings.Repeat("x", 65)+"+", 1), "key name"},
		{"not base64", public + "!", "not base64"},
		{"short", public[:len(public)-4], ""},
		{"wrong half", private, "private key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := bundle.ParsePublicKey(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) || got != (bundle.PublicKey{}) {
				t.Errorf("public: got %v and error %v, want an error with %q", got, err, tt.want)
			}
			swapped := strings.NewReplacer("public", "private", "private", "public").Replace(tt.text)
			if _, err := bundle.ParsePrivateKey(swapped); err == nil {
				t.Error("private: no error")
			}
		})
	}
}

func TestParsePrivateKeyNeverShowsTheSecret(t *testing.T) {
	secret := key(t, "prod").Secret()
	last := secret[strings.LastIndex(secret, "+prod+")+len("+prod+")+17:]
	for _, text := range []string{secret[:len(secret)-4], secret + "!", strings.Replace(secret, "prod", "other", 1), "x" + secret} {
		for name, parse := range map[string]func(string) error{
			"private": func(s string) error { _, err := bundle.ParsePrivateKey(s); return err },
			"public":  func(s string) error { _, err := bundle.ParsePublicKey(s); return err },
			"ring":    func(s string) error { _, err := bundle.ParseKeyRing(s); return err },
		} {
			if err := parse(text); err == nil || strings.Contains(err.Error(), last[:16]) {
				t.Errorf("%s: error %v is absent or shows the secret", name, err)
			}
		}
	}
}

func TestPrivateKeyNeverPrintsItsSecret(t *testing.T) {
	k := key(t, "prod")
	secret := k.Secret()[len("postern-private-key+prod+")+17:]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{k, []*bundle.PrivateKey{k}} {
			if got := fmt.Sprintf(verb, value); strings.Contains(got, secret) || !strings.Contains(got, "REDACTED") && len(got) > 40 {
				t.Errorf("%s shows %s", verb, got)
			}
		}
	}
	if data, err := json.Marshal(struct{ Key *bundle.PrivateKey }{k}); err != nil || string(data) != `{"Key":{}}` {
		t.Errorf("JSON shows %s (%v)", data, err)
	}
}

func TestKeyRing(t *testing.T) {
	a, b := key(t, "a").PublicKey(), key(t, "b").PublicKey()
	r, err := bundle.ParseKeyRing(fmt.Sprintf("# trusted since March\n\n  %s\n%s\r\n%s", b, a, a))
	if err != nil {
		t.Fatal(err)
	}
	if keys := r.Keys(); len(keys) != 2 || keys[0] != a || keys[1] != b {
		t.Errorf("got keys %v, want %v and %v", keys, a, b)
	}
	again, err := bundle.ParseKeyRing(r.String())
	if err != nil || again.String() != r.String() || !again.Equal(r) {
		t.Errorf("the ring's text does not round-trip: %v", err)
	}
}

// revoking is a ring that holds a key and revokes it, and trusts another.
func revoking(t *testing.T, revoked, other *bundle.PrivateKey) bundle.KeyRing {
	t.Helper()
	r, err := bundle.ParseKeyRing(fmt.Sprintf("%s\nrevoked %s\n%s\n", revoked.PublicKey(), revoked.PublicKey().ID(), other.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKeyRingRevokes(t *testing.T) {
	a, b := key(t, "a"), key(t, "b")
	r := revoking(t, a, b)
	if r.Trusts(a.PublicKey().ID()) || !r.Trusts(b.PublicKey().ID()) || len(r.Keys()) != 1 {
		t.Errorf("trusted are %v", r.Keys())
	}
	again, err := bundle.ParseKeyRing(r.String())
	if err != nil || !again.Equal(r) {
		t.Errorf("the revocation is lost in the ring's text: %v", err)
	}
	if without, err := bundle.NewKeyRing(b.PublicKey()); err != nil || without.Equal(r) {
		t.Errorf("a ring that revokes equals one that does not (%v)", err)
	}
	for text, want := range map[string]string{
		"revoked a+12": "not a key's id", "revoked a b+0011223344556677": "key name",
		a.PublicKey().String() + "\nrevoked " + a.PublicKey().ID(): "holds no key that is not revoked",
	} {
		if _, err := bundle.ParseKeyRing(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestParseKeyRingNamesEveryBadLine(t *testing.T) {
	_, err := bundle.ParseKeyRing("junk\n" + key(t, "a").PublicKey().String() + "\n\nmore junk\n")
	if err == nil || !strings.Contains(err.Error(), "line 1:") || !strings.Contains(err.Error(), "line 4:") {
		t.Errorf("got %v, want an error that names lines 1 and 4", err)
	}
	if _, err := bundle.ParseKeyRing("# nothing yet\n"); err == nil {
		t.Error("an empty ring is not an error")
	}
	if _, err := bundle.NewKeyRing(bundle.PublicKey{}); err == nil {
		t.Error("an empty key is not an error")
	}
}

func TestNewSignerWantsEd25519(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.NewSigner("prod", crypto.Signer(k)); err == nil || !strings.Contains(err.Error(), "Ed25519") {
		t.Errorf("got %v, want an error that asks for Ed25519", err)
	}
}
