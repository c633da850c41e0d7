package condition

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// refilled returns an expression with the contents of some of its plain
// strings replaced.
func (r random) refilled(expr string) string {
	_, strs := skeletonOf(expr)
	var b strings.Builder
	last := 0
	for _, s := range strs {
		content := s.content()
		if r.IntN(3) > 0 {
			content = pick(r, "", "t", "dba", "SELECT", "public.t", "app.*", "2001:db8::/32", "Europe/Paris", "no where", "//x", "a && b", "(", "]", strings.Repeat("long", 9))
		}
		b.WriteString(expr[last:s.offset+1] + content)
		last = s.end() - 1
	}
	return b.String() + expr[last:]
}

// checkRefilled compiles an expression by a compiler that has seen another of
// the same skeleton, and by one that has not: all that can be seen of either is
// alike. It reports whether a template was used.
func checkRefilled(t testing.TB, r random, kind Kind, expr string) bool {
	t.Helper()
	other := r.refilled(expr)
	var warm Compiler
	warm.Compile(kind, expr)
	skeleton, _ := skeletonOf(other)
	used := warm.template(templateKey{kind, skeleton}) != nil
	got, gotProblems := warm.Compile(kind, other)
	want, wantProblems := Compile(kind, other)
	if diff := cmp.Diff(wantProblems, gotProblems); diff != "" {
		t.Fatalf("%s\nproblems after %s (-alone +after):\n%s", other, expr, diff)
	}
	if (got == nil) != (want == nil) {
		t.Fatalf("%s: compiled %t alone, %t after %s", other, want != nil, got != nil, expr)
	}
	if got == nil {
		return used
	}
	for i, j := range want.Conjuncts() {
		k := got.Conjuncts()[i]
		if j.ID() != k.ID() || j.Deps() != k.Deps() || j.Offset != k.Offset || j.Length != k.Length || j.Negated != k.Negated {
			t.Fatalf("%s\nconjunct alone: %+v\nafter %s: %+v", other, j, expr, k)
		}
		if diff := cmp.Diff(j.Keys(), k.Keys(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s\nkeys after %s (-alone +after):\n%s", other, expr, diff)
		}
	}
	for range 4 {
		in := r.input()
		v, err := want.Eval(in)
		w, err2 := got.Eval(in)
		if v != w || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Fatalf("%s\ngives %s, %v alone and %s, %v after %s", other, v, err, w, err2, expr)
		}
	}
	return used
}

func TestCompilerTemplates(t *testing.T) {
	used := 0
	for seed := range uint64(600) {
		r := newRandom(seed)
		kind := pick(r, KindRule, KindRule, KindIdentity)
		if checkRefilled(t, r, kind, r.bool(kind, r.IntN(4))) {
			used++
		}
	}
	if used < 300 {
		t.Errorf("a template was used for %d of 600 expressions", used)
	}
}

// TestSkeletons compiles pairs of which the second must not be taken for the
// first with other strings, and pairs that may.
func TestSkeletons(t *testing.T) {
	tests := []struct {
		name, first, second string
		same                bool
	}{
		{"contents", `identity.name == "a"`, `identity.name == "bcd"`, true},
		{"no contents", `identity.name == "a"`, `identity.name == ""`, true},
		{"other quotes", `identity.name == "a"`, `identity.name == 'a'`, false},
		{"escape", `identity.name == "a"`, `identity.name == "\u0061"`, false},
		{"raw", `identity.name == "a"`, `identity.name == r"a"`, false},
		{"bytes", `identity.name == "a"`, `identity.name == b"a"`, false},
		{"triple", `identity.name == "a"`, `identity.name == """a"""`, false},
		{"beyond ASCII", `identity.name == "a"`, `identity.name == "ä"`, false},
		{"quote inside", `identity.name == "a"`, `identity.name == "'"`, false},
		{"comment", "identity.name == \"a\" // \"b\"", "identity.name == \"c\" // \"b\"", true},
		{"other comment", "identity.name == \"a\" // \"b\"", "identity.name == \"a\" // \"c\"", false},
		{"map key", `token["a"] == "b"`, `token["c"] == "d"`, true},
		{"loop", `statement.commands.exists(c, c == "a")`, `statement.commands.exists(c, c == "DROP TABLE")`, true},
		{"number", `statement.limit == 1`, `statement.limit == 2`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kind := KindRule
			if strings.HasPrefix(tt.first, "token") {
				kind = KindIdentity
			}
			var c Compiler
			c.Compile(kind, tt.first)
			skeleton, strs := skeletonOf(tt.second)
			if got := strs != nil && c.template(templateKey{kind, skeleton}) != nil; got != tt.same {
				t.Errorf("taken for the same skeleton: %t, want %t", got, tt.same)
			}
			got, _ := c.Compile(kind, tt.second)
			want, _ := Compile(kind, tt.second)
			if (got == nil) != (want == nil) || got != nil && got.Conjuncts()[0].ID() != want.Conjuncts()[0].ID() {
				t.Errorf("compiled otherwise than alone")
			}
		})
	}
}

// TestTemplateCosts fills templates with strings that cost more than what they
// were made of.
func TestTemplateCosts(t *testing.T) {
	for _, tt := range []struct{ first, second string }{
		{`statement.text.contains("")`, `statement.text.contains("` + strings.Repeat("a", 4000) + `")`},
		{`statement.text.contains("a")`, `statement.text.contains("` + strings.Repeat("a", 4000) + `")`},
		{`statement.text.matches("a")`, `statement.text.matches("` + strings.Repeat("a", 4000) + `")`},
		{`statement.text.matches("a")`, `statement.text.matches("` + strings.Repeat("a", 40) + `")`},
		{`statement.columns.exists(c, c.contains("a"))`, `statement.columns.exists(c, c.contains("` + strings.Repeat("a", 7000) + `"))`},
	} {
		var c Compiler
		if first, problems := c.Compile(KindRule, tt.first); first == nil {
			t.Fatal(problems)
		}
		_, got := c.Compile(KindRule, tt.second)
		_, want := Compile(KindRule, tt.second)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%.60s (-alone +after)\n%s", tt.second, diff)
		}
	}
}

// FuzzTemplates fills templates of any text.
func FuzzTemplates(f *testing.F) {
	f.Add(`identity.name == "a" && statement.commands.exists(c, c == 'b')`, uint64(1))
	f.Add(`token.sub in ["a", "b"] || has(token.x) && token["y"] == "z"`, uint64(2))
	f.Fuzz(func(t *testing.T, expr string, seed uint64) {
		r := newRandom(seed)
		checkRefilled(t, r, pick(r, KindRule, KindIdentity, KindMask), expr)
	})
}
