package lineage

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// definitionStatement follows a statement that defines or maintains something.
// Nothing protected may be stored by it, nothing that is protected may change
// under its policy, and no code may be left behind that Postern has not read.
func (a *analyzer) definitionStatement(n any) {
	switch n := n.(type) {
	case *ast.CreateTableAsStmt:
		a.createTableAs(n)
	case *ast.ViewStmt:
		a.stores(a.query(n.Query, nil, nil), n.View)
	case *ast.CreateStmt:
		a.createTable(n)
	case *ast.IndexStmt:
		a.createIndex(n)
	case *ast.AlterTableStmt:
		a.alterTable(n)
	case *ast.RenameStmt:
		a.unprotected(n.Relation, "rename it")
	case *ast.AlterObjectSchemaStmt:
		a.unprotected(n.Relation, "move it")
	case *ast.AlterOwnerStmt:
		a.unprotected(n.Relation, "give it to somebody else")
	case *ast.TruncateStmt:
		a.truncate(n)
	case *ast.CreateSeqStmt:
		a.createRelation(n.Sequence)
	case *ast.CreateSchemaStmt:
		for _, e := range n.SchemaElts {
			a.definitionStatement(ast.Unwrap(e))
		}
	case *ast.VacuumStmt:
		for _, r := range n.Rels {
			if v, ok := ast.Unwrap(r).(*ast.VacuumRelation); ok {
				a.maintain(v.Relation)
			}
		}
		a.tainted = true
	case *ast.ClusterStmt:
		a.maintain(n.Relation)
	case *ast.ReindexStmt:
		a.maintain(n.Relation)
		a.tainted = true
	case *ast.RefreshMatViewStmt:
		a.maintain(n.Relation)
	case *ast.CompositeTypeStmt:
		for _, c := range n.Coldeflist {
			if d, ok := ast.Unwrap(c).(*ast.ColumnDef); ok {
				a.columnDef(d, nil)
			}
		}
	case *ast.DropStmt, *ast.CommentStmt, *ast.GrantStmt, *ast.GrantRoleStmt,
		*ast.AlterDefaultPrivilegesStmt, *ast.AlterSeqStmt, *ast.CreateEnumStmt, *ast.AlterEnumStmt,
		*ast.DropOwnedStmt:
		// They neither read rows nor leave code behind.
	case *ast.CallStmt:
		a.opaque(-1, "procedure "+strings.Join(stringList(n.Funccall.GetFuncname()), "."))
	case *ast.DoStmt:
		a.opaque(-1, "the code of DO")
	case *ast.CreateFunctionStmt, *ast.CreateTrigStmt, *ast.RuleStmt, *ast.CreatePolicyStmt,
		*ast.AlterPolicyStmt, *ast.CreateCastStmt, *ast.CreateEventTrigStmt, *ast.CreateExtensionStmt,
		*ast.DefineStmt, *ast.CreateOpClassStmt, *ast.CreateStatsStmt, *ast.CreateDomainStmt,
		*ast.CreatePublicationStmt, *ast.AlterPublicationStmt, *ast.CreateSubscriptionStmt:
		a.refuse(CodeOpaque, -1, "Ask somebody for whom no values are masked.",
			"code, rules and statistics may not be defined while values are masked for you")
	case *ast.LoadStmt, *ast.AlterSystemStmt, *ast.CreateForeignServerStmt, *ast.CreateForeignTableStmt,
		*ast.CreateUserMappingStmt, *ast.ImportForeignSchemaStmt:
		a.refuse(CodeServer, -1, "Ask somebody for whom no values are masked.",
			"the server's own settings, files and connections may not be used while values are masked for you")
	default:
		a.unsupported(nil, "this statement")
	}
}

// stores refuses to store protected columns under a new name.
func (a *analyzer) stores(columns []column, name *ast.RangeVar) {
	a.into(nil, columns, name.GetLocation())
	a.createRelation(name)
}

// into follows where SELECT INTO and CREATE TABLE AS put their rows.
func (a *analyzer) into(n *ast.IntoClause, columns []column, location int32) {
	for i := range columns {
		if l := columns[i].label; !l.bottom() {
			a.refuse(CodeLaundering, location, "Leave the column out, or ask to be exempted from the policy.",
				"%s and may not be stored in a new relation", a.describe(l))
			return
		}
	}
	if n != nil {
		a.createRelation(n.Rel)
	}
}

// createRelation refuses a new temporary relation that would stand before one
// with protected columns.
func (a *analyzer) createRelation(n *ast.RangeVar) {
	if n == nil || (n.Relpersistence != "t" && n.Schemaname != "pg_temp") {
		return
	}
	for _, schema := range a.env.SearchPath {
		other := a.cat.RelationNamed(schema, n.Relname)
		if other != nil && a.prot.relation(other, a.building).protected {
			a.refuse(CodeHides, n.Location, "Choose another name.",
				"a temporary relation may not hide %q, which has masked columns", n.Relname)
		}
	}
	if a.env.SearchPath == nil {
		a.unknownPath(n.Location, n.Relname)
	}
}

