package oidc_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/policylang"
)

// FuzzVerify changes a good token: only the good one is ever accepted, and
// every refusal has a code.
func FuzzVerify(f *testing.F) {
	issuer := &fakeIssuer{}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	verifier := oidc.NewVerifier(oidc.Config{
		Issuers:   func() []policylang.Issuer { return []policylang.Issuer{{URL: issuerURL, Audience: audience}} },
		Transport: issuer, Clock: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	})
	key := ecKey(f, "k1")
	issuer.publish(key.public())
	good := sign(f, key, nil, claimsAt(now, nil))
	parts := strings.Split(good, ".")
	f.Add(good)
	f.Add("")
	f.Add("..")
	f.Add("e30.e30.")
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Add(parts[0] + ".e30." + parts[2])
	f.Fuzz(func(t *testing.T, raw string) {
		claims, err := verifier.Verify(t.Context(), raw)
		if raw == good {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		refused, ok := errors.AsType[*oidc.Error](err)
		if claims != nil || !ok || refused.Code == "" || refused.Detail == "" {
			t.Fatalf("got claims %v and error %v", claims != nil, err)
		}
	})
}
