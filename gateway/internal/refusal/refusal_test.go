package refusal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"testing"
)

// TestTableHasEveryCode reads the constants from the source, so that a new
// code without a row fails.
func TestTableHasEveryCode(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if id, ok := spec.Type.(*ast.Ident); ok && id.Name == "Code" {
				constants++
			}
		}
		return true
	})
	state := regexp.MustCompile(`^[0-9A-Z]{5}$`)
	seen := map[Code]bool{}
	for _, e := range Table() {
		if seen[e.Code] {
			t.Errorf("%s has two rows", e.Code)
		}
		seen[e.Code] = true
		if !state.MatchString(e.SQLSTATE) || e.Cause == "" {
			t.Errorf("%s: SQLSTATE %q, cause %q", e.Code, e.SQLSTATE, e.Cause)
		}
	}
	if len(seen) != constants {
		t.Errorf("the table has %d rows for %d codes", len(seen), constants)
	}
}
