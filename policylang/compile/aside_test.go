package compile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang/compile"
)

// TestAside: who compiles beside something more urgent gets the same program,
// and is asked to yield often.
func TestAside(t *testing.T) {
	p := mixedPolicy(500)
	want := mustCompile(t, p, "orders")
	yields := 0
	got, problems := compile.Aside(p, "orders", want.Digest(), func() { yields++ })
	if got == nil {
		t.Fatal(problems)
	}
	_, wantProblems := compile.Compile(p, "orders")
	if diff := cmp.Diff(wantProblems, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if got.Digest() != want.Digest() {
		t.Errorf("digest %s, want %s", got.Digest(), want.Digest())
	}
	if yields < 4*len(p.QueryRules) {
		t.Errorf("it yields %d times for %d rules", yields, len(p.QueryRules))
	}
	a, b := want.Evaluator(engineer(), testSession()), got.Evaluator(engineer(), testSession())
	if diff := cmp.Diff(a.Decide(pgbenchSelect(), noon), b.Decide(pgbenchSelect(), noon)); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
	bad := p
	bad.QueryRules[7].When = "statement.nothing"
	if got, problems := compile.Aside(bad, "orders", "", func() {}); got != nil || len(problems) == 0 {
		t.Errorf("a policy that is wrong compiles: %v", problems)
	}
}
