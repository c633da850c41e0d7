package scenario

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// strings returns the parts of a name that a node list holds.
func nameParts(nodes []*ast.Node) []string {
	var parts []string
	for _, n := range nodes {
		if s, ok := ast.Unwrap(n).(*ast.String); ok {
			parts = append(parts, s.GetSval())
		}
	}
	return parts
}

// newName returns the schema and name of an object that is created.
func (r *schemaReader) newName(schema, name string) (string, string) {
	if schema != "" {
		r.needSchema(schema)
		return schema, name
	}
	if len(r.path) == 0 {
		r.problem(-1, "no schema has been selected to create %q in", name)
		return "public", name
	}
	r.needSchema(r.path[0])
	return r.path[0], name
}

func (r *schemaReader) needSchema(schema string) {
	if !r.schemas[schema] && !r.base.HasSchema(schema) {
		r.problem(-1, "there is no schema %q", schema)
		r.schemas[schema] = true // told once
	}
}

func (r *schemaReader) splitName(parts []string) (schema, name string) {
	switch len(parts) {
	case 0:
		return "", ""
	case 1:
		return "", parts[0]
	}
	return parts[len(parts)-2], parts[len(parts)-1]
}

// lookupPath is where a name without a schema is looked for.
func (r *schemaReader) lookupPath() []string { return append([]string{"pg_catalog"}, r.path...) }

// relation finds a relation, or reports that there is none.
func (r *schemaReader) relation(v *ast.RangeVar) *pgcatalog.Relation {
	if rel := r.findRelation(v.GetSchemaname(), v.GetRelname()); rel != nil {
		return rel
	}
	r.problem(v.GetLocation(), "there is no relation %q", dotted(v.GetSchemaname(), v.GetRelname()))
	return nil
}

func (r *schemaReader) findRelation(schema, name string) *pgcatalog.Relation {
	schemas := []string{schema}
	if schema == "" {
		schemas = r.lookupPath()
	}
	for _, s := range schemas {
		for _, rel := range r.relations {
			if rel.Schema == s && rel.Name == name {
				return rel
			}
		}
		if rel := r.base.RelationNamed(s, name); rel != nil {
			return rel
		}
	}
	return nil
}

func (r *schemaReader) findType(schema, name string) *pgcatalog.Type {
	schemas := []string{schema}
	if schema == "" {
		schemas = r.lookupPath()
	}
	for _, s := range schemas {
		for _, t := range r.types {
			if t.Schema == s && t.Name == name {
				return t
			}
		}
		if t := r.base.TypeNamed(s, name); t != nil {
			return t
		}
	}
	return nil
}

func (r *schemaReader) typeByOID(oid uint32) *pgcatalog.Type {
	for _, t := range r.types {
		if t.OID == oid {
			return t
		}
	}
	return r.base.Type(oid)
}

// findFunction returns a function of that name with that many arguments.
func (r *schemaReader) findFunction(schema, name string) *pgcatalog.Function {
	schemas := []string{schema}
	if schema == "" {
		schemas = r.lookupPath()
	}
	for _, s := range schemas {
		i := slices.IndexFunc(r.functions, func(f *pgcatalog.Function) bool { return f.Schema == s && f.Name == name })
		if i >= 0 {
			return r.functions[i]
		}
		if found := r.base.FunctionsNamed(s, name); len(found) > 0 {
			return found[0]
		}
	}
	return nil
}

func dotted(schema, name string) string {
	if schema == "" {
		return name
	}
	return schema + "." + name
}

// typeOf resolves a type's name to its OID and modifier.
func (r *schemaReader) typeOf(n *ast.TypeName) (oid uint32, modifier int32) {
	parts := nameParts(n.GetNames())
	if n.GetPctType() {
		return r.columnType(n, parts), -1
	}
	schema, name := r.splitName(parts)
	t := r.findType(schema, name)
	if t == nil {
		r.problem(n.GetLocation(), "there is no type %q", dotted(schema, name))
		return 0, -1
	}
	modifier = typeModifier(t.Name, n.GetTypmods())
	if len(n.GetArrayBounds()) == 0 {
		return t.OID, modifier
	}
	if t.Array == 0 {
		r.problem(n.GetLocation(), "there is no array of type %q", dotted(schema, name))
	}
	return t.Array, modifier
}

// columnType resolves table.column%TYPE.
func (r *schemaReader) columnType(n *ast.TypeName, parts []string) uint32 {
	if len(parts) >= 2 {
		schema, table := r.splitName(parts[:len(parts)-1])
		if rel := r.findRelation(schema, table); rel != nil {
			if c := rel.ColumnNamed(parts[len(parts)-1]); c != nil {
				return c.Type
			}
		}
	}
	r.problem(n.GetLocation(), "there is no column %q", strings.Join(parts, "."))
	return 0
}

