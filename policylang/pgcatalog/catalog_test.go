package pgcatalog_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

func smallCatalog() *pgcatalog.Catalog {
	b := pgcatalog.NewBuilder("db", 150000)
	b.AddSchema(2200, "public")
	b.AddSchema(1, "app")
	b.AddRelation(pgcatalog.Relation{
		OID: 10, Schema: "public", Name: "t", Kind: pgcatalog.RelationTable, RowType: 100,
		Columns: []pgcatalog.Column{{Name: "c", Number: 5, Type: 25}, {Name: "a", Number: 1, Type: 23}},
	})
	b.AddRelation(pgcatalog.Relation{
		OID: 11, Schema: "app", Name: "t", Kind: pgcatalog.RelationTable, Parents: []uint32{10},
		Constraints: []pgcatalog.Constraint{{Name: "fk", Kind: pgcatalog.ConstraintForeign, Columns: []int16{1}, Foreign: 10, ForeignColumns: []int16{5}}},
	})
	b.AddRelation(pgcatalog.Relation{OID: 12, Schema: "pg_temp_3", Name: "t", Kind: pgcatalog.RelationTable, Temporary: true})
	b.AddType(pgcatalog.Type{OID: 25, Schema: "pg_catalog", Name: "text", Kind: pgcatalog.TypeBase})
	b.AddType(pgcatalog.Type{OID: 200, Schema: "public", Name: "d1", Kind: pgcatalog.TypeDomain, Base: 201})
	b.AddType(pgcatalog.Type{OID: 201, Schema: "public", Name: "d2", Kind: pgcatalog.TypeDomain, Base: 25})
	b.AddType(pgcatalog.Type{OID: 202, Schema: "public", Name: "loop", Kind: pgcatalog.TypeDomain, Base: 202})
	for i, schema := range []string{"public", "app", "pg_temp_3"} {
		b.AddFunction(pgcatalog.Function{OID: uint32(300 + i), Schema: schema, Name: "f"})
		b.AddOperator(pgcatalog.Operator{OID: uint32(400 + i), Schema: schema, Name: "+"})
	}
	b.AddFunction(pgcatalog.Function{OID: 310, Schema: "public", Name: "f", Arguments: []uint32{25}})
	b.AddCast(pgcatalog.Cast{Source: 25, Target: 200})
	b.AddCast(pgcatalog.Cast{Source: 200, Target: 200, Function: 300})
	b.AddExtension(pgcatalog.Extension{Name: "hstore"})
	b.AddExtension(pgcatalog.Extension{Name: "citext"})
	return b.Build(7)
}

func TestCatalogLookups(t *testing.T) {
	c := smallCatalog()
	oid := func(r *pgcatalog.Relation) uint32 {
		if r == nil {
			return 0
		}
		return r.OID
	}
	functions := func(path ...string) (oids []uint32) {
		for _, f := range c.FindFunctions(path, "f") {
			oids = append(oids, f.OID)
		}
		return oids
	}
	operators := func(path ...string) (oids []uint32) {
		for _, o := range c.FindOperators(path, "+") {
			oids = append(oids, o.OID)
		}
		return oids
	}
	tests := []struct {
		name      string
		got, want any
	}{
		{"generation", c.Generation, uint64(7)},
		{"schema", c.HasSchema("app"), true},
		{"no schema", c.HasSchema("nope"), false},
		{"by schema and name", oid(c.RelationNamed("app", "t")), uint32(11)},
		{"first of the path", oid(c.FindRelation([]string{"nope", "app", "public"}, "t")), uint32(11)},
		{"temporary relations count", oid(c.FindRelation([]string{"pg_temp_3", "public"}, "t")), uint32(12)},
		{"not on the path", oid(c.FindRelation([]string{"nope"}, "t")), uint32(0)},
		{"columns are in order", c.Relation(10).Columns[0].Name, "a"},
		{"column by number", c.Relation(10).Column(5).Name, "c"},
		{"dropped column", c.Relation(10).Column(2) == nil, true},
		{"column by name", c.Relation(10).ColumnNamed("c").Number, int16(5)},
		{"column's name", c.ColumnName(pgcatalog.ColumnID{Relation: 10, Column: 5}), "public.t.c"},
		{"no column's name", c.ColumnName(pgcatalog.ColumnID{Relation: 10, Column: 9}), ""},
		{"children come of parents", c.Relation(10).Children, []uint32{11}},
		{"references", c.References(10)[0].Relation.OID, uint32(11)},
		{"type on the path", c.FindType([]string{"pg_catalog"}, "text").OID, uint32(25)},
		{"domain over domain", c.BaseType(200), uint32(25)},
		{"domain over itself", c.BaseType(202), uint32(202)},
		{"unknown type", c.BaseType(999), uint32(999)},
		{"functions of all schemas on the path", functions("app", "public"), []uint32{301, 300, 310}},
		{"no function is temporary", functions("pg_temp_3", "app"), []uint32{301}},
		{"operators", operators("pg_temp_3", "public"), []uint32{400}},
		{"casts from and to", len(slices.Collect(c.CastsOf(200))), 2},
		{"a cast of a type to itself once", len(slices.Collect(c.CastsOf(25))), 1},
		{"extensions are sorted", c.Extensions()[0].Name, "citext"},
		{"number of relations", c.RelationCount(), 3},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestFunctionAccepts(t *testing.T) {
	tests := []struct {
		name   string
		f      pgcatalog.Function
		accept []int
		refuse []int
	}{
		{"none", pgcatalog.Function{}, []int{0}, []int{1}},
		{"two", pgcatalog.Function{Arguments: []uint32{1, 2}}, []int{2}, []int{0, 1, 3}},
		{"a default", pgcatalog.Function{Arguments: []uint32{1, 2}, Defaults: 1}, []int{1, 2}, []int{0, 3}},
		{"variadic", pgcatalog.Function{Arguments: []uint32{1, 2}, Variadic: true}, []int{1, 2, 9}, []int{0}},
	}
	for _, tt := range tests {
		for _, n := range tt.accept {
			if !tt.f.Accepts(n) {
				t.Errorf("%s: %d arguments are not accepted", tt.name, n)
			}
		}
		for _, n := range tt.refuse {
			if tt.f.Accepts(n) {
				t.Errorf("%s: %d arguments are accepted", tt.name, n)
			}
		}
	}
}

// TestCatalogEdit shows that a catalog never changes, whatever is built from
// it.
func TestCatalogEdit(t *testing.T) {
	c := smallCatalog()
	before, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b := c.Edit()
	b.RemoveRelation(11)
	b.AddRelation(pgcatalog.Relation{OID: 13, Schema: "public", Name: "new", Parents: []uint32{12}})
	d := b.Build(8)
	if d.RelationNamed("app", "t") != nil || d.RelationNamed("public", "new") == nil || d.Generation != 8 {
		t.Error("the edit is not in the new catalog")
	}
	if len(d.Relation(10).Children) != 0 || len(d.Relation(12).Children) != 1 || len(d.FindOperators([]string{"app"}, "+")) != 1 {
		t.Error("the new catalog is not linked")
	}
	after, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("the old catalog changed (-before +after):\n%s", diff)
	}
}

func TestCatalogEncoding(t *testing.T) {
	data, err := smallCatalog().Encode()
	if err != nil {
		t.Fatal(err)
	}
	c, err := pgcatalog.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(data), string(again)); diff != "" {
		t.Errorf("a decoded catalog encodes otherwise (-want +got):\n%s", diff)
	}
	if _, err := pgcatalog.Decode([]byte(`{"version":9}`)); err == nil {
		t.Error("a version of the future is read")
	}
}
