package source_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/source"
)

var update = flag.Bool("update", false, "rewrite the want files in testdata")

// eachArchive runs a subtest for each testdata/<dir>/*.txtar.
func eachArchive(t *testing.T, dir string, run func(t *testing.T, file string, ar *txtar.Archive)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			run(t, file, ar)
		})
	}
}

// section returns the data of the named file in ar.
func section(ar *txtar.Archive, name string) []byte {
	for _, f := range ar.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// check compares got with the named file in ar, or with -update stores it.
func check(t *testing.T, file string, ar *txtar.Archive, name, got string) {
	t.Helper()
	want := string(section(ar, name))
	if got == want {
		return
	}
	if !*update {
		t.Errorf("%s:\n got:\n%s\nwant:\n%s", name, got, want)
		return
	}
	for i := range ar.Files {
		if ar.Files[i].Name == name {
			ar.Files[i].Data = []byte(got)
		}
	}
	if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
		t.Fatal(err)
	}
}

// report is the problems as a person sees them.
func report(f *source.File, problems []policylang.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.Error() + "\n" + f.Excerpt(p))
	}
	return b.String()
}

// TestParse reads each testdata/parse/*.txtar: policy.hcl is parsed, and
// problems is what a reader of the error output should see.
func TestParse(t *testing.T) {
	eachArchive(t, "parse", func(t *testing.T, file string, ar *txtar.Archive) {
		f, problems := source.Parse("policy.hcl", section(ar, "policy.hcl"))
		got := report(f, problems)
		for _, p := range problems {
			if p.Line == 0 {
				t.Errorf("no position: %v", p)
			}
		}
		for _, secret := range []string{"hunter2", "hunter 2", "271828"} {
			if strings.Contains(got, secret) {
				t.Errorf("the problems show the secret %q:\n%s", secret, got)
			}
		}
		check(t, file, ar, "problems", got)
	})
}

// TestFormat reads each testdata/format/*.txtar: before is formatted and must
// give after, which does not change when it is formatted again.
func TestFormat(t *testing.T) {
	eachArchive(t, "format", func(t *testing.T, file string, ar *txtar.Archive) {
		got, problems := source.Format("policy.hcl", section(ar, "before"))
		if len(problems) > 0 {
			check(t, file, ar, "after", report(&source.File{}, problems))
			return
		}
		check(t, file, ar, "after", string(got))
		again, _ := source.Format("policy.hcl", got)
		if string(again) != string(got) {
			t.Errorf("formatted again:\n%s\nwant:\n%s", again, got)
		}
	})
}

// TestWrite reads each testdata/write/*.txtar: the policy is parsed and
// written, and the result has the same digest.
func TestWrite(t *testing.T) {
	eachArchive(t, "write", func(t *testing.T, file string, ar *txtar.Archive) {
		f, problems := source.Parse("policy.hcl", section(ar, "policy.hcl"))
		if policylang.HasErrors(problems) {
			t.Fatal(report(f, problems))
		}
		got := source.Write(f.Policy)
		check(t, file, ar, "written", string(got))
		if formatted, _ := source.Format("policy.hcl", got); string(formatted) != string(got) {
			t.Errorf("what Write gives is not formatted:\n%s\nwant:\n%s", got, formatted)
		}
		sameDigest(t, f.Policy, got)
	})
}

// sameDigest checks that the text means the policy.
func sameDigest(t *testing.T, want policylang.Policy, written []byte) {
	t.Helper()
	again, problems := source.Parse("written.hcl", written)
	if policylang.HasErrors(problems) {
		t.Fatalf("written policy:\n%s\n%s", written, report(again, problems))
	}
	a, errA := want.Digest()
	b, errB := again.Policy.Digest()
	if errA != nil || errB != nil || a != b {
		t.Errorf("digests %s (%v) and %s (%v) differ; written:\n%s", a, errA, b, errB, written)
	}
}
