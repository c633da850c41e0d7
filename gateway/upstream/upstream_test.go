package upstream_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/policylang"
)

func server(t *testing.T) *policylang.Upstream {
	t.Helper()
	c := pgtest.New(t, pgtest.Options{HBA: []string{"host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"}})
	c.MustExec(t, "postgres", "create role ana login password 'right:one'")
	pass := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(pass, []byte("# comment\n*:*:*:ben:wrong\n127.0.0.1:*:*:ana:right\\:one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &policylang.Upstream{Host: c.Host, Port: c.Port, TLS: "disable", Credentials: "file:" + pass}
}

func TestDial(t *testing.T) {
	t.Setenv("PGPASSWORD", "from the environment")
	t.Setenv("PGSSLMODE", "verify-full")
	target := server(t)
	conn, err := upstream.Dial(t.Context(), target, upstream.Login{
		Role: "ana", Database: "postgres",
		Parameters: map[string]string{"application_name": "t", "role": "postgres", "search_path": "pg_temp"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.Parameters["application_name"] != "t" || conn.Parameters["session_authorization"] != "ana" {
		t.Errorf("parameters = %v", conn.Parameters)
	}
	if !slices.Contains(conn.SearchPath, "pg_catalog") || slices.Contains(conn.SearchPath, "public") {
		t.Errorf("search path = %v", conn.SearchPath)
	}
}

func TestDialRefused(t *testing.T) {
	target := server(t)
	tests := []struct {
		name   string
		change func(*policylang.Upstream)
		role   string
		want   string
	}{
		{"no password", func(u *policylang.Upstream) { u.Credentials = "" }, "ana", "password"},
		{"another role's password", func(*policylang.Upstream) {}, "ben", "28P01"},
		{"no TLS on the server", func(u *policylang.Upstream) { u.TLS = "verify-full" }, "ana", "TLS"},
		{"missing file", func(u *policylang.Upstream) { u.Credentials = "file:/does/not/exist" }, "ana", "credentials"},
		{"missing variable", func(u *policylang.Upstream) { u.Credentials = "env:POSTERN_TEST_NONE" }, "ana", "POSTERN_TEST_NONE"},
		{"a literal secret", func(u *policylang.Upstream) { u.Credentials = "hunter2" }, "ana", "none of env:, file: and vault:"},
		{"down", func(u *policylang.Upstream) { u.Port = 1 }, "ana", "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := *target
			tt.change(&u)
			_, err := upstream.Dial(t.Context(), &u, upstream.Login{Role: tt.role, Database: "postgres"})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			for _, secret := range []string{"right:one", "wrong", "hunter2"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error holds a secret: %v", err)
				}
			}
		})
	}
}

func TestCancel(t *testing.T) {
	target := server(t)
	conn, err := upstream.Dial(t.Context(), target, upstream.Login{Role: "ana", Database: "postgres"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sql := "select pg_sleep(60)\x00"
	msg := append(binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(sql))), sql...)
	if _, err := conn.Write(msg); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	look, err := pgconn.Connect(ctx, fmt.Sprintf("postgres://postgres@%s:%d/postgres?sslmode=disable", target.Host, target.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close(context.Background())
	wantEventually(t, "the server runs the statement", func() bool {
		_, err := look.Exec(ctx, "select 1 / count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'").ReadAll()
		return err == nil
	})
	if err := conn.Cancel(ctx); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	var got []byte
	for !strings.Contains(string(got), "57014") {
		n, err := conn.Read(buf)
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("no cancellation after %q: %v", got, err)
		}
		got = append(got, buf[:n]...)
	}
}
