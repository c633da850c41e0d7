package lineage_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// TestEnumerations holds the numbers that the rules go by against the parser's
// own names for them.
func TestEnumerations(t *testing.T) {
	names := map[string]int32{}
	enums := (&ast.Node{}).ProtoReflect().Descriptor().ParentFile().Enums()
	for i := range enums.Len() {
		values := enums.Get(i).Values()
		for j := range values.Len() {
			names[string(values.Get(j).Name())] = int32(values.Get(j).Number())
		}
	}
	for name, number := range lineage.Enumerations {
		if got, ok := names[name]; !ok || got != number {
			t.Errorf("%s is %d here and %d in the parser (known: %v)", name, number, got, ok)
		}
	}
}

// TestNodeKinds puts an empty node of every kind of the grammar in the place of
// a statement, an expression and a FROM item, and compares which are let pass
// with testdata/nodes.txt: a kind that gains a rule is listed there by a person,
// and every other is refused.
func TestNodeKinds(t *testing.T) {
	cat := baseline(t)
	prot := lineage.Protect(schema(t, cat, "CREATE TABLE t (a int);"), masks(t, "p redact public.t.a"))
	env := lineage.Environment{SearchPath: []string{"pg_catalog", "public"}, Database: cat.Database}
	places := []struct {
		name   string
		follow func(*ast.Node, lineage.Environment, *pgcatalog.Catalog, *lineage.Protection) *lineage.Refusal
	}{
		{"statement", lineage.AnalyzeNode},
		{"expression", lineage.AnalyzeExpression},
		{"from", lineage.AnalyzeFrom},
	}
	var got []string
	for _, node := range everyKind(t) {
		for _, place := range places {
			if refusal := place.follow(node, env, cat, prot); refusal == nil {
				got = append(got, place.name+" "+kindOf(node))
			}
		}
	}
	slices.Sort(got)
	const file = "testdata/nodes.txt"
	text := strings.Join(got, "\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("kinds that pass when empty differ (-want +got):\n%s", diff)
	}
}

// everyKind returns an empty node of each kind.
func everyKind(t *testing.T) []*ast.Node {
	t.Helper()
	fields := (&ast.Node{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields()
	if fields.Len() < 250 {
		t.Fatalf("only %d kinds of nodes", fields.Len())
	}
	out := make([]*ast.Node, fields.Len())
	for i := range fields.Len() {
		n := &ast.Node{}
		m := n.ProtoReflect()
		m.Set(fields.Get(i), protoreflect.ValueOfMessage(m.NewField(fields.Get(i)).Message()))
		out[i] = n
	}
	return out
}

func kindOf(n *ast.Node) string {
	m := n.ProtoReflect()
	return string(m.WhichOneof(m.Descriptor().Oneofs().Get(0)).Message().Name())
}
