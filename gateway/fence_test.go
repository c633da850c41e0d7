package gateway

import (
	"testing"

	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// TestFence holds what a server announces against what was foreseen.
func TestFence(t *testing.T) {
	const table, rowType, rowArray = 20_000, 20_001, 20_002
	const int4, text, record = 23, 25, 2249
	b := pgcatalog.NewBuilder("app", 150000)
	b.AddSchema(2200, "public")
	b.AddRelation(pgcatalog.Relation{OID: table, Schema: "public", Name: "customers", Kind: pgcatalog.RelationTable, RowType: rowType, Columns: []pgcatalog.Column{
		{Name: "id", Number: 1, Type: int4}, {Name: "email", Number: 2, Type: text},
	}})
	b.AddType(pgcatalog.Type{OID: rowType, Schema: "public", Name: "customers", Kind: pgcatalog.TypeComposite, Relation: table, Array: rowArray})
	b.AddType(pgcatalog.Type{OID: rowArray, Schema: "public", Name: "_customers", Kind: pgcatalog.TypeBase, Element: rowType})
	masks := policylang.NewMaskSet([]policylang.Mask{{Policy: "pii", Columns: []string{"public.customers.email"}, Transform: policylang.Transform{Kind: policylang.TransformRedact}}})
	prot := lineage.Protect(b.Build(1), masks)

	pass := func(typ uint32) lineage.Output { return lineage.Output{Action: lineage.Pass, TypeOID: typ} }
	redacted := lineage.Output{Action: lineage.Redact, TypeOID: text}
	tests := []struct {
		name     string
		foreseen []lineage.Output
		came     []relay.Field
		breach   bool
	}{
		{"as foreseen", []lineage.Output{pass(int4), redacted}, []relay.Field{{TypeOID: int4, TableOID: table, Attnum: 1}, {TypeOID: text, TableOID: table, Attnum: 2}}, false},
		{"a column more", []lineage.Output{pass(int4)}, []relay.Field{{TypeOID: int4}, {TypeOID: text}}, true},
		{"a column less", []lineage.Output{pass(int4), redacted}, []relay.Field{{TypeOID: int4}}, true},
		{"the masked column in another's place", []lineage.Output{pass(text)}, []relay.Field{{TypeOID: text, TableOID: table, Attnum: 2}}, true},
		{"another type", []lineage.Output{pass(int4)}, []relay.Field{{TypeOID: text}}, true},
		{"a literal's type", []lineage.Output{pass(text)}, []relay.Field{{TypeOID: int4}}, false},
		{"an unforeseen type", []lineage.Output{pass(0)}, []relay.Field{{TypeOID: int4}}, false},
		{"a row", []lineage.Output{pass(0)}, []relay.Field{{TypeOID: rowType}}, true},
		{"an array of rows", []lineage.Output{pass(0)}, []relay.Field{{TypeOID: rowArray}}, true},
		{"a record", []lineage.Output{pass(0)}, []relay.Field{{TypeOID: record}}, true},
		{"a record that was foreseen", []lineage.Output{pass(record)}, []relay.Field{{TypeOID: record}}, false},
		{"a row that is masked", []lineage.Output{{Action: lineage.Redact, TypeOID: rowType}}, []relay.Field{{TypeOID: rowType}}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := &guard{session: &session{server: &Server{cfg: Config{Name: "g"}}}}
			x := &execution{masked: true, statements: []considered{{guarding: prot, analysis: &lineage.Analysis{Rows: true, Columns: test.foreseen}}}}
			_, r := g.Columns(&relay.Permit{Data: x}, 0, test.came)
			if got := r != nil; got != test.breach {
				t.Errorf("breach = %t (%v), want %t", got, r, test.breach)
			}
			if r != nil && r.Code != refusal.MaskBreach {
				t.Errorf("code = %s", r.Code)
			}
		})
	}
}
