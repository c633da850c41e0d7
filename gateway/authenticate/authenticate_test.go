package authenticate_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/policylang"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestToken(t *testing.T) {
	issuer, stranger := start(t), start(t)
	var log bytes.Buffer
	authenticator := authenticate.New(authenticate.Config{
		Issuers: func() []policylang.Issuer {
			return []policylang.Issuer{
				{Name: "demo", URL: issuer.URL(), Audience: "postern"},
				{Name: "off", URL: "http://127.0.0.1:1", Audience: "postern"}, // nothing listens there
			}
		},
		AllowLoopbackHTTP: true, MaxLifetime: time.Hour,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	issue := func(changes map[string]any, ttl time.Duration) string {
		claims := map[string]any{"sub": "ana", "aud": "postern"}
		for name, value := range changes {
			claims[name] = value
		}
		return issuer.Issue(claims, ttl)
	}
	claims, err := authenticator.Token(t.Context(), issue(nil, time.Hour))
	if err != nil || claims["sub"] != "ana" || claims["iss"] != issuer.URL() {
		t.Fatalf("got claims %v, error %v", claims, err)
	}

	good := issue(nil, time.Hour)
	forged := stranger.Issue(map[string]any{"iss": issuer.URL(), "sub": "ana", "aud": "postern"}, time.Hour)
	tests := []struct{ name, token, code, public, hint string }{
		{"password", "hunter2", "token_malformed", "the password is not a token", "run: postern login"},
		{"empty", "", "token_malformed", "the password is not a token", "run: postern login"},
		{"cut by psql", strings.Repeat("x", 4095), "token_truncated", "cut at 4095 bytes", "PGPASSWORD"},
		{"expired", issue(map[string]any{"iat": time.Now().Add(-time.Hour).Unix()}, -time.Minute), "token_expired", "has expired", "run: postern login"},
		{"too long a life", issue(nil, 2*time.Hour), "token_lifetime", "lives too long", "shorter"},
		{"not yet valid", issue(map[string]any{"nbf": time.Now().Add(time.Minute).Unix()}, time.Hour), "token_not_yet_valid", "not valid yet", "clock"},
		{"other audience", issue(map[string]any{"aud": "billing"}, time.Hour), "token_audience", "somebody else", "audience"},
		{"other party", issue(map[string]any{"aud": []string{"postern", "billing"}, "azp": "billing"}, time.Hour), "token_azp", "another party", "audience"},
		{"unknown issuer", stranger.Issue(map[string]any{"sub": "ana", "aud": "postern"}, time.Hour), "token_issuer_unknown", "not accepted here", "issuer"},
		{"unknown key", forged, "token_key_unknown", "does not publish", "30 seconds"},
		{"altered", good[:strings.LastIndexByte(good, '.')+1] + strings.Repeat("A", 86), "token_signature", "does not match", "altered"},
		{"issuer down", issue(map[string]any{"iss": "http://127.0.0.1:1"}, time.Hour), "token_issuer_unreachable", "does not answer", "try again"},
		{"unsigned", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.", "token_algorithm", "algorithm", "login"},
		{"logout token", issue(map[string]any{"events": map[string]any{}}, time.Hour), "token_type", "not of a kind", "login"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			claims, err := authenticator.Token(t.Context(), test.token)
			failure, ok := errors.AsType[*authenticate.Failure](err)
			if !ok || claims != nil {
				t.Fatalf("got claims %v, error %v", claims, err)
			}
			if failure.Code != test.code || !strings.Contains(failure.Public, test.public) || !strings.Contains(failure.Hint, test.hint) {
				t.Errorf("got %+v, want code %s", failure, test.code)
			}
			if failure.Reason == "" || strings.ContainsAny(failure.Public+failure.Hint, "\n\x00") {
				t.Errorf("got %+v", failure)
			}
			if strings.Contains(failure.Public+failure.Hint, issuer.URL()) {
				t.Error("the client is told about the gateway's issuers")
			}
			said := fmt.Sprintf("%v %+v %v %s", failure, *failure, failure.Unwrap(), log.String())
			for part := range strings.SplitSeq(test.token, ".") {
				for i := 0; i+12 <= len(part); i++ {
					if strings.Contains(said, part[i:i+12]) {
						t.Fatal("a part of the token was told")
					}
				}
			}
		})
	}
	if !strings.Contains(log.String(), "could not read the issuer's keys") {
		t.Error("the unreachable issuer is not in the log")
	}
}

func start(t *testing.T) *demoissuer.Issuer {
	t.Helper()
	issuer, err := demoissuer.Start(demoissuer.Config{})
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
