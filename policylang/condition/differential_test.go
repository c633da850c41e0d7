package condition

import (
	"slices"
	"testing"
)

// compilePlain compiles to a single program of CEL's.
func compilePlain(t testing.TB, kind Kind, expr string) *Condition {
	t.Helper()
	env := environments()[kind]
	at := newSpans(expr)
	ast, problems := new(Compiler).checked(env, at)
	if ast == nil {
		t.Fatalf("%s: %v", expr, problems)
	}
	c, err := (&builder{env: env, ast: ast, spans: at, plain: true}).condition()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return c
}

func mustCompile(t testing.TB, kind Kind, expr string) *Condition {
	t.Helper()
	c, problems := Compile(kind, expr)
	if c == nil {
		t.Fatalf("%s: %v", expr, problems)
	}
	return c
}

// checkProperties checks what must hold of any condition over any input: it
// gives what CEL gives, keys tell the truth, and so do proofs.
func checkProperties(t testing.TB, seed uint64) {
	t.Helper()
	r := newRandom(seed)
	kind := pick(r, KindRule, KindRule, KindRule, KindIdentity)
	expr := r.bool(kind, r.IntN(5))
	other := r.bool(kind, r.IntN(3))
	c, plain, wide := mustCompile(t, kind, expr), compilePlain(t, kind, expr), mustCompile(t, kind, other)
	proven := c.Implies(wide)
	for range 8 {
		in := r.input()
		got, err := c.Eval(in)
		want, _ := plain.Eval(in)
		if got != want {
			t.Fatalf("%s\ngives %s, CEL gives %s\nsubject %+v\nsession %+v\nfacts %+v\ntoken %v\nnow %v", expr, got, want, in.Subject, in.Session, in.Facts, in.Token, in.Now)
		}
		if (err != nil) != (got == Error) {
			t.Fatalf("%s gives %s with error %v", expr, got, err)
		}
		if got == True && c.Never() {
			t.Fatalf("%s is true, though it was proven that it never is", expr)
		}
		if got != True && c.Always() {
			t.Fatalf("%s is %s, though it was proven that it is always true", expr, got)
		}
		if w, _ := wide.Eval(in); proven && got == True && w != True {
			t.Fatalf("%s does not imply %s", expr, other)
		}
		checkKeys(t, kind, c, in)
	}
	checkSpans(t, kind, expr, c)
}

// checkSpans checks that the text of each conjunct means the conjunct.
func checkSpans(t testing.TB, kind Kind, expr string, c *Condition) {
	t.Helper()
	for _, j := range c.Conjuncts() {
		text := expr[j.Offset : j.Offset+j.Length]
		if j.Negated {
			text = "!(" + text + ")"
		}
		again := mustCompile(t, kind, text).Conjuncts()
		if len(c.Conjuncts()) > 1 && (len(again) != 1 || again[0].ID() != j.ID()) {
			t.Fatalf("%s\nhas the conjunct %s, whose text %q means %s", expr, j.ID(), text, again[0].ID())
		}
	}
}

// checkKeys checks that conjuncts are false, or true, without their keys.
func checkKeys(t testing.TB, kind Kind, c *Condition, in *Input) {
	t.Helper()
	have := SessionKeys(nil, in)
	if kind == KindIdentity {
		have = TokenKeys(nil, in.Token)
	} else {
		have = FactKeys(have, in.Facts)
	}
	lacks := func(keys []Key) bool {
		return keys != nil && !slices.ContainsFunc(keys, func(k Key) bool { return slices.Contains(have, k) })
	}
	for _, j := range c.Conjuncts() {
		v, _ := j.Eval(in)
		switch {
		case lacks(j.Keys()) && kind == KindIdentity && v != False && v != Error,
			lacks(j.Keys()) && kind == KindRule && v == True,
			lacks(j.Keys()) && kind == KindRule && v != False && !Opaque(in.Facts):
			t.Fatalf("%s is %s without any of %v\nfacts %+v", j.ID(), v, j.Keys(), in.Facts)
		case !j.Deps().Has(DependsStatement|DependsToken) && lacks(j.FalseKeys()) && v != True:
			t.Fatalf("%s is %s without any of %v", j.ID(), v, j.FalseKeys())
		}
	}
}

func TestProperties(t *testing.T) {
	for seed := range uint64(1000) {
		checkProperties(t, seed)
	}
}

func FuzzProperties(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkProperties(t, seed) })
}
