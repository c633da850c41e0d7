package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestWithoutBearer logs in with what is of no use to whoever sees it: a client
// certificate and a SCRAM secret, each made for a secret of the client's own.
func TestWithoutBearer(t *testing.T) {
	in := install(t)
	in.release(t, in.policy())
	if out, err := in.signInByBrowser(t, "ana"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, with := range []string{"certificate", "scram"} {
		t.Run("psql --with "+with, func(t *testing.T) {
			out, err := runPostern(t.Context(), "psql", "postgres", "--with", with, "--", "-XAtc", "SELECT session_user")
			if err != nil || strings.TrimSpace(out) != "ana" {
				t.Fatalf("%v\n%s", err, out)
			}
			in.wantMethod(t, with)
		})
	}
	t.Run("a way that there is not", func(t *testing.T) {
		_, err := runPostern(t.Context(), "psql", "postgres", "--with", "magic")
		wantError(t, err, "it is token, certificate or scram")
	})
	t.Run("certificate", in.testCertificate)
	t.Run("SCRAM", in.testSCRAM)
}

func (in *installation) testCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certificate")
	out, err := runPostern(t.Context(), "token", "--certificate", dir)
	if err != nil || !strings.HasPrefix(out, "sslcert="+dir) || !strings.Contains(out, "user=ana") {
		t.Fatalf("%v\n%s", err, out)
	}
	if info, err := os.Stat(filepath.Join(dir, "postgresql.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key's file: %v, %v", info, err)
	}
	client := append(in.environment(), "PGUSER=ana", "PGSSLCERT="+dir+"/postgresql.crt", "PGSSLKEY="+dir+"/postgresql.key")
	if out, err := psqlWith(t, client, "SELECT session_user"); err != nil || out != "ana" {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := psqlWith(t, append(client, "PGUSER=postgres"), "SELECT 1"); err == nil || !strings.Contains(out, `connects as the database role "ana"`) {
		t.Errorf("another role: %v\n%s", err, out)
	}
	// pgx presents it too, and the certificate goes before what the client asks for.
	conn, err := pgx.Connect(t.Context(), "postgres://ana@"+in.gateway+"/postgres?sslmode=verify-full&sslrootcert="+in.ca()+
		"&sslcert="+dir+"/postgresql.crt&sslkey="+dir+"/postgresql.key&options=-c%20postern.auth%3Dscram")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(context.Background())
	// A certificate of somebody else's authority is passed over.
	foreign := in.foreignCertificate(t)
	token, err := runPostern(t.Context(), "token")
	if err != nil {
		t.Fatal(err)
	}
	withBoth := append(in.environment(), "PGUSER=ana", "PGSSLCERT="+foreign+"/postgresql.crt", "PGSSLKEY="+foreign+"/postgresql.key", "PGPASSWORD="+strings.TrimSpace(token))
	if out, err := psqlWith(t, withBoth, "SELECT session_user"); err != nil || out != "ana" {
		t.Errorf("with a token, and a certificate of somebody else's authority: %v\n%s", err, out)
	}
	// Its serial number is what it is revoked by.
	serial := in.revokeCertificate(t, dir)
	eventually(t, "the certificate is refused", func() bool {
		out, err := psqlWith(t, client, "SELECT 1")
		return err != nil && strings.Contains(out, "was revoked") && !strings.Contains(out, serial)
	})
}

// revokeCertificate revokes a certificate by the serial number that OpenSSL
// shows.
func (in *installation) revokeCertificate(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "openssl", "x509", "-in", dir+"/postgresql.crt", "-noout", "-serial").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, serial, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
	t.Setenv(envToken, in.token)
	defer t.Setenv(envToken, "")
	if out, err := runPostern(t.Context(), "revoke", "--control", in.control, "token", strings.ToLower(serial)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return serial
}

// foreignCertificate makes a client certificate of an authority that the
// gateway does not know.
func (in *installation) foreignCertificate(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-subj", "/CN=ana", "-days", "1", "-keyout", dir+"/postgresql.key", "-out", dir+"/postgresql.crt")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func (in *installation) testSCRAM(t *testing.T) {
	out, err := runPostern(t.Context(), "token", "--scram")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	parts := regexp.MustCompile(`^export PGPASSWORD=(\S+) PGOPTIONS='(.*-c postern.grant=(\S+))'\n$`).FindStringSubmatch(out)
	if parts == nil {
		t.Fatalf("it printed %q", out)
	}
	secret, options, grant := parts[1], parts[2], parts[3]
	client := append(in.environment(), "PGUSER=ana", "PGOPTIONS="+options, "PGPASSWORD="+secret)
	for _, binding := range []string{"require", "disable"} {
		if out, err := psqlWith(t, append(client, "PGCHANNELBINDING="+binding), "SELECT session_user"); err != nil || out != "ana" {
			t.Errorf("with channel_binding=%s: %v\n%s", binding, err, out)
		}
	}
	cfg, err := pgx.ParseConfig("postgres://ana@" + in.gateway + "/postgres?sslmode=verify-full&channel_binding=require&require_auth=scram-sha-256&sslrootcert=" + in.ca())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Password, cfg.RuntimeParams["options"] = secret, options
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(context.Background())
	wrong := append(in.environment(), "PGUSER=ana", "PGOPTIONS="+options, "PGPASSWORD=guessed")
	if out, err := psqlWith(t, wrong, "SELECT 1"); err == nil || !strings.Contains(out, "the secret is not that of the grant") || !strings.Contains(out, "postern token --scram") {
		t.Errorf("with another secret: %v\n%s", err, out)
	}
	bare := append(in.environment(), "PGUSER=ana", "PGOPTIONS=-c postern.auth=scram", "PGPASSWORD="+secret)
	if out, err := psqlWith(t, bare, "SELECT 1"); err == nil || !strings.Contains(out, "SCRAM needs a grant") {
		t.Errorf("without a grant: %v\n%s", err, out)
	}
	// What is sent in the clear inside TLS is worth nothing by itself.
	bearer := append(in.environment(), "PGUSER=ana", "PGPASSWORD="+grant)
	if out, err := psqlWith(t, bearer, "SELECT 1"); err == nil || !strings.Contains(out, "not of a kind to log in with") {
		t.Errorf("with the grant as a token: %v\n%s", err, out)
	}
}

// environment is that of a psql before the gateway.
func (in *installation) environment() []string {
	host, port, _ := strings.Cut(in.gateway, ":")
	return append(withoutPG(os.Environ()), "PGHOST="+host, "PGPORT="+port, "PGDATABASE=postgres", "PGSSLMODE=verify-full", "PGSSLROOTCERT="+in.ca(),
		"PGSSLCERT=/nonexistent")
}

func psqlWith(t *testing.T, env []string, sql string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "psql", "-XAtwc", sql)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// wantMethod reads from the evidence how the last session's client logged in.
func (in *installation) wantMethod(t *testing.T, method string) {
	t.Helper()
	out, err := runPostern(t.Context(), "evidence", "search", "--dir", filepath.Join(in.data, "postern", "evidence"), "--kind", "session_start", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	methods := regexp.MustCompile(`"auth_method": *"(\w+)"`).FindAllStringSubmatch(out, -1)
	if len(methods) == 0 || methods[len(methods)-1][1] != method {
		t.Errorf("the evidence has %v, want %s last", methods, method)
	}
}
