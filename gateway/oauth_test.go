package gateway_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/posternhq/postern/gateway/internal/pgtest"
)

// bearer has pgx log in by OAUTHBEARER, which the connection asks for.
func bearer(token string) func(*pgx.ConnConfig) {
	return func(c *pgx.ConnConfig) {
		c.Password = ""
		c.OAuthTokenProvider = func(context.Context) (string, error) { return token, nil }
		c.RuntimeParams["options"] = "-c postern.auth=oauthbearer"
	}
}

func TestOAuthBearerPgx(t *testing.T) {
	b := newBench(t, testPolicy())
	conn := b.connect("ana", bearer(token("ana")))
	if got := must(column(t.Context(), conn, "SELECT session_user"))(t); got[0] != "ana" {
		t.Errorf("session_user is %v", got)
	}
	cfg := b.config("ana", "")
	expired := shared.issuer.Issue(map[string]any{"sub": "ana", "aud": "postern", "iat": time.Now().Add(-time.Hour).Unix()}, -time.Minute)
	bearer(expired)(cfg)
	_, err := pgx.ConnectConfig(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "invalid_token") { // pgx does not wait for the FATAL error
		t.Errorf("with a token that has expired: %v", err)
	}
	eventually(t, "the log says why", func() bool {
		return strings.Contains(b.logs.String(), "code=token_expired method=oauthbearer")
	})
	if part := expired[len(expired)-20:]; strings.Contains(b.logs.String(), part) {
		t.Error("the log has the token")
	}
}

// TestOAuthBearerMessages reads the exchange itself: one mechanism, the
// challenge of RFC 7628, the acknowledgement, and then a FATAL error.
func TestOAuthBearerMessages(t *testing.T) {
	b := newBench(t, testPolicy())
	for _, test := range []struct {
		name, initial, answer string
		code, text            string
		failed                bool // a failed login, in the log
	}{
		{"discovery", "n,,\x01auth=\x01\x01", "\x01", "28000", "no token was sent", false},
		{"a bad token", "n,,\x01auth=Bearer abc\x01\x01", "\x01", "28000", "not a token", true},
		{"malformed", "n,,auth=\x01\x01", "\x01", "28000", "malformed", true},
		{"not acknowledged", "n,,\x01auth=\x01\x01", "x", "08P01", "did not acknowledge", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := strings.Count(b.logs.String(), "login refused")
			f := b.startup(t)
			if m, ok := receive[*pgproto3.AuthenticationSASL](t, f); ok && (len(m.AuthMechanisms) != 1 || m.AuthMechanisms[0] != "OAUTHBEARER") {
				t.Errorf("it offers %v", m.AuthMechanisms)
			}
			f.Send(&pgproto3.SASLInitialResponse{AuthMechanism: "OAUTHBEARER", Data: []byte(test.initial)})
			if err := f.Flush(); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"status":"invalid_token","openid-configuration":"%s/.well-known/openid-configuration","scope":"openid"}`, shared.issuer.URL())
			if m, ok := receive[*pgproto3.AuthenticationSASLContinue](t, f); ok && string(m.Data) != want {
				t.Errorf("the challenge is %s, want %s", m.Data, want)
			}
			f.Send(&pgproto3.SASLResponse{Data: []byte(test.answer)})
			if err := f.Flush(); err != nil {
				t.Fatal(err)
			}
			if m, ok := receive[*pgproto3.ErrorResponse](t, f); ok && (m.Severity != "FATAL" || m.Code != test.code || !strings.Contains(m.Message, test.text)) {
				t.Errorf("it ended by %s %s %q", m.Severity, m.Code, m.Message)
			}
			if _, err := f.Receive(); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Errorf("it went on: %v", err)
			}
			if failed := strings.Count(b.logs.String(), "login refused") > before; failed != test.failed {
				t.Errorf("a failed login in the log: %v, want %v", failed, test.failed)
			}
		})
	}
}

// startup connects and asks to log in by OAUTHBEARER.
func (b *bench) startup(t *testing.T) *pgproto3.Frontend {
	t.Helper()
	conn, err := tls.Dial("tcp", b.address.String(), &tls.Config{RootCAs: b.roots, ServerName: "127.0.0.1", NextProtos: []string{"postgresql"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	f := pgproto3.NewFrontend(conn, conn)
	f.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "ana", "options": "-c postern.auth=oauthbearer"}})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	return f
}

func receive[M pgproto3.BackendMessage](t *testing.T, f *pgproto3.Frontend) (M, bool) {
	t.Helper()
	m, err := f.Receive()
	if err != nil {
		t.Fatal(err)
	}
	got, ok := m.(M)
	if !ok {
		t.Errorf("got a %T", m)
	}
	return got, ok
}

// TestOAuthBearerLibpq drives psql on libpq 18, which finds out by a first
// connection where the token is to come from, or is told so by its user.
func TestOAuthBearerLibpq(t *testing.T) {
	b := newBench(t, testPolicy())
	hook, lib := buildHook(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.certificate.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	psql := func(token, issuer string) (string, error) {
		host, port, _ := net.SplitHostPort(b.address.String())
		conninfo := fmt.Sprintf("host=%s port=%s user=ana dbname=postgres sslmode=verify-full sslrootcert=%s options='-c postern.auth=oauthbearer' oauth_issuer=%s oauth_client_id=postern require_auth=oauth",
			host, port, ca, issuer)
		cmd := exec.CommandContext(t.Context(), "/usr/lib/postgresql/15/bin/psql", "-XAtwc", "SELECT session_user", conninfo)
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+lib, "LD_PRELOAD="+hook, "PGOAUTHDEBUG=UNSAFE", "TEST_BEARER="+token)
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	wellKnown := shared.issuer.URL() + "/.well-known/openid-configuration"
	for name, issuer := range map[string]string{"plain issuer": shared.issuer.URL(), "discovery URL": wellKnown} {
		t.Run(name, func(t *testing.T) {
			out, err := psql(token("ana"), issuer)
			if err != nil || !strings.HasSuffix(out, "\nana") || !strings.Contains(out, "at "+wellKnown) {
				t.Fatalf("%v\n%s\n%s", err, out, b.logs)
			}
		})
	}
	if strings.Contains(b.logs.String(), "login refused") {
		t.Errorf("discovery counts as a failed login:\n%s", b.logs)
	}
	if out, err := psql("not-a-token", wellKnown); err == nil || !strings.Contains(out, "the password is not a token") || !strings.Contains(out, "run: postern login") {
		t.Errorf("with a bad token: %v\n%s", err, out)
	}
	if out, err := psql(token("ana"), "http://127.0.0.1:1"); err == nil || !strings.Contains(out, "oauth_issuer") {
		t.Errorf("libpq trusts an issuer that its user did not name: %v\n%s", err, out)
	}
}

// buildHook compiles the hook against libpq 18, and returns where both are.
func buildHook(t *testing.T) (hook, lib string) {
	t.Helper()
	bin, err := pgtest.BinDirOf(18)
	if err != nil {
		t.Fatal(err)
	}
	lib = filepath.Join(filepath.Dir(bin), "lib")
	hook = filepath.Join(t.TempDir(), "oauthhook.so")
	cmd := exec.CommandContext(t.Context(), "gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", hook, "testdata/oauthhook.c", filepath.Join(lib, "libpq.so.5"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile the hook: %v\n%s", err, out)
	}
	return hook, lib
}
