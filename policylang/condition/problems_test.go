package condition_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/tools/txtar"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

var update = flag.Bool("update", false, "rewrite the want files in testdata")

// TestProblems reads each testdata/problems/*.txtar: a file named for the kind
// of expression is checked, and problems is what its author should see.
func TestProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/problems/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			kind, expr := condition.Kind(archive.Files[0].Name), strings.TrimSuffix(string(archive.Files[0].Data), "\n")
			got := show(expr, condition.Check(kind, expr))
			if want := string(archive.Files[1].Data); got == want {
				return
			}
			if !*update {
				t.Fatalf("got:\n%s\nwant:\n%s", got, archive.Files[1].Data)
			}
			archive.Files[1].Data = []byte(got)
			if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// show writes problems as a front door would: the summary, the line of the
// expression with what it is about underlined, the advice.
func show(expr string, problems []policylang.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.Summary)
		if p.Suggestion != "" {
			fmt.Fprintf(&b, "; did you mean %q?", p.Suggestion)
		}
		start := strings.LastIndexByte(expr[:p.Path.Offset], '\n') + 1
		line, _, _ := strings.Cut(expr[start:], "\n")
		before := expr[start:p.Path.Offset]
		about := expr[p.Path.Offset:min(p.Path.Offset+p.Path.Length, start+len(line))]
		fmt.Fprintf(&b, "\n    %.120s\n    %s%s\n", line, strings.Repeat(" ", min(118, utf8.RuneCountInString(before))), strings.Repeat("^", max(1, min(120, utf8.RuneCountInString(about)))))
		if p.Advice != "" {
			fmt.Fprintf(&b, "  %s\n", p.Advice)
		}
	}
	return b.String()
}