func (a *analyzer) createTableAs(n *ast.CreateTableAsStmt) {
	if _, ok := ast.Unwrap(n.Query).(*ast.ExecuteStmt); ok {
		a.unsupported(nil, "CREATE TABLE … AS EXECUTE")
		return
	}
	columns := a.query(n.Query, nil, nil)
	a.into(n.Into, columns, n.Into.GetRel().GetLocation())
}

// unprotected finds a relation that is to change, and refuses one with
// protected columns. It refuses what is no relation.
func (a *analyzer) unprotected(n *ast.RangeVar, what string) *relation {
	if n == nil {
		a.unsupported(nil, "this change")
		return nil
	}
	r := a.findRelation(n)
	if r == nil {
		return nil
	}
	seen := a.see(r, n.Location)
	if seen.protected {
		a.refuse(CodeLaundering, n.Location, "Ask somebody for whom no values are masked.",
			"%s has columns that are masked for you, so you may not %s", r.Name, what)
		return nil
	}
	return seen
}

// maintain follows VACUUM and its kin, which run the expressions of indexes.
func (a *analyzer) maintain(n *ast.RangeVar) {
	if n == nil {
		return
	}
	r := a.findRelation(n)
	if r == nil {
		return
	}
	if seen := a.see(r, n.Location); seen.protected {
		a.tainted = true
	} else if seen.tainted {
		a.opaque(n.Location, "the definition of "+r.Name)
	}
	s := &scope{items: []*item{tableItem(r, a.prot.namedColumns(r), r.Name)}}
	for i := range r.Indexes {
		for _, text := range []string{r.Indexes[i].Expressions, r.Indexes[i].Predicate} {
			if text == "" {
				continue
			}
			b := a.prot.storedAnalyzer(nil)
			b.storedExpression("ROW("+text+")", s)
			if b.refusal != nil || b.tainted {
				a.opaque(n.Location, "index "+r.Indexes[i].Name)
			}
		}
	}
}

func (a *analyzer) truncate(n *ast.TruncateStmt) {
	for _, r := range n.Relations {
		v, ok := ast.Unwrap(r).(*ast.RangeVar)
		if !ok {
			a.unsupported(n, "this TRUNCATE")
			return
		}
		a.target(v, policylang.VerbTruncate)
	}
}

func (a *analyzer) createIndex(n *ast.IndexStmt) {
	seen := a.unprotected(n.Relation, "index it")
	if seen == nil {
		return
	}
	s := &scope{items: []*item{tableItem(seen.rel, seen.columns, seen.rel.Name)}}
	for _, p := range slices.Concat(n.IndexParams, n.IndexIncludingParams) {
		if e, ok := ast.Unwrap(p).(*ast.IndexElem); ok {
			a.bottom(a.expr(e.Expr, s), "an index")
		}
	}
	a.predicate(n.WhereClause, s, "an index")
}

// createTable follows CREATE TABLE.
func (a *analyzer) createTable(n *ast.CreateStmt) {
	a.createRelation(n.Relation)
	own := &item{alias: n.Relation.GetRelname(), named: true, bare: true, lateralOK: true}
	s := &scope{items: []*item{own}}
	for _, p := range n.InhRelations {
		if v, ok := ast.Unwrap(p).(*ast.RangeVar); ok {
			if seen := a.unprotected(v, "add a table to it"); seen != nil {
				own.columns = append(own.columns, a.prot.namedColumns(seen.rel)...)
			}
		}
	}
	if n.OfTypename != nil {
		own.columns = append(own.columns, a.fieldsOf(a.typed(n.OfTypename))...)
	}
	for _, e := range n.TableElts {
		if d, ok := ast.Unwrap(e).(*ast.ColumnDef); ok {
			own.columns = append(own.columns, column{name: d.Colname})
		}
	}
	for _, e := range slices.Concat(n.TableElts, n.Constraints) {
		switch e := ast.Unwrap(e).(type) {
		case *ast.ColumnDef:
			a.columnDef(e, s)
		case *ast.Constraint:
			a.constraint(e, s)
		case *ast.TableLikeClause:
			a.unprotected(e.Relation, "copy its structure")
		default:
			a.unsupported(nil, "this part of CREATE TABLE")
		}
	}
	a.partitioning(n, s)
}

// partitioning follows PARTITION BY and the bounds of a partition.
func (a *analyzer) partitioning(n *ast.CreateStmt, s *scope) {
	if n.Partspec != nil {
		for _, p := range n.Partspec.PartParams {
			if e, ok := ast.Unwrap(p).(*ast.PartitionElem); ok {
				a.bottom(a.expr(e.Expr, s), "PARTITION BY")
			}
		}
	}
	a.bounds(n.Partbound)
}

func (a *analyzer) bounds(b *ast.PartitionBoundSpec) {
	if b == nil {
		return
	}
	for _, d := range slices.Concat(b.Listdatums, b.Lowerdatums, b.Upperdatums) {
		if r, ok := ast.Unwrap(d).(*ast.PartitionRangeDatum); ok {
			d = r.Value
		}
		if ref, ok := ast.Unwrap(d).(*ast.ColumnRef); ok && slices.Contains([]string{"minvalue", "maxvalue"}, lastString(ref.Fields)) {
			continue
		}
		a.bottom(a.expr(d, nil), "a partition's bounds")
	}
}

