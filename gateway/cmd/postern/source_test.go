package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// TestGatewayWithoutControlPlane feeds a gateway from a directory alone, and
// revokes the key that signs while it runs.
func TestGatewayWithoutControlPlane(t *testing.T) {
	t.Setenv(asPostern, "1")
	in := &installation{data: t.TempDir(), gateway: freeAddress(t)}
	var err error
	if in.issuer, err = demoissuer.Start(demoissuer.Config{Users: map[string]map[string]any{"ana": {"sub": "u-17"}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.issuer.Close() })
	in.cluster = pgtest.New(t)
	in.cluster.MustExec(t, "postgres", "CREATE ROLE ana LOGIN; CREATE ROLE postern LOGIN SUPERUSER; CREATE TABLE t (x int); GRANT ALL ON t TO ana")
	keys := map[string]*bundle.PrivateKey{}
	for _, name := range []string{"old", "new"} {
		if keys[name], err = bundle.GenerateKey(name); err != nil {
			t.Fatal(err)
		}
	}
	trust := filepath.Join(in.data, "trusted")
	trusted := func(lines ...string) {
		t.Helper()
		if err := writePrivate(trust, strings.Join(lines, "\n")+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	trusted(keys["old"].PublicKey().String())
	policies := filepath.Join(in.data, "policies")
	if err := os.Mkdir(policies, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(key string, revision uint64, when string) {
		t.Helper()
		policy := in.policy()
		policy.Gateways[0].Issuers = policy.Gateways[0].Issuers[:1]
		policy.QueryRules = []policylang.QueryRule{{Name: "rule", When: when, Effect: policylang.EffectAllow}}
		sealed, err := bundle.Seal(policy, keys[key])
		if err != nil {
			t.Fatal(err)
		}
		digest, err := policy.Digest()
		if err != nil {
			t.Fatal(err)
		}
		signed, err := bundle.SealRelease(bundle.Release{Gateway: "orders", Bundle: digest, Revision: revision, Time: time.Now()}, keys[key])
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []struct{ name, data string }{
			{strings.Replace(digest, ":", "-", 1) + ".bundle.json", string(sealed)}, {"release.json", string(signed)},
		} {
			if err := writePrivate(filepath.Join(policies, f.name), f.data); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv(envControl, "")
	t.Setenv(envToken, "")
	t.Setenv("POSTERN_LOGIN_FILE", filepath.Join(t.TempDir(), "none.json"))
	data := filepath.Join(in.data, "gateway")
	background(t, in.gateway, "gateway", "--gateway", "orders", "--data", data, "--trust", trust, "--listen", in.gateway, "--demo", "--source", "file://"+policies)
	query := func(text string) string {
		t.Helper()
		token := in.issuer.Issue(map[string]any{"sub": "u-17", "aud": demoissuer.ClientID}, time.Minute)
		return psqlOutput(t, in.gateway, filepath.Join(data, "ca.pem"), token, text)
	}
	until := func(what, text, want string) {
		t.Helper()
		got := ""
		eventually(t, what, func() bool { got = query(text); return strings.Contains(got, want) })
	}
	until("no policy is there yet", "SELECT 1", "no verified policy")
	put("old", 1, "statement.read_only")
	until("the first policy", "SELECT session_user", "ana")
	until("the first policy denies writes", "INSERT INTO t VALUES (1)", "ERROR")
	trusted(keys["old"].PublicKey().String(), keys["new"].PublicKey().String())
	put("new", 2, "true")
	until("the new key's policy", "INSERT INTO t VALUES (1)", "INSERT 0 1")
	trusted(keys["old"].PublicKey().String(), keys["new"].PublicKey().String(), "revoked "+keys["new"].PublicKey().ID())
	until("the revoked key's policy is withdrawn", "SELECT 1", "no verified policy")
	put("old", 3, "statement.read_only")
	until("the remaining key's policy", "SELECT session_user", "ana")
	if got := query("INSERT INTO t VALUES (1)"); !strings.Contains(got, "ERROR") {
		t.Errorf("after the revocation: %s", got)
	}

	for args, want := range map[string]string{
		"--source https://ana:hunter2@policy.example.com/": "must hold no user or password",
		"--source gopher://policy.example.com/":            `scheme "gopher" is not known`,
		"":                                                 "no control plane is given",
	} {
		_, err := runPostern(t.Context(), append([]string{"gateway", "--gateway", "x", "--data", t.TempDir(), "--trust", trust, "--listen", "127.0.0.1:0"}, strings.Fields(args)...)...)
		wantError(t, err, want)
	}
}

// psqlOutput runs a statement by psql with a token as the password, and returns
// all that it prints.
func psqlOutput(t *testing.T, address, ca, token, text string) string {
	t.Helper()
	host, port, _ := strings.Cut(address, ":")
	conninfo := "host=" + host + " port=" + port + " dbname=postgres user=ana sslmode=verify-full sslrootcert=" + ca
	cmd := exec.CommandContext(t.Context(), "psql", "-X", "-A", "-t", conninfo, "-c", text)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+token)
	out, _ := cmd.CombinedOutput() // a refusal is in the output
	return string(out)
}
