package scenario_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/scenario"
	"github.com/posternhq/postern/policylang/source"
)

const examples = "../../examples/policies"

// TestExamples runs the tests of every example policy. Each must have its
// files formatted, no problems, and a test that shows each of its rules and
// masking policies at work.
func TestExamples(t *testing.T) {
	entries, err := os.ReadDir(examples)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, entry := range entries {
		if entry.IsDir() {
			ran++
			t.Run(entry.Name(), func(t *testing.T) { runExample(t, filepath.Join(examples, entry.Name())) })
		}
	}
	if ran < 6 {
		t.Errorf("%d examples ran, want at least 6", ran)
	}
}

func runExample(t *testing.T, dir string) {
	t.Helper()
	file, problems := source.ParseFS(os.DirFS(dir))
	for _, p := range problems {
		t.Errorf("%v", p)
	}
	checkFormatted(t, dir)
	base := baseline(t)
	report, problems := scenario.Run(file.Policy, file.Tests, scenario.Options{
		Schema: func(test *policylang.Test) (*pgcatalog.Catalog, []policylang.Problem) {
			sql, err := os.ReadFile(filepath.Join(dir, test.Schema))
			if err != nil {
				t.Fatal(err)
			}
			return scenario.ReadSchema(test.Schema, string(sql), base)
		},
	})
	for _, p := range file.Locate(problems) {
		t.Errorf("%v", p)
	}
	if report == nil {
		return
	}
	for i := range report.Results {
		if r := &report.Results[i]; !r.Passed {
			t.Errorf("%s: %s\n%+v", r.Test, r.Summary(), r.Outcome)
		}
	}
	for _, c := range report.Coverage {
		if len(c.Tests) == 0 {
			t.Errorf("no test shows %s at work", c.Path())
		}
	}
}

func checkFormatted(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, source.DefaultPattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("policy files %v, %v", files, err)
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if formatted, _ := source.Format(name, src); string(formatted) != string(src) {
			t.Errorf("%s is not formatted", name)
		}
	}
}

func baseline(t *testing.T) *pgcatalog.Catalog {
	t.Helper()
	base, err := scenario.Baseline()
	if err != nil {
		t.Fatal(err)
	}
	return base
}