// columnDef follows the definition of a column.
func (a *analyzer) columnDef(d *ast.ColumnDef, s *scope) {
	if d.TypeName != nil && !isSerial(d.TypeName) {
		a.typed(d.TypeName)
	}
	a.bottom(a.expr(d.RawDefault, s), "DEFAULT")
	for _, c := range d.Constraints {
		if k, ok := ast.Unwrap(c).(*ast.Constraint); ok {
			a.constraint(k, s)
		}
	}
}

// isSerial reports whether a type is one of those that stand for an integer
// with a sequence of its own.
func isSerial(n *ast.TypeName) bool {
	names := stringList(n.Names)
	return len(names) == 1 && slices.Contains([]string{"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"}, names[0])
}

// constraint follows a constraint. A foreign key to protected columns would
// tell which values they have.
func (a *analyzer) constraint(n *ast.Constraint, s *scope) {
	a.bottom(a.expr(n.RawExpr, s), "a constraint")
	a.predicate(n.WhereClause, s, "a constraint")
	for _, e := range n.Exclusions {
		list, ok := ast.Unwrap(e).(*ast.List)
		if !ok || len(list.Items) != 2 {
			a.unsupported(nil, "this constraint")
			return
		}
		if x, ok := ast.Unwrap(list.Items[0]).(*ast.IndexElem); ok {
			a.bottom(a.expr(x.Expr, s), "a constraint")
		}
		if op, ok := ast.Unwrap(list.Items[1]).(*ast.List); ok {
			a.operator(stringList(op.Items), value{}, value{}, n.Location)
		}
	}
	if n.Pktable == nil {
		return
	}
	r := a.findRelation(n.Pktable)
	if r == nil {
		return
	}
	seen := a.see(r, n.Pktable.Location)
	for i := range seen.columns {
		c := &seen.columns[i]
		if slices.Contains(stringList(n.PkAttrs), c.name) || (len(n.PkAttrs) == 0 && isPrimary(r, c.id.Column)) {
			a.control(c.label, usePredicate, "a foreign key", n.Location)
		}
	}
}

func isPrimary(r *pgcatalog.Relation, column int16) bool {
	return slices.ContainsFunc(r.Constraints, func(k pgcatalog.Constraint) bool {
		return k.Kind == pgcatalog.ConstraintPrimary && slices.Contains(k.Columns, column)
	})
}

// harmlessChanges are the forms of ALTER TABLE that neither run code nor touch
// another relation.
var harmlessChanges = set(`
	AT_DropColumn AT_DropNotNull AT_SetNotNull AT_SetStatistics AT_SetOptions AT_ResetOptions AT_SetStorage
	AT_SetCompression AT_DropConstraint AT_AlterConstraint AT_ClusterOn AT_DropCluster AT_SetLogged AT_SetUnLogged
	AT_SetTableSpace AT_SetRelOptions AT_ResetRelOptions AT_ReplicaIdentity AT_AddIdentity AT_SetIdentity
	AT_DropIdentity AT_DropExpression AT_DropInherit AT_DetachPartition AT_DetachPartitionFinalize AT_ChangeOwner
	AT_ValidateConstraint AT_AddIndexConstraint`)

// alterTable follows ALTER TABLE of a relation without protected columns.
func (a *analyzer) alterTable(n *ast.AlterTableStmt) {
	seen := a.unprotected(n.Relation, "alter it")
	if seen == nil {
		return
	}
	s := &scope{items: []*item{tableItem(seen.rel, slices.Clone(seen.columns), seen.rel.Name)}}
	for _, c := range n.Cmds {
		cmd, ok := ast.Unwrap(c).(*ast.AlterTableCmd)
		if !ok {
			a.unsupported(nil, "this ALTER TABLE")
			return
		}
		a.alterTableCommand(cmd, s)
	}
}

func (a *analyzer) alterTableCommand(cmd *ast.AlterTableCmd, s *scope) {
	kind := cmd.Subtype.String()
	switch def := ast.Unwrap(cmd.Def).(type) {
	case *ast.ColumnDef:
		switch kind {
		case "AT_AddColumn":
			s.items[0].columns = append(s.items[0].columns, column{name: def.Colname})
			a.columnDef(def, s)
			return
		case "AT_AlterColumnType":
			a.columnDef(def, s)
			return
		}
	case *ast.Constraint:
		if kind == "AT_AddConstraint" {
			a.constraint(def, s)
			return
		}
	case *ast.PartitionCmd:
		if kind == "AT_AttachPartition" {
			a.unprotected(def.Name, "attach it")
			a.bounds(def.Bound)
			return
		}
	case *ast.RangeVar:
		if kind == "AT_AddInherit" {
			a.unprotected(def, "add a table to it")
			return
		}
	}
	switch {
	case kind == "AT_ColumnDefault":
		a.bottom(a.expr(cmd.Def, s), "DEFAULT")
	case !harmlessChanges[kind]:
		a.unsupported(nil, "this ALTER TABLE")
	}
}
