package policylang_test

import (
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang"
)

func TestProblemError(t *testing.T) {
	path := policylang.Path{Kind: policylang.KindQueryRule, Name: "a", Attr: "when"}
	tests := []struct {
		problem policylang.Problem
		want    string
	}{
		{policylang.Problem{Summary: "bad"}, "policy: bad"},
		{policylang.Problem{Path: policylang.Path{Kind: policylang.KindQueryRule, Name: "a"}, Summary: "bad"}, "query_rule.a: bad"},
		{policylang.Problem{Path: path, Summary: "bad", Advice: "Mend it. Soon."}, "query_rule.a.when: bad (Mend it. Soon)"},
		{policylang.Problem{Path: path, File: "p.hcl", Summary: "bad"}, "p.hcl: bad"},
		{policylang.Problem{Path: path, File: "p.hcl", Line: 3, Col: 7, Summary: "bad", Suggestion: "good"}, `p.hcl:3:7: bad; did you mean "good"?`},
		{policylang.Problem{Severity: policylang.SeverityWarning, File: "p.hcl", Line: 3, Col: 7, Summary: "odd"}, "p.hcl:3:7: warning: odd"},
	}
	for _, tt := range tests {
		if got := tt.problem.Error(); got != tt.want {
			t.Errorf("Error() = %q, want %q", got, tt.want)
		}
	}
}

func TestHasErrors(t *testing.T) {
	warning := policylang.Problem{Severity: policylang.SeverityWarning}
	tests := []struct {
		problems []policylang.Problem
		want     bool
	}{
		{nil, false},
		{[]policylang.Problem{warning}, false},
		{[]policylang.Problem{warning, {}}, true},
	}
	for _, tt := range tests {
		if got := policylang.HasErrors(tt.problems); got != tt.want {
			t.Errorf("HasErrors(%v) = %t", tt.problems, got)
		}
	}
}

func TestSuggest(t *testing.T) {
	effects := []string{"allow", "deny", "hold", "limit"}
	tests := []struct {
		name       string
		candidates []string
		want       string
	}{
		{"alow", effects, "allow"},
		{"dney", effects, "deny"},
		{"HOLD", effects, "hold"},
		{"limits", effects, "limit"},
		{"permit", effects, ""},
		{"x", effects, ""},
		{"", effects, ""},
		{"approval_gruop", []string{"approval_group", "gateway"}, "approval_group"},
		{"anything", nil, ""},
		{"wen", []string{"when", "we"}, "when"},
	}
	for _, tt := range tests {
		if got := policylang.Suggest(tt.name, tt.candidates); got != tt.want {
			t.Errorf("Suggest(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestSuggestTime looks for a name that is as long as a file.
func TestSuggestTime(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	if got := policylang.Suggest(long, []string{"allow", long[:1<<19]}); got != "" {
		t.Errorf("suggests %.20q", got)
	}
}
