package upstream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/internal/pki"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/gateway/upstream/prepare"
	"github.com/posternhq/postern/gateway/upstream/vault"
	"github.com/posternhq/postern/gateway/upstream/vault/vaulttest"
	"github.com/posternhq/postern/policylang"
)

// secured is a PostgreSQL with TLS as `postern upstream prepare` has it: members
// of postern_clients are let in by certificates of an authority. Others are by
// SCRAM.
type secured struct {
	cluster   *pgtest.Cluster
	authority *pki.Authority
	ca        string // file: the server's certificate
}

func newSecured(t *testing.T, version int) *secured {
	t.Helper()
	s := &secured{}
	var err error
	if s.authority, err = pki.NewAuthority("upstream"); err != nil {
		t.Fatal(err)
	}
	script, err := prepare.New(prepare.Options{
		CatalogRole: "postern", Database: "postgres", Roles: []prepare.Role{{Name: "ana"}, {Name: "Ana Lima"}}, Grants: prepare.GrantNone,
		Method: "cert", Address: "127.0.0.1/32",
	})
	if err != nil {
		t.Fatal(err)
	}
	hba := append([]string{"host all postgres 127.0.0.1/32 trust"}, script.HBA...)
	s.cluster = pgtest.New(t, pgtest.Options{Version: version, HBA: append(hba, "hostssl all all 127.0.0.1/32 scram-sha-256")})
	cert, key := serverFiles(t)
	s.ca = filepath.Join(t.TempDir(), "server.pem")
	for name, content := range map[string]string{
		"server.crt": cert, "server.key": key, "root.crt": string(s.authority.PEM()), "pg_ident.conf": strings.Join(script.Ident, "\n") + "\n",
	} {
		if err := s.cluster.WriteFile(name, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(s.ca, []byte(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cluster.MustExec(t, "postgres", "ALTER SYSTEM SET ssl = on")
	s.cluster.MustExec(t, "postgres", "ALTER SYSTEM SET ssl_ca_file = 'root.crt'")
	s.cluster.MustExec(t, "postgres", "SELECT pg_reload_conf()")
	for range 2 { // it can be run any number of times
		s.cluster.MustExec(t, "postgres", script.SQL())
	}
	s.cluster.MustExec(t, "postgres", "CREATE ROLE shared LOGIN PASSWORD 's3cret'")
	return s
}

func serverFiles(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := pki.KeyPEM(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(keyPEM)
}

func (s *secured) target(login policylang.LoginMethod, credentials string) *policylang.Upstream {
	return &policylang.Upstream{
		Host: s.cluster.Host, Port: s.cluster.Port, TLS: "verify-full", CA: s.ca, Login: login, Credentials: credentials, CatalogRole: "postgres",
	}
}

// query runs a query over a connection that upstream has handed over, by way
// of a connection of the same login.
func query(t *testing.T, target *policylang.Upstream, login upstream.Login, sql string) (string, error) {
	t.Helper()
	conn, err := upstream.Connect(t.Context(), target, login)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	results, err := conn.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		return "", err
	}
	return string(results[0].Rows[0][0]), nil
}

// TestCertificateLogin reaches roles that have no password, as the person.
func TestCertificateLogin(t *testing.T) {
	for _, version := range []int{15, 18} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			s := newSecured(t, version)
			target, means := s.target("", ""), upstream.Means{Authority: s.authority} // by certificate, unless the policy says otherwise
			for _, role := range []string{"ana", "Ana Lima", "postern"} {
				got, err := query(t, target, upstream.Login{Role: role, Database: "postgres", Session: "s_0123456789abcdef", Means: means},
					"SELECT session_user || ' ' || current_user || ' ' || client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
				if want := fmt.Sprintf("%[1]s %[1]s /CN=%[1]s/OU=s_0123456789abcdef", role); err != nil || !sameName(got, want) {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			}
			login := upstream.Login{Role: "ana", Database: "postgres", Means: means}
			other, err := pki.NewAuthority("upstream")
			if err != nil {
				t.Fatal(err)
			}
			for name, test := range map[string]struct {
				login upstream.Login
				want  string
			}{
				"another authority":        {upstream.Login{Role: "ana", Database: "postgres", Means: upstream.Means{Authority: other}}, "postern upstream check"},
				"no authority":             {upstream.Login{Role: "ana", Database: "postgres"}, "no authority"},
				"a role outside the group": {upstream.Login{Role: "shared", Database: "postgres", Means: means}, "postern upstream prepare"},
			} {
				if _, err := upstream.Connect(t.Context(), target, test.login); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: got %v, want %q", name, err, test.want)
				}
			}
			conn, err := upstream.Dial(t.Context(), target, login)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("Q\x00\x00\x00\x19SELECT pg_sleep(60)\x00")); err != nil {
				t.Fatal(err)
			}
			if err := conn.Cancel(t.Context()); err != nil {
				t.Errorf("cancel without the certificate: %v", err)
			}
			t.Run("escapes", s.testEscapes)
		})
	}
}

// sameName compares distinguished names in the order of either version.
func sameName(got, want string) bool {
	got, want = strings.ReplaceAll(got, "/", ","), strings.ReplaceAll(want, "/", ",")
	if got == want {
		return true
	}
	parts := strings.Split(want, ",")
	return got == parts[0]+","+parts[2]+","+parts[1]
}

// TestSCRAMLogin demands SCRAM bound to the channel, of a server that would
// take less.
func TestSCRAMLogin(t *testing.T) {
	s := newSecured(t, 15)
	t.Setenv("TEST_UPSTREAM_PASSWORD", "s3cret")
	target := s.target(policylang.LoginSCRAM, "env:TEST_UPSTREAM_PASSWORD")
	got, err := query(t, target, upstream.Login{Role: "shared", Database: "postgres"}, "SELECT session_user")
	if err != nil || got != "shared" {
		t.Fatalf("got %q, %v", got, err)
	}
	for name, hba := range map[string]string{
		"clear text": "hostssl all shared 127.0.0.1/32 password", "nothing at all": "hostssl all shared 127.0.0.1/32 trust",
	} {
		if err := s.cluster.WriteFile("pg_hba.conf", "host all postgres 127.0.0.1/32 trust\n"+hba+"\n"); err != nil {
			t.Fatal(err)
		}
		s.cluster.MustExec(t, "postgres", "SELECT pg_reload_conf()")
		wantEventually(t, name+" is refused by the gateway", func() bool {
			_, err := query(t, target, upstream.Login{Role: "shared", Database: "postgres"}, "SELECT 1")
			return err != nil && !strings.Contains(err.Error(), "s3cret")
		})
		if _, err := query(t, s.target("", "env:TEST_UPSTREAM_PASSWORD"), upstream.Login{Role: "shared", Database: "postgres"}, "SELECT 1"); err != nil {
			t.Errorf("%s, and the policy leaves it to the server: %v", name, err)
		}
	}
}

func wantEventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("it did not come to pass: %s", what)
}

