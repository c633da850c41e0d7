package gateway_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
)

// TestSessionEnds ends sessions in the middle of a statement: the client has a
// FATAL error of 57P01 with a hint, and the server has cancelled the statement.
// How long it took is logged; on an idle machine it is well under a second.
func TestSessionEnds(t *testing.T) {
	ids := map[string]func(b *bench, session string){
		"identity removed": func(b *bench, _ string) {
			p := testPolicy()
			p.Identities = p.Identities[1:]
			b.apply(p)
		},
		"no longer matches": func(b *bench, _ string) {
			p := testPolicy()
			p.Identities[0].When = "token.sub == 'ana' && token.email_verified == true"
			b.apply(p)
		},
		"session revoked": func(b *bench, session string) {
			b.server.Revoke([]api.Revocation{{Kind: api.RevokeSession, Value: session, CreatedAt: time.Now()}})
		},
		"token revoked": func(b *bench, _ string) {
			b.server.Revoke([]api.Revocation{{Kind: api.RevokeToken, Value: "t-ana", CreatedAt: time.Now()}})
		},
		"subject revoked": func(b *bench, _ string) {
			b.server.Revoke([]api.Revocation{{Kind: api.RevokeSubject, Value: "ana", CreatedAt: time.Now()}})
		},
	}
	for name, end := range ids {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, testPolicy())
			conn := b.sleeper(t)
			done := sleepIn(t, conn)
			began := time.Now()
			end(b, b.sessionID(t))
			wantEnded(t, done, began)
		})
	}
	t.Run("session_ttl", func(t *testing.T) {
		b := newBench(t, testPolicy(), func(c *gateway.Config) { c.Limits.SessionTTL = 5 * time.Second })
		began := time.Now()
		wantEnded(t, sleepIn(t, b.sleeper(t)), began.Add(5*time.Second))
	})
}

func (b *bench) sleeper(t *testing.T) *pgx.Conn {
	t.Helper()
	token := shared.issuer.Issue(map[string]any{"sub": "ana", "aud": "postern", "jti": "t-ana"}, 5*time.Minute)
	return b.connect("ana", func(c *pgx.ConnConfig) { c.Password = token })
}

// sleepIn starts a statement that runs for long, and returns how it ends.
func sleepIn(t *testing.T, conn *pgx.Conn) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_sleep(60)")
		done <- err
	}()
	eventually(t, "the statement runs", func() bool { return sleeping(t) > 0 })
	return done
}

func sleeping(t *testing.T) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), shared.cluster.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'ana' AND query LIKE '%pg_sleep%'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func wantEnded(t *testing.T, done <-chan error, began time.Time) {
	t.Helper()
	select {
	case err := <-done:
		t.Logf("the client knew after %v", time.Since(began).Round(time.Millisecond))
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Severity != "FATAL" || pg.Code != "57P01" || pg.Hint == "" {
			t.Errorf("it ended by %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the session did not end")
	}
	eventually(t, "the server has cancelled the statement", func() bool { return sleeping(t) == 0 })
	t.Logf("the statement was cancelled after %v", time.Since(began).Round(time.Millisecond))
}

// sessionID is that of the newest session.
func (b *bench) sessionID(t *testing.T) string {
	t.Helper()
	for r, err := range evidence.Search(b.dir, evidence.Query{Kinds: []evidence.Kind{evidence.KindSessionStart}, Newest: true}) {
		if err != nil {
			t.Fatal(err)
		}
		return r.Session
	}
	t.Fatal("the evidence has no session")
	return ""
}

// TestIssuerDown: keys that were read are good for an hour, then new logins
// are refused with a reason. Live sessions know nothing of it.
func TestIssuerDown(t *testing.T) {
	target, err := url.Parse(shared.issuer.URL())
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: &http.Transport{DisableKeepAlives: true}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	var skew atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	transport := rewrite{from: target.Host, to: strings.TrimPrefix(front.URL, "http://")}
	b := newBench(t, testPolicy(), func(c *gateway.Config) {
		issuers := testPolicy().Gateways[0].Issuers
		c.Authenticator = authenticate.New(authenticate.Config{
			Issuers: func() []policylang.Issuer { return issuers }, AllowLoopbackHTTP: true, Clock: clock, Transport: transport, Logger: c.Logger,
		})
	})
	at := func(d time.Duration) string { // a token that is fresh when the gateway's clock is d ahead
		now := time.Now().Add(d)
		return shared.issuer.Issue(map[string]any{"sub": "ana", "aud": "postern", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}, 5*time.Minute)
	}
	login := func(d time.Duration) (*pgx.Conn, error) {
		skew.Store(int64(d))
		return pgx.ConnectConfig(t.Context(), b.config("ana", at(d)))
	}
	down.Store(true)
	_, err = login(0)
	wantError(t, err, "28P01", "its issuer does not answer")
	down.Store(false)
	live, err := login(time.Minute) // past the pause that the failure caused
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close(context.Background())
	down.Store(true)
	stale, err := login(50 * time.Minute)
	if err != nil {
		t.Fatalf("with keys of 50 minutes ago: %v", err)
	}
	stale.Close(context.Background())
	_, err = login(90 * time.Minute)
	wantError(t, err, "28P01", "its issuer does not answer")
	if !strings.Contains(b.logs.String(), "code=token_issuer_unreachable") || !strings.Contains(b.logs.String(), shared.issuer.URL()) {
		t.Errorf("the log does not say which issuer:\n%s", b.logs)
	}
	if _, err := live.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("a live session: %v", err)
	}
	down.Store(false)
	back, err := login(91 * time.Minute)
	if err != nil {
		t.Fatalf("when the issuer is back: %v", err)
	}
	back.Close(context.Background())
}

// rewrite reaches one host where another is meant.
type rewrite struct{ from, to string }

func (r rewrite) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Host == r.from {
		request = request.Clone(request.Context())
		request.URL.Host = r.to
	}
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
}
