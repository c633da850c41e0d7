package provider_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/fakecontrol"
)

const examples = "../examples"

// cli is a Terraform that uses the provider's own binary, and a control plane.
type cli struct {
	*lab
	dir string
	env []string
}

// buildProvider builds the binary as a release does, without cgo, and returns
// the file that makes Terraform use it.
func buildProvider(t *testing.T) (configFile string) {
	t.Helper()
	if os.Getenv("TF_ACC") == "" {
		t.Skip("needs TF_ACC=1 and a terraform binary")
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "terraform-provider-postern"), "./cmd/terraform-provider-postern")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the provider: %v\n%s", err, out)
	}
	configFile = filepath.Join(dir, "terraform.rc")
	config := "provider_installation {\n  dev_overrides {\n    \"registry.terraform.io/posternhq/postern\" = \"" + dir + "\"\n  }\n  direct {}\n}\n"
	must(t, os.WriteFile(configFile, []byte(config), 0o600))
	return configFile
}

func newCLI(t *testing.T, configFile string) *cli {
	t.Helper()
	l := newLab(t)
	l.control.SetProcesses("orders", fakecontrol.Process{Name: "p1"}, fakecontrol.Process{Name: "p2"})
	return &cli{lab: l, dir: t.TempDir(), env: append(os.Environ(),
		"TF_CLI_CONFIG_FILE="+configFile, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_CLI_ARGS=-no-color",
		"TF_VAR_id_token=oidc-orders_ci", "POSTERN_ENDPOINT="+l.control.URL, "POSTERN_TOKEN="+fakecontrol.Token, "POSTERN_SIGNING_KEY="+l.key.Secret())}
}

