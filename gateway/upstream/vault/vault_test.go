package vault_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/gateway/upstream/vault"
	"github.com/posternhq/postern/gateway/upstream/vault/vaulttest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestRead(t *testing.T) {
	v := vaulttest.Start(t)
	v.Put("secret", "postern/orders", map[string]string{"ana": "s3cret"})
	v.Put("secret", "gone", nil)
	v.Static("ana", "ana", "rotated")
	client, err := vault.FromEnvironment(v.Environment())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, path, field, value, err string }{
		{"key-value, version 2", "secret/data/postern/orders", "ana", "s3cret", ""},
		{"static role", "/database/static-creds/ana", "password", "rotated", ""},
		{"nothing there", "secret/data/none", "", "", "status 404"},
		{"no data in the path", "secret/postern/orders", "", "", `lacks "data"`},
		{"deleted", "secret/data/gone", "", "", "status 404"},
		{"leads elsewhere", "secret/../sys/health", "", "", "dots"},
		{"empty", "", "", "", "empty part"},
	} {
		t.Run(test.name, func(t *testing.T) {
			secret, err := client.Read(t.Context(), test.path)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), vaulttest.Root) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || secret.Data[test.field] != test.value || secret.Lease.ID != "" {
				t.Errorf("got %+v, %v", secret, err)
			}
		})
	}
	if all := v.Requests(); slices.ContainsFunc(all, func(r string) bool { return strings.Contains(r, "sys/health") }) {
		t.Errorf("it was asked %v", all)
	}
	v.Seal()
	if _, err := client.Read(t.Context(), "secret/data/postern/orders"); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("sealed: %v", err)
	}
}

// TestLogin logs in by each method, once, and again when the token is refused.
func TestLogin(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, test := range []struct {
		name, mount string
		env         []string
	}{
		{"AppRole", "approle", []string{"VAULT_TOKEN", "", "POSTERN_VAULT_ROLE_ID", "postern", "POSTERN_VAULT_SECRET_ID_FILE", file("proof")}},
		{"Kubernetes", "kubernetes", []string{"VAULT_TOKEN", "", "POSTERN_VAULT_KUBERNETES_ROLE", "postern", "POSTERN_VAULT_JWT_FILE", file("proof")}},
		{"another mount", "k8s-eu", []string{"VAULT_TOKEN", "", "POSTERN_VAULT_KUBERNETES_ROLE", "postern", "POSTERN_VAULT_JWT_FILE", file("proof"), "POSTERN_VAULT_AUTH_MOUNT", "k8s-eu"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := vaulttest.Start(t)
			v.Accept(test.mount, "proof")
			v.Put("secret", "x", map[string]string{"a": "b"})
			client, err := vault.FromEnvironment(v.Environment(test.env...))
			if err != nil {
				t.Fatal(err)
			}
			logins := func() (n int) {
				for _, r := range v.Requests() {
					if r == "POST auth/"+test.mount+"/login" {
						n++
					}
				}
				return n
			}
			for range 3 {
				if _, err := client.Read(t.Context(), "secret/data/x"); err != nil {
					t.Fatal(err)
				}
			}
			if logins() != 1 {
				t.Errorf("it logged in %d times", logins())
			}
			v.Expire()
			if _, err := client.Read(t.Context(), "secret/data/x"); err != nil || logins() != 2 {
				t.Errorf("after its token was refused: %v, %d logins", err, logins())
			}
			v.Accept(test.mount, "another")
			v.Expire()
			_, err = client.Read(t.Context(), "secret/data/x")
			if err == nil || !strings.Contains(err.Error(), "log in to Vault") || strings.Contains(err.Error(), "proof") {
				t.Errorf("with a proof that is refused: %v", err)
			}
		})
	}
	t.Run("a token's file", func(t *testing.T) {
		v := vaulttest.Start(t)
		v.Put("secret", "x", map[string]string{"a": "b"})
		client, err := vault.FromEnvironment(v.Environment("VAULT_TOKEN", "", "POSTERN_VAULT_TOKEN_FILE", file(vaulttest.Root)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(t.Context(), "secret/data/x"); err != nil {
			t.Error(err)
		}
		v.Expire()
		if _, err := client.Read(t.Context(), "secret/data/x"); err == nil || !strings.Contains(err.Error(), "status 403") {
			t.Errorf("with a token that is refused: %v", err)
		}
	})
}

func TestFromEnvironmentRefuses(t *testing.T) {
	for name, test := range map[string]struct{ env, text string }{
		"no address":   {"", "VAULT_ADDR is not set"},
		"plain HTTP":   {"http://vault.example.com:8200", "must be https"},
		"no URL":       {"vault", "not a URL"},
		"with a login": {"https://root:x@vault.example.com", "not a URL"},
		"no way in":    {"https://vault.example.com", "no way to log in"},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"VAULT_ADDR": test.env}
			if _, err := vault.FromEnvironment(func(n string) string { return env[n] }); err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %q", err, test.text)
			}
		})
	}
}

func TestLease(t *testing.T) {
	v := vaulttest.Start(t)
	revoked := ""
	v.Dynamic("app", vaulttest.Credentials{
		Create: func(string) (string, string) { return "v-app-1", "made" }, Revoke: func(name string) { revoked = name },
	})
	client, err := vault.FromEnvironment(v.Environment())
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.Read(t.Context(), "database/creds/app")
	if err != nil || secret.Data["username"] != "v-app-1" || secret.Lease.Life != time.Hour || !secret.Lease.Renewable {
		t.Fatalf("got %+v, %v", secret, err)
	}
	v.Life(60)
	renewed, err := client.Renew(t.Context(), secret.Lease)
	if err != nil || renewed.ID != secret.Lease.ID || renewed.Life != time.Minute {
		t.Errorf("renewed %+v, %v", renewed, err)
	}
	if err := client.Revoke(t.Context(), renewed); err != nil || revoked != "v-app-1" || v.Leases() != 0 {
		t.Errorf("revoked %q, %v", revoked, err)
	}
	if _, err := client.Renew(t.Context(), renewed); err == nil {
		t.Error("a lease that was revoked was renewed")
	}
}
