package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang/bundle"
)

const bundlePolicy = `query_rule "a" {
  when   = "statement.read_only"
  effect = "allow"
}

query_rule "b" {
  when    = "statement.ddl"
  effect  = "deny"
  message = "no"
}

approval_group "dba" {
  members = ["ana"]
}
`

// runOK runs a command line that must succeed.
func runOK(t *testing.T, line string) string {
	t.Helper()
	got := runLine(line)
	if strings.Contains(got, "postern: ") {
		t.Fatalf("%s:\n%s", line, got)
	}
	return got
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestBundle makes keys, builds, inspects and verifies, and then does what must
// not work.
func TestBundle(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "p.postern.hcl", bundlePolicy)
	runOK(t, "bundle keygen --name ops")
	runOK(t, "bundle keygen --name other --out strange")
	info, err := os.Stat("ops.key")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("private key: %v, %v", info, err)
	}
	var built struct {
		Digest string `json:"digest"`
		KeyID  string `json:"key_id"`
	}
	if err := json.Unmarshal([]byte(runOK(t, "policy build --key ops.key --out p.bundle -o json")), &built); err != nil {
		t.Fatal(err)
	}
	inspected := runOK(t, "bundle inspect p.bundle")
	for _, want := range []string{"signature\tnot verified", "digest\t" + built.Digest, "key\t" + built.KeyID, "query_rule\t2"} {
		if !strings.Contains(inspected, want+"\n") {
			t.Errorf("inspect does not say %q:\n%s", want, inspected)
		}
	}
	if got := runOK(t, "bundle verify --trust ops.pub p.bundle"); !strings.Contains(got, "signature\tverified\n") {
		t.Errorf("verify:\n%s", got)
	}

	data, err := os.ReadFile("p.bundle")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, "truncated.bundle", string(data[:len(data)-10]))
	altered := strings.Replace(string(data), `"payload":"e`, `"payload":"f`, 1)
	if altered == string(data) {
		t.Fatalf("the payload does not begin as JSON does: %s", data)
	}
	writeFile(t, "altered.bundle", altered)
	tests := []struct{ line, want string }{
		{"bundle keygen --name ops", "file exists"},
		{"bundle verify --trust strange.pub p.bundle", bundle.ErrUnknownKey.Error()},
		{"bundle verify --trust ops.pub truncated.bundle", bundle.ErrTruncated.Error()},
		{"bundle verify --trust ops.pub nowhere.bundle", "no such file"},
		{"bundle verify --trust nowhere.pub p.bundle", "read trusted keys"},
		{"bundle verify --trust p.postern.hcl p.bundle", "public key"},
		{"bundle verify p.bundle", `required flag(s) "trust" not set`},
		{"bundle inspect p.postern.hcl", "malformed"},
		{"policy build --key ops.pub --out x", "private key"},
		{"bundle verify --trust ops.pub altered.bundle", "postern: "},
	}
	secret, err := os.ReadFile("ops.key")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		got := runLine(tt.line)
		if !strings.Contains(got, tt.want) || !strings.Contains(got, "postern: ") {
			t.Errorf("%s: got %q, want an error with %q", tt.line, got, tt.want)
		}
		if strings.Contains(got, strings.TrimSpace(string(secret))) {
			t.Errorf("%s: prints the private key", tt.line)
		}
	}
}

// TestBuildKeyFromEnvironment signs without a key file.
func TestBuildKeyFromEnvironment(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "p.postern.hcl", bundlePolicy)
	key, err := bundle.GenerateKey("ci")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(keyVariable, key.Secret())
	writeFile(t, "ci.pub", key.PublicKey().String()+"\n")
	runOK(t, "policy build --out p.bundle")
	runOK(t, "bundle verify --trust ci.pub p.bundle")
}
