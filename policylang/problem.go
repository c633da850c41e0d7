package policylang

import (
	"fmt"
	"slices"
	"strings"
)

// Severity says whether a problem stops a policy from being used.
type Severity int

// The severities. The zero Severity is SeverityError.
const (
	SeverityError Severity = iota
	SeverityWarning
)

// Path points into the model. The zero Path is the policy as a whole.
type Path struct {
	Kind   Kind   // of the object
	Name   string // of the object
	Attr   string // "when", "upstream.host", "columns[1]", "issuer.corp.url"; empty is the object itself
	Offset int    // bytes into the attribute's string value, for expressions
	Length int    // bytes that the problem covers from Offset; 0 when unknown
}

// String returns the path as in `query_rule.no_drop.when`.
func (p Path) String() string {
	if p.Kind == "" {
		return "policy"
	}
	s := string(p.Kind) + "." + p.Name
	if p.Attr != "" {
		s += "." + p.Attr
	}
	return s
}

// Problem is something a person who writes policy must mend (or, as a
// warning, should look at). It never holds a secret.
type Problem struct {
	Severity   Severity
	Path       Path
	Summary    string // one line, no final period
	Advice     string // what to do about it; complete sentences; may be empty
	Suggestion string // a name that was perhaps meant; may be empty

	// The position in the front door's own terms, filled in by it: a file's
	// name, and line and column counted from 1 (columns in characters). Line 0
	// means no position is known.
	File      string
	Line, Col int
	EndLine   int
	EndCol    int
}

// Error formats the problem on one line, with its position if one is known.
func (p Problem) Error() string {
	var b strings.Builder
	switch {
	case p.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Col)
	case p.File != "":
		fmt.Fprintf(&b, "%s: ", p.File)
	default:
		fmt.Fprintf(&b, "%s: ", p.Path)
	}
	if p.Severity == SeverityWarning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Summary)
	if p.Suggestion != "" {
		fmt.Fprintf(&b, "; did you mean %q?", p.Suggestion)
	}
	if p.Advice != "" {
		b.WriteString(" (")
		b.WriteString(strings.TrimSuffix(p.Advice, "."))
		b.WriteString(")")
	}
	return b.String()
}

// HasErrors reports whether any problem is an error rather than a warning.
func HasErrors(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity == SeverityError })
}

// maxSuggested bounds the names that [Suggest] compares, in bytes.
const maxSuggested = 128

// Suggest returns the candidate nearest to name by edit distance, or "" if
// none is near enough to be what was meant.
func Suggest(name string, candidates []string) string {
	if name == "" || len(name) > maxSuggested {
		return ""
	}
	best, bestDistance := "", 1+max(1, len(name)/3)
	for _, c := range candidates {
		if len(c)-len(name) >= bestDistance || len(name)-len(c) >= bestDistance {
			continue // at least as many edits as characters too many
		}
		if d := editDistance(strings.ToLower(name), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// editDistance is the Damerau-Levenshtein distance with adjacent swaps.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