// TestVaultLogin takes passwords from Vault: stored ones, rotated ones, and
// roles that are made for one connection and dropped after it.
func TestVaultLogin(t *testing.T) {
	s := newSecured(t, 15)
	v := vaulttest.Start(t)
	client, err := vault.FromEnvironment(v.Environment())
	if err != nil {
		t.Fatal(err)
	}
	v.Put("secret", "postern", map[string]string{"shared": "s3cret"})
	v.Put("secret", "single", map[string]string{"password": "s3cret"})
	v.Put("secret", "other", map[string]string{"username": "ben", "password": "s3cret"})
	v.Put("secret", "empty", map[string]string{"note": "x"})
	v.Static("shared", "shared", "s3cret")
	v.Dynamic("shared", vaulttest.Credentials{
		Create: func(string) (string, string) {
			s.cluster.MustExec(t, "postgres", "CREATE ROLE v_shared_1 LOGIN PASSWORD 'made' IN ROLE shared")
			return "v_shared_1", "made"
		},
		Revoke: func(name string) {
			if err := s.cluster.Exec(context.Background(), "postgres", "DROP ROLE "+pgx.Identifier{name}.Sanitize()); err != nil {
				t.Error(err)
			}
		},
	})
	login := upstream.Login{Role: "shared", Database: "postgres", Means: upstream.Means{Vault: client}}
	for _, path := range []string{"secret/data/postern", "secret/data/single", "database/static-creds/{role}"} {
		got, err := query(t, s.target(policylang.LoginSCRAM, "vault:"+path), login, "SELECT session_user")
		if err != nil || got != "shared" {
			t.Errorf("%s: got %q, %v", path, got, err)
		}
	}
	for path, want := range map[string]string{
		"secret/data/other": "another role", "secret/data/empty": "neither a field password", "secret/data/none": "status 404",
	} {
		if _, err := query(t, s.target(policylang.LoginSCRAM, "vault:"+path), login, "SELECT 1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if _, err := query(t, s.target(policylang.LoginSCRAM, "vault:secret/data/postern"), upstream.Login{Role: "shared", Database: "postgres"}, "SELECT 1"); err == nil || !strings.Contains(err.Error(), "VAULT_ADDR") {
		t.Errorf("without Vault: %v", err)
	}
	v.Life(2)
	conn, err := upstream.Dial(t.Context(), s.target(policylang.LoginSCRAM, "vault:database/creds/shared"), login)
	if err != nil {
		t.Fatal(err)
	}
	if conn.Parameters["session_authorization"] != "v_shared_1" || v.Leases() != 1 {
		t.Errorf("the connection is %q's, with %d leases", conn.Parameters["session_authorization"], v.Leases())
	}
	wantEventually(t, "the lease is renewed", func() bool {
		return strings.Contains(strings.Join(v.Requests(), "\n"), "PUT sys/leases/renew")
	})
	_ = conn.Close()
	wantEventually(t, "the lease is given back", func() bool { return v.Leases() == 0 })
}
