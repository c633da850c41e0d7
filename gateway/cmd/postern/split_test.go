package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// TestSignInApart signs in at a control plane in one process for a gateway in
// another: the gateway reads the credentials' key over the network.
func TestSignInApart(t *testing.T) {
	t.Setenv(asPostern, "1")
	in := &installation{data: t.TempDir(), gateway: freeAddress(t)}
	var err error
	if in.issuer, err = demoissuer.Start(demoissuer.Config{Users: map[string]map[string]any{"ana": {"sub": "u-17"}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.issuer.Close() })
	if in.cluster, err = pgtest.Start(pgtest.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.cluster.Stop)
	in.cluster.MustExec(t, "postgres", "CREATE ROLE ana LOGIN; CREATE ROLE postern LOGIN SUPERUSER")
	if in.key, err = bundle.GenerateKey("publisher"); err != nil {
		t.Fatal(err)
	}
	trust := filepath.Join(in.data, "publisher.pub")
	if err := os.WriteFile(trust, []byte(in.key.PublicKey().String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	control := freeAddress(t)
	in.control = "https://" + control
	background(t, control, "control", "--data", filepath.Join(in.data, "postern"), "--trust", trust, "--control-listen", control, "--demo",
		"--identify-for", "orders", "--gateway-address", "orders="+in.gateway, "--sign-in", "corp")
	eventually(t, "the control plane has a certificate", func() bool { _, err := os.Stat(in.ca()); return err == nil })
	in.bootstrap(t)

	gatewayData := filepath.Join(in.data, "gateway")
	in.enrol(t, gatewayData)
	background(t, in.gateway, "gateway", "--gateway", "orders", "--data", gatewayData, "--trust", trust, "--listen", in.gateway, "--demo",
		"--control", in.control, "--ca", in.ca())
	policy := in.policy()
	policy.Gateways[0].Issuers = append(policy.Gateways[0].Issuers, policylang.Issuer{Name: "jobs", URL: "https://jobs.example.com", Audience: "postern"})
	in.release(t, policy)

	// People trust both authorities: the control plane's and the gateway's.
	both := filepath.Join(in.data, "authorities.pem")
	var pems []byte
	for _, file := range []string{in.ca(), filepath.Join(gatewayData, "ca.pem")} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pems = append(pems, data...)
	}
	if err := os.WriteFile(both, pems, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(envCA, both)
	eventually(t, "the control plane follows the policy", func() bool {
		_, err := in.signInByBrowser(t, "ana")
		return err == nil
	})
	out, err := runPostern(t.Context(), "psql", "postgres", "--", "-X", "-A", "-t", "-c", "SELECT session_user")
	if err != nil || strings.TrimSpace(out) != "ana" {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("curl", func(t *testing.T) {
		person := filepath.Join(t.TempDir(), "person.token")
		idToken := in.issuer.Issue(map[string]any{"sub": "u-17", "aud": demoissuer.ClientID}, time.Minute)
		if err := os.WriteFile(person, []byte(idToken), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "curl", "-sSf", "--cacert", in.ca(), in.control+"/oauth/token",
			"-d", "grant_type=urn:ietf:params:oauth:grant-type:token-exchange", "-d", "audience=orders",
			"--data-urlencode", "subject_token@"+person, "-d", "subject_token_type=urn:ietf:params:oauth:token-type:id_token").CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"subject":"ana"`) {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// enrol is how a gateway gets its token, and what is refused on the way.
func (in *installation) enrol(t *testing.T, data string) {
	t.Helper()
	t.Setenv(envToken, in.token)
	invitation, err := runPostern(t.Context(), "gateway", "invite", "orders", "--control", in.control)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(envToken, "")
	file := filepath.Join(in.data, "enrolment.token")
	if err := os.WriteFile(file, []byte(invitation), 0o600); err != nil {
		t.Fatal(err)
	}
	enroll := func(gateway string, more ...string) (string, error) {
		return runPostern(t.Context(), append([]string{
			"gateway", "enroll", "--gateway", gateway, "--data", data, "--control", in.control, "--token-file", file,
		}, more...)...)
	}
	_, err = enroll("payroll")
	wantError(t, err, "the enrolment token is not accepted")
	out, err := enroll("orders", "--instance", "db-host-1")
	if err != nil || !strings.Contains(out, "Enrolled as orders/db-host-1") || strings.Contains(out, api.TokenPrefix) {
		t.Fatalf("%v\n%s", err, out)
	}
	if info, err := os.Stat(filepath.Join(data, "gateway.token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the gateway's token: %v, %v", info.Mode(), err)
	}
	_, err = enroll("orders")
	wantError(t, err, "this gateway has enrolled")
	_, err = enroll("orders", "--again")
	wantError(t, err, "the enrolment token is not accepted")
	_, err = runPostern(t.Context(), "gateway", "enroll", "--gateway", "orders", "--data", data, "--control", in.control, "--again")
	wantError(t, err, "no enrolment token is given")
}

// background runs a command line until the test ends, and returns when it
// listens.
func background(t *testing.T, address string, args ...string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		cmd := rootCommand()
		cmd.SetArgs(args)
		done <- cmd.ExecuteContext(ctx)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("postern %s: %v", args[0], err)
		}
	})
	eventually(t, "postern "+args[0]+" listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}
