package condition

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/tools/txtar"

	"github.com/posternhq/postern/policylang"
)

// FuzzCompile compiles any text: either there are problems, whose ranges are in
// the text and whole characters, or a condition, which then evaluates.
func FuzzCompile(f *testing.F) {
	files, err := filepath.Glob("testdata/problems/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(strings.TrimSuffix(string(txtar.Parse(data).Files[0].Data), "\n"))
	}
	f.Fuzz(func(t *testing.T, expr string) {
		for _, kind := range kinds() {
			problems := Check(kind, expr)
			for _, p := range problems {
				checkProblem(t, expr, p)
			}
			if kind == KindNameFrom || kind == KindGroupsFrom {
				continue
			}
			c, again := Compile(kind, expr)
			if (c == nil) != policylang.HasErrors(again) || policylang.HasErrors(problems) != policylang.HasErrors(again) {
				t.Fatalf("%q: condition %v with problems %v", expr, c, again)
			}
			if c == nil {
				continue
			}
			for seed := range uint64(3) {
				v, err := c.Eval(newRandom(seed).input())
				if (v == Error) != (err != nil) {
					t.Fatalf("%q gives %s with error %v", expr, v, err)
				}
			}
		}
	})
}

func checkProblem(t *testing.T, expr string, p policylang.Problem) {
	t.Helper()
	end := p.Path.Offset + p.Path.Length
	if p.Summary == "" || p.Path.Offset < 0 || p.Path.Length < 0 || end > len(expr) {
		t.Fatalf("%q: problem out of range: %+v", expr, p)
	}
	if utf8.ValidString(expr) && !utf8.ValidString(expr[p.Path.Offset:end]) {
		t.Fatalf("%q: problem cuts a character: %+v", expr, p)
	}
}
