package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang/bundle"
)

// TestRollback releases again what ran before, and refuses what it cannot.
func TestRollback(t *testing.T) {
	in := install(t)
	t.Setenv(envToken, in.token)
	key := filepath.Join(t.TempDir(), "ops.key")
	if err := os.WriteFile(key, []byte(in.key.Secret()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rollback := func(args ...string) (string, error) {
		return runPostern(context.Background(), append([]string{"release", "rollback", "orders", "--control", in.control, "--key", key, "--note", "at night"}, args...)...)
	}
	_, err := rollback()
	wantError(t, err, `nothing was ever released to gateway "orders"`)

	first := in.policy()
	in.release(t, first)
	_, err = rollback()
	wantError(t, err, "no such release to go back to")
	second := in.policy()
	second.QueryRules[0].When = "true"
	in.release(t, second)

	if out, err := rollback(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	digest, err := first.Digest()
	if err != nil {
		t.Fatal(err)
	}
	live, err := in.admin.Live(context.Background(), "orders", 0, 0)
	if err != nil || live.Bundle != digest || live.Revision != 3 || live.Note != "at night" {
		t.Fatalf("live is %+v, %v", live, err)
	}
	_, err = rollback("--to", "1")
	wantError(t, err, "is live already")
	_, err = rollback("--to", "9")
	wantError(t, err, "no such release to go back to")
	if out, err := rollback("--to", "2", "--wait", "0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	out, err := runPostern(context.Background(), "release", "list", "orders", "--control", in.control, "-o", "json")
	var releases []api.Release
	if err != nil || json.Unmarshal([]byte(out), &releases) != nil || len(releases) != 4 || releases[1].Bundle != digest {
		t.Errorf("releases are %s, %v", out, err)
	}

	// A key that the gateway does not trust publishes, and nothing follows.
	other, err := bundle.GenerateKey("stranger")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte(other.Secret()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = rollback("--wait", "1s")
	wantError(t, err, "is published, but 1 of 1 instances do not enforce it yet")
}
