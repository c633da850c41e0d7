package lineage_test

import (
	"testing"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// TestPartitionKey shows that which partition a row is in is as secret as the
// partition key.
func TestPartitionKey(t *testing.T) {
	plain := schema(t, baseline(t), `
		CREATE TABLE people (id int, country text, born date) PARTITION BY LIST (country);
		CREATE TABLE people_ch PARTITION OF people FOR VALUES IN ('CH');`)
	keyed := func(key ...int16) *pgcatalog.Catalog {
		b := plain.Edit()
		r := *plain.RelationNamed("public", "people")
		r.PartitionKey = key
		b.AddRelation(r)
		return b.Build(1)
	}
	tests := []struct {
		name, sql string
		cat       *pgcatalog.Catalog
		code      string
		action    lineage.Action // of the first column
	}{
		{"parent", "SELECT id FROM people", keyed(2), "", lineage.Pass},
		{"partition", "SELECT id FROM people_ch", keyed(2), lineage.CodePredicate, 0},
		{"partition by an expression", "SELECT id FROM people_ch", keyed(0), lineage.CodePredicate, 0},
		{"partition by something else", "SELECT id FROM people_ch", keyed(3), "", lineage.Pass},
		{"tableoid", "SELECT tableoid FROM people", keyed(2), "", lineage.Redact},
		{"qualified tableoid", "SELECT p.tableoid FROM people p", keyed(2), "", lineage.Redact},
		{"tableoid in a condition", "SELECT id FROM people WHERE tableoid = 1", keyed(2), lineage.CodePredicate, 0},
		{"tableoid by something else", "SELECT tableoid FROM people", keyed(3), "", lineage.Pass},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			prot := lineage.Protect(tt.cat, masks(t, "pii redact public.people.country"))
			tree, err := statement.Parse(tt.sql, statement.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			env := lineage.Environment{SearchPath: []string{"pg_catalog", "public"}, Database: tt.cat.Database}
			analysis, refusal := lineage.Analyze(&tree.Statements[0], env, tt.cat, prot)
			switch {
			case refusal != nil && refusal.Code != tt.code:
				t.Errorf("refused: %s: %s", refusal.Code, refusal.Message)
			case refusal == nil && tt.code != "":
				t.Errorf("not refused")
			case refusal == nil && analysis.Columns[0].Action != tt.action:
				t.Errorf("action %s, want %s", analysis.Columns[0].Action, tt.action)
			}
		})
	}
}

// TestProtect covers what no statement shows.
func TestProtect(t *testing.T) {
	cat := schema(t, baseline(t), `
		CREATE TABLE customers (id int, email text, name text);
		CREATE VIEW v AS SELECT email AS mail, lower(email) AS low, name FROM customers;`)
	prot := lineage.Protect(cat, masks(t, "pii partial keep_last=4 public.customers.email"))
	customers, v := cat.RelationNamed("public", "customers"), cat.RelationNamed("public", "v")
	tests := []struct {
		name   string
		rel    uint32
		column int16
		kind   policylang.TransformKind // empty: not protected
	}{
		{"column", customers.OID, 2, policylang.TransformPartial},
		{"other column", customers.OID, 3, ""},
		{"whole row", customers.OID, 0, policylang.TransformRedact},
		{"view's column", v.OID, 1, policylang.TransformPartial},
		{"view's computed column", v.OID, 2, policylang.TransformRedact},
		{"view's other column", v.OID, 3, ""},
		{"system column", customers.OID, -1, ""},
		{"no relation", 1, 1, ""},
	}
	for _, tt := range tests {
		transform, ok := prot.Transform(tt.rel, tt.column)
		if transform.Kind != tt.kind || ok != (tt.kind != "") {
			t.Errorf("%s: %q, %v; want %q", tt.name, transform.Kind, ok, tt.kind)
		}
	}
	empty := []struct {
		name string
		prot *lineage.Protection
	}{
		{"no masks", lineage.Protect(cat, nil)},
		{"a mask of nothing here", lineage.Protect(cat, masks(t, "pii redact public.nowhere.email"))},
		{"a mask that observes", lineage.Protect(cat, policylang.NewMaskSet([]policylang.Mask{{Columns: []string{"*.*.*"}, Observe: true}}))},
	}
	for _, tt := range empty {
		if _, ok := tt.prot.Transform(customers.OID, 2); ok || !tt.prot.Empty() {
			t.Errorf("%s: something is protected", tt.name)
		}
	}
	if prot.Empty() || len(prot.Columns()) != 1 {
		t.Errorf("protected columns %v", prot.Columns())
	}
}

// TestNext shows that a column stays protected when it is renamed, and that
// what has its name then is protected, too.
func TestNext(t *testing.T) {
	before := schema(t, baseline(t), "CREATE TABLE customers (id int, email text, notes text);")
	set := masks(t, "pii redact public.customers.email")
	customers := before.RelationNamed("public", "customers")
	renamed := *customers
	renamed.Columns = []pgcatalog.Column{
		{Name: "id", Number: 1, Type: 23}, {Name: "notes", Number: 2, Type: 25}, {Name: "email", Number: 3, Type: 25},
	}
	b := before.Edit()
	b.AddRelation(renamed)
	after := b.Build(2)

	first := lineage.Protect(before, set)
	if len(first.Drifted()) != 0 {
		t.Errorf("drifted at first: %v", first.Drifted())
	}
	next := first.Next(after, set)
	if got := next.Columns(); len(got) != 2 {
		t.Errorf("protected: %v, want the old and the new column", got)
	}
	if got := next.Drifted(); len(got) != 1 || got[0].Column != 2 {
		t.Errorf("drifted: %v, want the old column", got)
	}
	if got := next.Next(after, set).Drifted(); len(got) != 1 {
		t.Errorf("drifted after another snapshot: %v", got)
	}
	gone := after.Edit()
	gone.RemoveRelation(customers.OID)
	if last := next.Next(gone.Build(3), set); !last.Empty() || len(last.Drifted()) != 0 {
		t.Errorf("protected though the table is gone: %v", last.Columns())
	}
}
