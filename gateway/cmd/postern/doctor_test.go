package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang/bundle"
)

// TestDoctor looks at a healthy installation, and then at one after another
// thing that is broken in it.
func TestDoctor(t *testing.T) {
	in := install(t)
	t.Setenv(envToken, in.token)
	in.release(t, in.policy())
	data := filepath.Join(in.data, "postern")
	trust := filepath.Join(t.TempDir(), "publisher.pub")
	keys := in.key.PublicKey().String() + "\n"
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(trust, keys)
	look := func(more ...string) (map[string]finding, error) {
		t.Helper()
		out, err := runPostern(t.Context(), append([]string{"doctor", "-o", "json", "--control", in.control, "--gateway", "orders", "--data", data, "--trust", trust}, more...)...)
		var list []finding
		if json.Unmarshal([]byte(out), &list) != nil {
			t.Fatalf("doctor: %v\n%s", err, out)
		}
		byCheck := map[string]finding{}
		for _, f := range list {
			name, _, _ := strings.Cut(f.Check, "/")
			byCheck[name] = f
			if (f.State == stateOK) != (f.Advice == "") {
				t.Errorf("%+v: advice is for what is not well, and for all of it", f)
			}
		}
		return byCheck, err
	}
	well, err := look()
	if err != nil {
		t.Errorf("a healthy installation: %v, %+v", err, well)
	}
	for _, check := range []string{"control plane", "clock", "token", "gateway orders", "keys", "policy on disk", "release at the control plane", "data directory", "certificate", "upstream"} {
		if well[check].State != stateOK {
			t.Errorf("healthy, %s: %+v", check, well[check])
		}
	}
	ails := func(check, found, advice string) func(map[string]finding, error) {
		return func(all map[string]finding, err error) {
			t.Helper()
			f := all[check]
			if err == nil || f.State != stateProblem || !strings.Contains(f.Found, found) || !strings.Contains(f.Advice, advice) {
				t.Errorf("%s: %+v, %v; want a problem with %q and the advice %q", check, f, err, found, advice)
			}
		}
	}
	ails("control plane", "not available", "check that it runs")(look("--control", "https://"+freeAddress(t)))
	ails("control plane", "certificate is not trusted", "give --ca")(look("--ca", filepath.Join(strangeAuthority(t), "ca.pem")))
	ails("gateways", `no gateway "billing"`, "start the gateway")(look("--gateway", "billing"))

	other, err := bundle.GenerateKey("other")
	if err != nil {
		t.Fatal(err)
	}
	write(trust, other.PublicKey().String())
	ails("release at the control plane", "unknown key", "let the gateway trust that key")(look())
	ails("policy on disk", "unknown key", "release under a trusted key")(look())
	write(trust, keys+"revoked "+in.key.PublicKey().ID()+"\n"+other.PublicKey().String())
	ails("release at the control plane", "revoked key", "publish with one that it trusts")(look())
	write(trust, "junk")
	ails("keys", "line 1", "postern bundle keygen")(look())
	write(trust, keys)

	if err := os.Chmod(filepath.Join(data, "mask.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	ails("data directory", "mask.key", "chmod 600")(look())
	if err := os.Chmod(filepath.Join(data, "mask.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(data, "server.pem"), "junk")
	ails("certificate", "cannot be read", "start the gateway again")(look())
	in.cluster.Kill()
	ails("upstream", "connect to upstream", "start PostgreSQL")(look())
	if err := in.cluster.Restart(); err != nil {
		t.Fatal(err)
	}

	// Elsewhere than on a gateway's host it says what it could not look at.
	out, err := runPostern(t.Context(), "doctor", "--control", in.control)
	if err != nil || !strings.Contains(out, "data directory\tskipped\tnot looked at\tgive --data") || !strings.Contains(out, "clock\tok\twithin") {
		t.Errorf("from afar: %v\n%s", err, out)
	}
}

func strangeAuthority(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := authority(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestClockFinding(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	for ahead, state := range map[time.Duration]string{0: stateOK, 20 * time.Second: stateOK, -20 * time.Second: stateOK, time.Minute: stateProblem, -time.Minute: stateProblem} {
		if f := clockFinding(now.Add(ahead), now, now.Add(time.Second)); f.State != state {
			t.Errorf("%s apart: %+v", ahead, f)
		}
	}
	if f := clockFinding(time.Time{}, now, now); f.State != stateWarning {
		t.Errorf("no date: %+v", f)
	}
}

// TestInstanceAdvice says for each thing that an instance reports what to do.
func TestInstanceAdvice(t *testing.T) {
	now := time.Now()
	live := &api.Release{Revision: 7}
	report := func(problem string) api.Instance {
		return api.Instance{Instance: "i1", SeenAt: now, Heartbeat: api.Heartbeat{Version: "0.0.9", Revision: 6, Error: problem}}
	}
	seen := map[string]bool{}
	for _, problem := range []string{
		"compile: unknown function", fmt.Sprintf("open release: %s: signed by x", bundle.ErrUnknownKey), bundle.ErrRolledBack.Error(),
		"keep the policy in force on disk: no space left on device", "something else", "",
	} {
		findings := gatewayFindings(gatewayStatus{"orders", live, []api.Instance{report(problem)}}, now)
		f := findings[len(findings)-1]
		if len(findings) != 1 || f.State != stateProblem || !strings.Contains(f.Found, "behind: revision 6 of 7") || seen[f.Advice] {
			t.Errorf("%q: %+v", problem, findings)
		}
		seen[f.Advice] = true
	}
	lost := report("")
	lost.SeenAt = now.Add(-time.Hour)
	if f := gatewayFindings(gatewayStatus{"orders", nil, []api.Instance{lost}}, now); len(f) != 2 || f[0].State != stateProblem || f[1].State != stateProblem {
		t.Errorf("lost, and nothing released: %+v", f)
	}
	if controlAdvice(errors.New("x")) == "" {
		t.Error("no advice")
	}
}
