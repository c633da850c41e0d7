package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestRevoke ends sessions in the middle of a statement, and refuses what was
// issued before. What is issued later is good.
func TestRevoke(t *testing.T) {
	in := install(t)
	in.release(t, in.policy())
	if out, err := in.signInByBrowser(t, "ana"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	revoke := func(args ...string) {
		t.Helper()
		t.Setenv(envToken, in.token)
		defer t.Setenv(envToken, "")
		if out, err := runPostern(context.Background(), append([]string{"revoke", "--control", in.control}, args...)...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	t.Run("a kind that there is not", func(t *testing.T) {
		t.Setenv(envToken, in.token)
		_, err := runPostern(context.Background(), "revoke", "--control", in.control, "person", "ana")
		wantError(t, err, "kind must be subject, token, session, account or sign_in")
	})
	t.Run("session", func(t *testing.T) {
		ended := in.sleep(t)
		id := in.sessionID(t)
		began := time.Now()
		revoke("session", id)
		in.wantEnded(t, ended, began)
	})
	t.Run("token", func(t *testing.T) {
		out, err := runPostern(context.Background(), "token")
		if err != nil {
			t.Fatal(err)
		}
		credential := strings.TrimSpace(out)
		if out, err := in.psql(t, credential); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, payload, _ := strings.Cut(credential, ".")
		revoke("token", jtiOf(t, payload))
		eventually(t, "the credential is refused", func() bool {
			out, err := in.psql(t, credential)
			return err != nil && strings.Contains(out, "was revoked")
		})
		if out, err := runPostern(context.Background(), "psql", "postgres", "--", "-X", "-c", "SELECT 1"); err != nil {
			t.Fatalf("another credential: %v\n%s", err, out)
		}
	})
	t.Run("subject", func(t *testing.T) {
		ended := in.sleep(t)
		began := time.Now()
		revoke("subject", "ana", "--reason", "laptop stolen")
		in.wantEnded(t, ended, began)
		out, err := runPostern(context.Background(), "psql", "postgres", "--", "-X", "-c", "SELECT 1")
		if err == nil || !strings.Contains(out, `what was issued to "ana" until`) || !strings.Contains(out, "run postern login") {
			t.Fatalf("with a login from before: %v\n%s", err, out)
		}
		eventually(t, "a new login is good", func() bool {
			if out, err := in.signInByBrowser(t, "ana"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			_, err := runPostern(context.Background(), "psql", "postgres", "--", "-X", "-c", "SELECT 1")
			return err == nil
		})
	})
	if _, err := os.Stat(filepath.Join(in.data, "postern", "revocations.json")); err != nil {
		t.Errorf("the revocations are not kept: %v", err)
	}
}

// sleep starts a statement that runs for long, as ana, and returns what psql
// prints in the end.
func (in *installation) sleep(t *testing.T) <-chan string {
	t.Helper()
	ended := make(chan string, 1)
	go func() {
		out, _ := runPostern(context.Background(), "psql", "postgres", "--", "-X", "-c", "SELECT pg_sleep(120)")
		ended <- out
	}()
	eventually(t, "the statement runs", func() bool { return in.sleeping(t) == 1 })
	return ended
}

// sleeping counts the statements that still run in the database.
func (in *installation) sleeping(t *testing.T) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), in.cluster.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	err = conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'ana' AND query LIKE '%pg_sleep%'").Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sessionID finds the last session in the evidence.
func (in *installation) sessionID(t *testing.T) string {
	t.Helper()
	out, err := runPostern(t.Context(), "evidence", "search", "--dir", filepath.Join(in.data, "postern", "evidence"), "--kind", "session_start", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	i := strings.LastIndex(out, `"s_`)
	if i < 0 {
		t.Fatalf("no session in %s", out)
	}
	return out[i+1 : i+1+len("s_0123456789abcdef")]
}

func (in *installation) wantEnded(t *testing.T, ended <-chan string, began time.Time) {
	t.Helper()
	select {
	case out := <-ended:
		t.Logf("it ended after %v", time.Since(began))
		if !strings.Contains(out, "FATAL") || !strings.Contains(out, "revoked") || !strings.Contains(out, "HINT:  Sign in again") {
			t.Errorf("psql printed\n%s", out)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the session did not end")
	}
	eventually(t, "the database has cancelled the statement", func() bool { return in.sleeping(t) == 0 })
}

func jtiOf(t *testing.T, rest string) string {
	t.Helper()
	payload, _, _ := strings.Cut(rest, ".")
	var claims struct {
		ID string `json:"jti"`
	}
	decodeSegment(t, payload, &claims)
	return claims.ID
}

func decodeSegment(t *testing.T, segment string, v any) {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(segment)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}
