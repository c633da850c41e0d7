package condition_test

import (
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// TestBounds gives expressions that must not reach the parser.
func TestBounds(t *testing.T) {
	long := `identity.name == "` + strings.Repeat("a", condition.MaxLength) + `"`
	for _, tt := range []struct{ name, expr, want string }{
		{"nothing", " \n", "the expression is empty"},
		{"as long as can be", long[:condition.MaxLength-1] + `"`, ""},
		{"too long", long, "the expression is 8211 bytes long, at most 8192 are possible"},
		{"100 MB", strings.Repeat("true && ", 100<<20/8) + "true", "the expression is 104857604 bytes long, at most 8192 are possible"},
		{"not UTF-8", "identity.name == \"\xff\"", "the expression is not valid UTF-8 text"},
		{"null byte", "identity.name == \"\x00\"", "the expression is not valid UTF-8 text"},
		{"brackets", strings.Repeat("(", 4000) + "true" + strings.Repeat(")", 4000), "the expression nests more than 50 deep"},
		{"brackets never closed", strings.Repeat("[", 8000), "the expression nests more than 50 deep"},
		{"negations", strings.Repeat("!", 4000) + "true", "the expression nests more than 50 deep"},
		{"conditionals", strings.Repeat("true ? ", 500) + "true" + strings.Repeat(" : true", 500), "the expression nests more than 50 deep"},
		{"a chain as long as can be", strings.Repeat("true&&", 1360) + "true", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, problems := condition.Compile(condition.KindRule, tt.expr)
			if (c == nil) != (tt.want != "") || policylang.HasErrors(problems) != (tt.want != "") {
				t.Fatalf("condition %t, problems %v", c != nil, problems)
			}
			if tt.want != "" && problems[0].Summary != tt.want {
				t.Errorf("got %q, want %q", problems[0].Summary, tt.want)
			}
		})
	}
}
