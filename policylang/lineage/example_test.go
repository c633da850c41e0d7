package lineage_test

import (
	"fmt"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// A catalog and a session's masks say what a statement's outputs may show, and
// which statements may not run at all.
func Example() {
	b := pgcatalog.NewBuilder("orders", 180000)
	b.AddSchema(11, "pg_catalog")
	b.AddSchema(2200, "public")
	b.AddType(pgcatalog.Type{OID: 16, Schema: "pg_catalog", Name: "bool", Kind: pgcatalog.TypeBase})
	b.AddType(pgcatalog.Type{OID: 25, Schema: "pg_catalog", Name: "text", Kind: pgcatalog.TypeBase})
	b.AddFunction(pgcatalog.Function{OID: 67, Schema: "pg_catalog", Name: "texteq", Kind: pgcatalog.FunctionPlain, Volatility: pgcatalog.Immutable, Leakproof: true, Language: "internal", Result: 16, Arguments: []uint32{25, 25}})
	b.AddOperator(pgcatalog.Operator{OID: 98, Schema: "pg_catalog", Name: "=", Left: 25, Right: 25, Result: 16, Function: 67})
	b.AddRelation(pgcatalog.Relation{
		OID: 20000, Schema: "public", Name: "customers", Kind: pgcatalog.RelationTable,
		Columns: []pgcatalog.Column{
			{Number: 1, Name: "name", Type: 25, Collation: pgcatalog.CollationDefault},
			{Number: 2, Name: "email", Type: 25, Collation: pgcatalog.CollationDefault},
		},
	})
	catalog := b.Build(1)
	protection := lineage.Protect(catalog, policylang.NewMaskSet([]policylang.Mask{{
		Policy: "customer_pii", Columns: []string{"public.customers.email"}, Transform: policylang.Transform{Kind: policylang.TransformPartial},
	}}))
	environment := lineage.Environment{SearchPath: []string{"pg_catalog", "public"}, Database: "orders"}

	for _, sql := range []string{
		"SELECT name, email FROM customers",
		"SELECT c.contact FROM (SELECT email AS contact FROM customers) c",
		"SELECT name FROM customers WHERE email = 'ana@example.com'",
	} {
		tree, err := statement.Parse(sql, statement.Limits{})
		if err != nil {
			panic(err)
		}
		analysis, refusal := lineage.Analyze(&tree.Statements[0], environment, catalog, protection)
		if refusal != nil {
			fmt.Println("refused:", refusal.Code)
			continue
		}
		for _, c := range analysis.Columns {
			fmt.Println(c.Name, c.Action, c.Policies)
		}
	}
	// Output:
	// name pass []
	// email mask [customer_pii]
	// contact mask [customer_pii]
	// refused: masked_in_predicate
}
