package scenario

import (
	"slices"

	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// tableConstraint is a constraint of a table, perhaps one that stands with a
// column and is about that.
type tableConstraint struct {
	*ast.Constraint
	column string
}

// columns names the constraint's columns.
func (c tableConstraint) columns() []string {
	switch {
	case c.column != "":
		return []string{c.column}
	case c.GetContype() == ast.ConstrType_CONSTR_FOREIGN:
		return nameParts(c.GetFkAttrs())
	}
	return nameParts(c.GetKeys())
}

func (r *schemaReader) addConstraint(rel *pgcatalog.Relation, c tableConstraint) {
	out := pgcatalog.Constraint{Name: c.GetConname()}
	switch c.GetContype() {
	case ast.ConstrType_CONSTR_PRIMARY:
		out.Kind = pgcatalog.ConstraintPrimary
	case ast.ConstrType_CONSTR_UNIQUE:
		out.Kind = pgcatalog.ConstraintUnique
	case ast.ConstrType_CONSTR_CHECK:
		out.Kind = pgcatalog.ConstraintCheck
		out.Expression = r.bracketed(c.GetLocation(), c.GetRawExpr(), "check")
		out.Columns = r.mentioned(rel, c.GetRawExpr())
	case ast.ConstrType_CONSTR_FOREIGN:
		r.addForeignKey(rel, c, out)
		return
	case ast.ConstrType_CONSTR_EXCLUSION:
		r.problem(c.GetLocation(), "a schema file cannot have exclusion constraints")
		return
	default:
		return
	}
	if out.Kind != pgcatalog.ConstraintCheck {
		out.Columns = r.columnNumbers(rel, c.columns(), c.GetLocation())
		rel.Indexes = append(rel.Indexes, pgcatalog.Index{Name: c.GetConname(), Unique: true, Columns: out.Columns})
	}
	if out.Kind == pgcatalog.ConstraintPrimary {
		for _, number := range out.Columns {
			rel.Column(number).NotNull = true
		}
	}
	rel.Constraints = append(rel.Constraints, out)
}

func (r *schemaReader) addForeignKey(rel *pgcatalog.Relation, c tableConstraint, out pgcatalog.Constraint) {
	out.Kind = pgcatalog.ConstraintForeign
	target := r.relation(c.GetPktable())
	if target == nil {
		return
	}
	out.Foreign = target.OID
	out.Columns = r.columnNumbers(rel, c.columns(), c.GetLocation())
	out.ForeignColumns = r.columnNumbers(target, nameParts(c.GetPkAttrs()), c.GetLocation())
	if len(out.ForeignColumns) == 0 {
		out.ForeignColumns = primaryKey(target)
	}
	out.OnDelete, out.OnUpdate = action(c.GetFkDelAction()), action(c.GetFkUpdAction())
	rel.Constraints = append(rel.Constraints, out)
}

func action(code string) pgcatalog.ReferentialAction {
	if code == "" {
		return pgcatalog.ActionNone
	}
	return pgcatalog.ReferentialAction(code[0])
}

func primaryKey(rel *pgcatalog.Relation) []int16 {
	for _, c := range rel.Constraints {
		if c.Kind == pgcatalog.ConstraintPrimary {
			return c.Columns
		}
	}
	return nil
}

func (r *schemaReader) columnNumbers(rel *pgcatalog.Relation, names []string, location int32) []int16 {
	var numbers []int16
	for _, name := range names {
		c := rel.ColumnNamed(name)
		if c == nil {
			r.problem(location, "%q has no column %q", dotted(rel.Schema, rel.Name), name)
			continue
		}
		numbers = append(numbers, c.Number)
	}
	return numbers
}

// mentioned lists the columns that an expression mentions by name.
func (r *schemaReader) mentioned(rel *pgcatalog.Relation, expr *ast.Node) []int16 {
	var numbers []int16
	var visit func(any)
	visit = func(n any) {
		if ref, ok := n.(*ast.ColumnRef); ok {
			parts := nameParts(ref.GetFields())
			if len(parts) > 0 {
				if c := rel.ColumnNamed(parts[len(parts)-1]); c != nil && !slices.Contains(numbers, c.Number) {
					numbers = append(numbers, c.Number)
				}
			}
		}
		ast.Children(n, visit)
	}
	visit(ast.Unwrap(expr))
	return numbers
}
