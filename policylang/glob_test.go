package policylang_test

import (
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang"
)

func TestGlobMatch(t *testing.T) {
	tests := []struct {
		pattern string
		name    string // parts separated by |
		known   bool   // matches, as a rule that grants sees it
		unknown bool   // matches, as a rule that refuses sees it
	}{
		{"public.customers.email", "public|customers|email", true, true},
		{"public.customers.email", "public|customers|emails", false, false},
		{"public.customers.email", "Public|customers|email", false, false},
		{"public.*.email", "public|customers|email", true, true},
		{"*.*.ssn", "a|b|ssn", true, true},
		{"ssn", "a|b|ssn", true, true},
		{"customers.email", "a|customers|email", true, true},
		{"*.*.*", "a|b|c", true, true},
		{"app_*.t*_log.c", "app_1|t_x_log|c", true, true},
		{"app_*.t*_log.c", "app|t_x_log|c", false, false},
		{"a*a.b.c", "a|b|c", false, false},
		{"a*a.b.c", "aa|b|c", true, true},
		{"*a*b*.x.y", "zzazzbzz|x|y", true, true},
		{"*a*b*.x.y", "zzbzzazz|x|y", false, false},
		{"**.x.y", "anything|x|y", true, true},

		// A part that is not known.
		{"public.customers.email", "|customers|email", false, true},
		{"public.customers.email", "|orders|email", false, false},
		{"*.customers.email", "|customers|email", true, true},
		{"**.customers.email", "|customers|email", true, true},
		{"p*.customers.email", "|customers|email", false, true},
		{"\"*\".customers.email", "|customers|email", false, true},
		{"a.b.c", "||", false, true},

		// Quoted parts.
		{`public."Odd.Name".x`, "public|Odd.Name|x", true, true},
		{`public."a*".x`, "public|a*|x", true, true},
		{`public."a*".x`, "public|ab|x", false, false},
		{`public."say ""hi""".x`, `public|say "hi"|x`, true, true},

		// Another number of parts never matches.
		{"*.*.*", "a|b", false, false},
		{"*.*.*", "a|b|c|d", false, false},
	}
	for _, tt := range tests {
		g, err := policylang.ParseGlob(tt.pattern, 3)
		if err != nil {
			t.Errorf("%q: %v", tt.pattern, err)
			continue
		}
		parts := strings.Split(tt.name, "|")
		if got := g.Match(false, parts...); got != tt.known {
			t.Errorf("%q matches %q: %t, want %t", tt.pattern, tt.name, got, tt.known)
		}
		if got := g.Match(true, parts...); got != tt.unknown {
			t.Errorf("%q may match %q: %t, want %t", tt.pattern, tt.name, got, tt.unknown)
		}
	}
}

func TestGlobLiteral(t *testing.T) {
	g, err := policylang.ParseGlob(`public."a*"`, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "public", "a*", ""} {
		if got, ok := g.Literal(i); got != want || ok != (want != "") {
			t.Errorf("Literal(%d) = %q, %t, want %q", i, got, ok, want)
		}
	}
	if _, ok := g.Literal(-1); ok {
		t.Error("Literal(-1) is one name")
	}
}

func TestParseGlobErrors(t *testing.T) {
	tests := []struct{ pattern, want string }{
		{"", "a part is empty"},
		{".", "a part is empty"},
		{"a.", "a part is empty"},
		{".a", "a part is empty"},
		{"a..b", "a part is empty"},
		{`""`, "a part is empty"},
		{`a.""`, "a part is empty"},
		{`"a`, "a quote is not closed"},
		{`"a""`, "a quote is not closed"},
		{`"`, "a quote is not closed"},
		{`"a"b`, "a dot must follow the closing quote"},
		{`a"b"`, "a quote must enclose the whole part"},
		{"a.b.c.d", "4 parts, at most 3"},
	}
	for _, tt := range tests {
		if _, err := policylang.ParseGlob(tt.pattern, 3); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseGlob(%q): %v, want %q", tt.pattern, err, tt.want)
		}
	}
}

// TestGlobTime matches what is slow for a matcher that goes back.
func TestGlobTime(t *testing.T) {
	g, err := policylang.ParseGlob(strings.Repeat("a*", 1000)+"b", 1)
	if err != nil {
		t.Fatal(err)
	}
	if g.Match(false, strings.Repeat("a", 100_000)) {
		t.Error("matches")
	}
}

// FuzzParseGlob checks a glob against a slow and plain matcher, and that a
// name in quotes matches itself and nothing else.
func FuzzParseGlob(f *testing.F) {
	for _, pattern := range []string{"public.*.email", "*.*.ssn", `a."b.*""c".d`, "a*b*c", `"`, "..", "**"} {
		f.Add(pattern, "public", "customers", "email")
	}
	f.Fuzz(func(t *testing.T, pattern, a, b, c string) {
		g, err := policylang.ParseGlob(pattern, 3)
		if err == nil {
			known, unknown := g.Match(false, a, b, c), g.Match(true, a, b, c)
			if known && !unknown {
				t.Errorf("%q matches %q %q %q for a rule that grants but not for one that refuses", pattern, a, b, c)
			}
			if !strings.Contains(pattern, `"`) && a != "" && b != "" && c != "" {
				if want := plainMatch(pattern, a, b, c); known != want {
					t.Errorf("%q matches %q %q %q: %t, want %t", pattern, a, b, c, known, want)
				}
			}
		}
		if a == "" || b == "" {
			return
		}
		exact, err := policylang.ParseGlob(quoted(a)+"."+quoted(b), 2)
		if err != nil {
			t.Fatalf("names in quotes: %v", err)
		}
		if !exact.Match(false, a, b) {
			t.Errorf("%q in quotes does not match itself", a+"."+b)
		}
		if c != "" && c != a && exact.Match(false, c, b) {
			t.Errorf("%q in quotes matches %q", a, c)
		}
	})
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// plainMatch matches a pattern without quotes.
func plainMatch(pattern string, names ...string) bool {
	parts := strings.Split(pattern, ".")
	for len(parts) < len(names) {
		parts = append([]string{"*"}, parts...)
	}
	for i, part := range parts {
		if !starsMatch(part, names[i]) {
			return false
		}
	}
	return true
}

// starsMatch goes back, in a table.
func starsMatch(pattern, s string) bool {
	reachable := make([]bool, len(s)+1)
	reachable[0] = true
	for i := range len(pattern) {
		next := make([]bool, len(s)+1)
		for j := range reachable {
			switch {
			case pattern[i] == '*':
				next[j] = reachable[j] || j > 0 && next[j-1]
			case j > 0:
				next[j] = reachable[j-1] && s[j-1] == pattern[i]
			}
		}
		reachable = next
	}
	return reachable[len(s)]
}
