package testacc_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// binaries builds what the acceptance tests run, into a temporary directory.
func binaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, build := range map[string]struct {
		pkg string
		env string
	}{
		"postern":                    {pkg: "./gateway/cmd/postern"},
		"postern-demo":               {pkg: "./gateway/cmd/demo"},
		"terraform-provider-postern": {pkg: "./provider/cmd/terraform-provider-postern", env: "CGO_ENABLED=0"},
	} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, name), build.pkg)
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), build.env)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return dir
}

// needTerraform skips outside CI when there is no Terraform; `make test`
// installs or demands it, and CI skips nothing.
func needTerraform(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("terraform is not on PATH")
		}
		t.Skip("terraform is not on PATH: run make test, which says how to install it")
	}
}

// TestDemo is the main job, end to end: the demo in its CI form, which asserts
// what it shows. Its transcript is the README's.
func TestDemo(t *testing.T) {
	needTerraform(t)
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	bin := binaries(t)
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "postern-demo"), "--ci", "--bin", bin)
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the demo failed: %v\n%s", err, out)
	}
	for _, scene := range []string{"Ana, an engineer", "DROP DATABASE is denied", "waits for a DBA", "Carl's contract ends", "The evidence"} {
		if !strings.Contains(string(out), scene) {
			t.Errorf("the transcript lacks %q", scene)
		}
	}
}