// typeModifier is a type's atttypmod.
func typeModifier(name string, mods []*ast.Node) int32 {
	var values []int32
	for _, m := range mods {
		if c, ok := ast.Unwrap(m).(*ast.A_Const); ok {
			values = append(values, c.GetIval().GetIval())
		}
	}
	const header = 4 // VARHDRSZ
	switch {
	case len(values) == 0:
		return -1
	case name == "varchar" || name == "bpchar":
		return values[0] + header
	case name == "numeric" && len(values) == 1:
		return values[0]<<16 + header
	case name == "numeric":
		return values[0]<<16 | values[1]&0x7ff + header
	case name == "bit" || name == "varbit" || strings.HasPrefix(name, "time"):
		return values[0]
	}
	return -1
}

// serverFunction is the OID of a function of the server's own.
func (r *schemaReader) serverFunction(name string) uint32 {
	if found := r.base.FunctionsNamed("pg_catalog", name); len(found) > 0 {
		return found[0].OID
	}
	return 0
}

// addType adds a type and the array type over it.
func (r *schemaReader) addType(t pgcatalog.Type) *pgcatalog.Type {
	if r.findTypeIn(t.Schema, t.Name) {
		r.problem(-1, "there are two types %q", dotted(t.Schema, t.Name))
	}
	t.OID, t.Array = r.oid(), r.oid()
	array := pgcatalog.Type{
		OID: t.Array, Schema: t.Schema, Name: "_" + t.Name, Kind: pgcatalog.TypeBase, Element: t.OID,
		Input: r.serverFunction("array_in"), Output: r.serverFunction("array_out"),
	}
	added := &t
	r.types = append(r.types, added, &array)
	return added
}

func (r *schemaReader) findTypeIn(schema, name string) bool {
	return slices.ContainsFunc(r.types, func(t *pgcatalog.Type) bool { return t.Schema == schema && t.Name == name })
}

// addRelation adds a relation with the type of its rows.
func (r *schemaReader) addRelation(rel *pgcatalog.Relation) {
	if slices.ContainsFunc(r.relations, func(o *pgcatalog.Relation) bool {
		return o.Schema == rel.Schema && o.Name == rel.Name
	}) {
		r.problem(-1, "there are two relations %q", dotted(rel.Schema, rel.Name))
		return
	}
	rel.OID = r.oid()
	if rel.Kind != pgcatalog.RelationSequence {
		rel.RowType = r.addType(pgcatalog.Type{
			Schema: rel.Schema, Name: rel.Name, Kind: pgcatalog.TypeComposite, Relation: rel.OID,
			Input: r.serverFunction("record_in"), Output: r.serverFunction("record_out"),
		}).OID
	}
	r.relations = append(r.relations, rel)
}

// qualify returns insertions that give every name under a node, written without
// a schema, the schema in which it is found, as PostgreSQL stores it.
func (r *schemaReader) qualify(node any) []insertion {
	q := qualifier{reader: r, common: map[string]bool{}}
	q.collectCommon(node)
	q.visit(node)
	return q.insertions
}

type qualifier struct {
	reader     *schemaReader
	common     map[string]bool // names of common table expressions anywhere
	insertions []insertion
}

func (q *qualifier) collectCommon(n any) {
	if c, ok := n.(*ast.CommonTableExpr); ok {
		q.common[c.GetCtename()] = true
	}
	ast.Children(n, q.collectCommon)
}

func (q *qualifier) visit(n any) {
	r := q.reader
	switch n := n.(type) {
	case *ast.RangeVar:
		if n.GetSchemaname() == "" && !q.common[n.GetRelname()] {
			if rel := r.findRelation("", n.GetRelname()); rel != nil {
				q.insert(n.GetLocation(), rel.Schema)
			}
		}
	case *ast.FuncCall:
		if parts := nameParts(n.GetFuncname()); len(parts) == 1 {
			if f := r.findFunction("", parts[0]); f != nil {
				q.insert(n.GetLocation(), f.Schema)
			}
		}
	case *ast.TypeName:
		if parts := nameParts(n.GetNames()); len(parts) == 1 {
			if t := r.findType("", parts[0]); t != nil {
				q.insert(n.GetLocation(), t.Schema)
			}
		}
	}
	ast.Children(n, q.visit)
}

// insert puts a schema before a name. The server's own names need none.
func (q *qualifier) insert(location int32, schema string) {
	if location >= 0 && schema != "pg_catalog" {
		q.insertions = append(q.insertions, insertion{int(location), quoteIdentifier(schema) + "."})
	}
}