// run runs a Terraform command and returns what it prints and its exit code.
func (c *cli) run(ctx context.Context, t *testing.T, args ...string) (string, int) {
	t.Helper()
	binary := os.Getenv("TF_ACC_TERRAFORM_PATH")
	if binary == "" {
		binary = "terraform"
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (c *cli) mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, code := c.run(t.Context(), t, args...)
	if code != 0 {
		t.Fatalf("terraform %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

const examplesProvider = `
terraform {
  required_providers {
    postern = { source = "posternhq/postern" }
  }
}
`

// TestAccCLI runs what needs the provider's binary: for_each, generated
// configuration and the examples.
func TestAccCLI(t *testing.T) {
	configFile := buildProvider(t)
	t.Run("examples", func(t *testing.T) { testExamples(t, configFile) })
	t.Run("provider", func(t *testing.T) { testExampleProvider(t, newCLI(t, configFile)) })
	t.Run("quickstart", func(t *testing.T) { testQuickstart(t, newCLI(t, configFile)) })
	t.Run("generated configuration", func(t *testing.T) { testGeneratedConfiguration(t, newCLI(t, configFile)) })
}

// Every example of the documentation is applied as it stands, and then shows no
// difference.
func testExamples(t *testing.T, configFile string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(examples, "*", "*", "*.tf"))
	must(t, err)
	files = slices.DeleteFunc(files, func(name string) bool { return strings.Contains(name, "stories") })
	if len(files) < 15 {
		t.Fatalf("only %d examples were found", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			t.Parallel()
			c := newCLI(t, configFile)
			both := simplePolicy("orders-staging", "read")
			both.Gateways = append(both.Gateways, policylang.Gateway{Name: "orders-production", Upstream: policylang.Upstream{Host: "db"}})
			c.control.Publish("orders-staging", both, c.other, "")
			c.control.Decide(func(fakecontrol.Question) []map[string]any {
				return []map[string]any{{"passed": true, "effect": "allow", "columns": []map[string]any{{"name": "email", "action": "mask"}}}, {"passed": true}}[:1+strings.Count(file, "postern_bundle")]
			})
			c.control.SetProcesses("fleet", fakecontrol.Process{Name: "p1"})
			c.control.SetProcesses("orders-production", fakecontrol.Process{Name: "p1"})
			if strings.Contains(file, "data-sources") {
				c.control.Publish("orders", simplePolicy("orders", "read"), c.other, "")
			}
			text, err := os.ReadFile(file)
			must(t, err)
			must(t, os.WriteFile(filepath.Join(c.dir, "example.tf"), text, 0o600))
			must(t, os.WriteFile(filepath.Join(c.dir, "provider.tf"), []byte(examplesProvider), 0o600))
			c.mustRun(t, "apply", "-auto-approve", "-input=false")
			if out, code := c.run(t.Context(), t, "plan", "-detailed-exitcode", "-input=false"); code != 0 {
				t.Errorf("plan after apply: exit code %d\n%s", code, out)
			}
		})
	}
}

func testExampleProvider(t *testing.T, c *cli) {
	t.Helper()
	t.Parallel()
	must(t, os.CopyFS(c.dir, os.DirFS(filepath.Join(examples, "provider"))))
	c.mustRun(t, "validate")
}

// The quickstart with a contractor who leaves.
func testQuickstart(t *testing.T, c *cli) {
	t.Helper()
	t.Parallel()
	must(t, os.CopyFS(c.dir, os.DirFS(filepath.Join(examples, "stories", "quickstart"))))
	variables := []string{"-input=false", "-var=issuer_url=https://login.example.com", "-var=upstream_host=127.0.0.1"}

	out := c.mustRun(t, append([]string{"apply", "-auto-approve"}, variables...)...)
	live := c.control.Live("orders")
	policy, _ := c.control.Bundle(live.Bundle)
	if live.Revision != 1 || len(policy.Identities) != 4 || len(policy.QueryRules) != 6 || len(policy.MaskingPolicies) != 3 {
		t.Fatalf("live is %+v: %+v\n%s", live, policy, out)
	}
	if strings.Contains(out, "Warning: query_rule") {
		t.Errorf("the policy has warnings:\n%s", out)
	}
	if out, code := c.run(t.Context(), t, append([]string{"plan", "-detailed-exitcode"}, variables...)...); code != 0 {
		t.Errorf("plan after apply: exit code %d\n%s", code, out)
	}

	out = c.mustRun(t, append([]string{"apply", "-auto-approve", "-var=contractors=[]"}, variables...)...)
	if !strings.Contains(out, "- identity.carl") || !strings.Contains(out, `changes the live policy of gateway "orders"`) {
		t.Errorf("the plan does not say who leaves:\n%s", out)
	}
	live = c.control.Live("orders")
	policy, _ = c.control.Bundle(live.Bundle)
	if live.Revision != 2 || len(policy.Identities) != 3 || c.control.Object(policylang.KindIdentity, "carl") != nil {
		t.Errorf("live is %+v: %+v", live, policy.Identities)
	}
}

// What was made elsewhere is imported with generated configuration, which then
// shows no difference.
func testGeneratedConfiguration(t *testing.T, c *cli) {
	t.Helper()
	t.Parallel()
	config := examplesProvider
	for _, k := range draftCases() {
		c.control.PutObject(k.want)
		config += "import {\n  to = postern_" + string(k.kind) + ".x\n  id = \"x\"\n}\n"
	}
	digest := c.control.Publish("orders", everyKind(), c.key, "by hand")
	config += "import {\n  to = postern_bundle.x\n  id = \"" + digest + "\"\n}\n"
	config += "import {\n  to = postern_release.x\n  id = \"orders\"\n}\n"
	must(t, os.WriteFile(filepath.Join(c.dir, "main.tf"), []byte(config), 0o600))

	out := c.mustRun(t, "plan", "-generate-config-out=generated.tf", "-input=false")
	if !strings.Contains(out, "7 to import, 0 to add, 0 to change, 0 to destroy") {
		t.Errorf("plan with generated configuration:\n%s", out)
	}
	c.mustRun(t, "apply", "-auto-approve", "-input=false")
	if out, code := c.run(t.Context(), t, "plan", "-detailed-exitcode", "-input=false"); code != 0 {
		t.Errorf("plan after import: exit code %d\n%s", code, out)
	}
	if n := c.control.Revisions("orders"); n != 1 {
		t.Errorf("%d releases, want the one that was imported", n)
	}
}

// everyKind is a policy with the least and the most of each kind of object.
func everyKind() policylang.Policy {
	p := simplePolicy("orders", "read")
	p.ApprovalGroups = []policylang.ApprovalGroup{{Name: "dba", Members: []string{"ben", "chloe"}}}
	p.Identities = []policylang.Identity{
		{Name: "ben", Kind: "human", When: "token.sub == 'ben'"}, {Name: "chloe", Kind: "human", When: "token.sub == 'chloe'"},
	}
	p.MaskingPolicies = []policylang.MaskingPolicy{{Name: "plain", Columns: []string{"*.*.ssn"}, Transform: policylang.TransformRedact}}
	for _, k := range draftCases() {
		if k.kind != policylang.KindGateway {
			p.Add(k.want)
		}
	}
	return p
}
