package source_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/source"
)

// seed adds every policy in testdata.
func seed(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data)
	}
}

// FuzzParse checks that every problem has a position within the file, that
// excerpts can be drawn, and that a policy without problems survives writing.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		file, problems := source.Parse("p.hcl", src)
		for _, p := range problems {
			if p.Line < 1 || p.Col < 1 || p.EndLine < p.Line || p.EndLine == p.Line && p.EndCol < p.Col {
				t.Errorf("position of %+v", p)
			}
			_ = file.Excerpt(p)
		}
		if !policylang.HasErrors(problems) {
			sameDigest(t, file.Policy, source.Write(file.Policy))
		}
	})
}

// FuzzFormat checks that a formatted file does not change when it is formatted
// again, and means the same.
func FuzzFormat(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		once, problems := source.Format("p.hcl", src)
		if (once == nil) != (len(problems) > 0) {
			t.Fatalf("Format returns %q and %v", once, problems)
		}
		if once == nil {
			if len(problems) == 1 && problems[0].Line == 0 && len(src) < 1<<20 {
				t.Fatal(problems)
			}
			return
		}
		twice, problems := source.Format("p.hcl", once)
		if string(twice) != string(once) {
			t.Errorf("once:\n%q\ntwice:\n%q\n%v", once, twice, problems)
		}
		before, _ := source.Parse("p.hcl", src)
		after, _ := source.Parse("p.hcl", once)
		a, errA := before.Policy.Canonical()
		b, errB := after.Policy.Canonical()
		if string(a) != string(b) || (errA == nil) != (errB == nil) {
			t.Errorf("meaning before:\n%s\nafter:\n%s", a, b)
		}
	})
}
