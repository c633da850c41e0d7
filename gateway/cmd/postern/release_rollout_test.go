package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// TestPublishAndRollOut publishes a bundle with the command line alone, rolls
// out another one over a real gateway, and reads the history.
func TestPublishAndRollOut(t *testing.T) {
	in := install(t)
	t.Setenv(envToken, in.token)
	t.Setenv("GITHUB_SHA", "0123abcd")
	dir := t.TempDir()
	key := filepath.Join(dir, "ops.key")
	if err := os.WriteFile(key, []byte(in.key.Secret()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := func(name string, p *policylang.Policy) (file, digest string) {
		t.Helper()
		sealed, err := bundle.Seal(p, in.key)
		if err != nil {
			t.Fatal(err)
		}
		if digest, err = p.Digest(); err != nil {
			t.Fatal(err)
		}
		file = filepath.Join(dir, name+".bundle")
		if err := os.WriteFile(file, sealed, 0o600); err != nil {
			t.Fatal(err)
		}
		return file, digest
	}
	release := func(args ...string) (string, error) {
		return runPostern(context.Background(), append([]string{"release"}, append(args, "--control", in.control)...)...)
	}
	first, firstDigest := build("first", in.policy())
	if out, err := release("publish", "orders", first, "--key", key, "--note", "the first", "--run", "https://ci/1"); err != nil || !strings.Contains(out, firstDigest) {
		t.Fatalf("publish: %v\n%s", err, out)
	}
	// A policy that lacks this gateway does not compile there: the rollout stops
	// at its first stage, and the gateway never leaves the first policy.
	broken := in.policy()
	broken.Gateways[0].Name = "other"
	wrong, _ := build("wrong", broken)
	out, err := release("rollout", "start", "r1", wrong, "--key", key, "--stage", "orders", "--observe", "0s")
	wantError(t, err, `the rollout was stopped: instance`)
	if !strings.Contains(out, "undone") {
		t.Errorf("rollout of a broken bundle: %s", out)
	}
	second := in.policy()
	second.QueryRules[0].When = "true"
	good, goodDigest := build("good", second)
	if out, err := release("rollout", "start", "r2", good, "--key", key, "--stage", "orders", "--observe", "0s", "--note", "all may write"); err != nil || !strings.Contains(out, "proven") {
		t.Fatalf("rollout: %v\n%s", err, out)
	}
	_, err = release("rollout", "stop", "r2")
	wantError(t, err, `rollout "r2" is done`)
	if out, err := release("rollout", "list"); err != nil || !strings.Contains(out, "r2\tdone\t1 of 1") || !strings.Contains(out, "r1\tstopped") {
		t.Errorf("list: %v\n%s", err, out)
	}
	if out, err := release("rollout", "show", "r2"); err != nil || !strings.Contains(out, "orders (4)\tproven") {
		t.Errorf("show: %v\n%s", err, out)
	}
	out, err = release("list", "orders", "-o", "json")
	var history []api.Release
	if err != nil || json.Unmarshal([]byte(out), &history) != nil || len(history) != 4 {
		t.Fatalf("history: %v\n%s", err, out)
	}
	if newest := history[0]; newest.Bundle != goodDigest || newest.Note != "all may write" || newest.Commit != "0123abcd" {
		t.Errorf("the newest is %+v", newest)
	}
	if oldest := history[3]; oldest.Run != "https://ci/1" || oldest.Commit != "0123abcd" || oldest.ReleasedBy != "admin" {
		t.Errorf("the oldest is %+v", oldest)
	}

	out, err = runPostern(context.Background(), "status", "--control", in.control)
	if fields := strings.Split(out, "\t"); err != nil || len(fields) < 13 || fields[0] != "orders" || fields[2] != "ok" || fields[3] != "4" || !strings.HasPrefix(goodDigest, "sha256:"+fields[4]) || fields[5] == "never" {
		t.Errorf("status: %v\n%s", err, out)
	}
	_, err = runPostern(context.Background(), "status", "nowhere", "--control", in.control)
	wantError(t, err, `no gateway "nowhere"`)

	// Without a control plane the release goes into a directory.
	policies := filepath.Join(dir, "policies")
	for revision := range 2 {
		if out, err := release("publish", "orders", first, "--key", key, "--dir", policies); err != nil || !strings.HasPrefix(out, string(rune('1'+revision))+"\t"+firstDigest) {
			t.Fatalf("publish to a directory: %v\n%s", err, out)
		}
	}
	stranger, err := bundle.GenerateKey("stranger")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte(stranger.Secret()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = release("publish", "orders", first, "--key", key, "--dir", policies)
	wantError(t, err, bundle.ErrUnknownKey.Error())
	_, err = release("publish", "orders", filepath.Join(policies, "release.json"), "--key", key)
	wantError(t, err, "it is a release, not a bundle")
}
