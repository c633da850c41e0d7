package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/policylang/condition"
	"github.com/posternhq/postern/policylang/reference"
	"github.com/posternhq/postern/policylang/source"
)

func TestProblemText(t *testing.T) {
	file, problems := source.Parse("p.hcl", []byte("query_rule \"a\" {\n  when   = \"true\"\n  effect = \"alow\"\n}\n"))
	got := problemText(&output{colour: true}, file, problems[0])
	want := "\x1b[1mp.hcl:3:12: \x1b[0m\x1b[31merror: \x1b[0meffect cannot be \"alow\"\n" +
		"  3 │   effect = \"alow\"\n    │            \x1b[31m^^^^^^\x1b[0m\n" +
		"    = Did you mean \x1b[32m\"allow\"\x1b[0m?\n    = It is \"allow\", \"deny\", \"hold\" or \"limit\".\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestProblemCount(t *testing.T) {
	warning := policylang.Problem{Severity: policylang.SeverityWarning}
	tests := []struct {
		problems []policylang.Problem
		want     string
	}{
		{[]policylang.Problem{{}}, "the policy has 1 error"},
		{[]policylang.Problem{{}, warning, {}}, "the policy has 2 errors and 1 warning"},
		{[]policylang.Problem{warning, warning}, "the policy has 0 errors and 2 warnings"},
	}
	for _, tt := range tests {
		if got := problemCount(tt.problems).Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestReference wants every attribute and everything that conditions may
// mention in the printed reference, in tables that Markdown can read.
func TestReference(t *testing.T) {
	text := referenceText()
	for _, block := range documentedBlocks() {
		if !strings.Contains(text, "### `"+string(block.kind)+"`") {
			t.Errorf("no section for %s", block.kind)
		}
		for _, a := range reference.Attributes(block.kind) {
			if !strings.Contains(text, "| `"+a.Name+"` |") {
				t.Errorf("%s.%s is missing", block.kind, a.Name)
			}
		}
	}
	language := condition.Declarations()
	for _, v := range language.Variables {
		for _, f := range v.Fields {
			if !strings.Contains(text, "`"+v.Name+"."+f.Name+"`") {
				t.Errorf("%s.%s is missing", v.Name, f.Name)
			}
		}
	}
	for _, f := range language.Functions {
		if !strings.Contains(text, f.Signature) {
			t.Errorf("%s is missing", f.Signature)
		}
	}
	for line := range strings.Lines(text) {
		cells := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if strings.HasPrefix(line, "|") && cells != 4 {
			t.Errorf("a row with %d bars: %s", cells, line)
		}
	}
}

// TestLanguageGuide checks the policy that the guide shows, and that the
// document in the repository is the one that is printed.
func TestLanguageGuide(t *testing.T) {
	_, code, _ := strings.Cut(languageGuide, "```hcl\n")
	code, _, _ = strings.Cut(code, "```")
	formatted, problems := source.Format("guide.hcl", []byte(code))
	if string(formatted) != code {
		t.Errorf("the guide's policy is not formatted: %v\n%s", problems, formatted)
	}
	file, problems := source.Parse("guide.hcl", []byte(code))
	_, more := compile.Compile(file.Policy, "orders")
	for _, p := range append(problems, file.Locate(more)...) {
		t.Errorf("%v", p)
	}

	const document = "../../../docs/language.md"
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != languageGuide+referenceText() {
		t.Errorf("%s is not what `postern policy docs` prints: run make docs", document)
	}
}

// TestExamplesReadme runs the commands that the examples' README shows.
func TestExamplesReadme(t *testing.T) {
	t.Chdir("../../../examples/policies")
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for line := range strings.Lines(strings.ReplaceAll(string(data), "\\\n", "")) {
		if command, ok := strings.CutPrefix(line, "$ postern "); ok {
			ran++
			if got := runLine(strings.TrimSpace(command)); strings.Contains(got, "postern: ") || got == "" {
				t.Errorf("%s%s", line, got)
			}
		}
	}
	if ran < 2 {
		t.Errorf("%d commands ran", ran)
	}
}

// TestPolicyPaths reads policies by odd paths.
func TestPolicyPaths(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "od[d] *?")
	if err := os.MkdirAll(odd, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(odd, "a.postern.hcl"), bundlePolicy)
	writeFile(t, filepath.Join(odd, "other.hcl"), "nonsense")
	t.Chdir(dir)
	for _, p := range []string{odd, "od[d] *?", "./od[d] *?/", "od[d] *?/a.postern.hcl", "od[d] *?/../od[d] *?"} {
		file, program, problems, err := loadPolicy([]string{p}, "")
		if err != nil || program == nil || len(file.Policy.QueryRules) != 2 {
			t.Errorf("%q: %v, %v", p, problems, err)
		}
	}
}

func TestCompletion(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "p.postern.hcl", "gateway \"orders\" {\n}\nidentity \"ana\" {\n}\nidentity \"ben\" {\n}\n")
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"policy", "explain", "--identity", ""}, "ana\nben\n"},
		{[]string{"policy", "check", "--gateway", ""}, "orders\n"},
		{[]string{"policy", "check", "-o", ""}, "table\njson\n"},
		{[]string{"policy", ""}, "build\tMake a signed bundle of a policy\n"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		cmd := rootCommand()
		cmd.SetArgs(append([]string{"__complete"}, tt.args...))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%q: %q, %v, want %q", tt.args, out.String(), err, tt.want)
		}
	}
}
