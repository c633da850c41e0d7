package statement

import (
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// picked is the columns of a query over one relation that its WHERE holds to one
// text each. Few ask for them, so they are looked for when somebody does.
type picked struct {
	query   *ast.SelectStmt
	columns map[string]string
}

// text returns the text that the column is held to, in lower case.
func (p *picked) text(column string) (text string, held bool) {
	if column == "" {
		return "", false
	}
	if p.columns == nil {
		p.columns = picks(p.query)
	}
	text, held = p.columns[column]
	return text, held
}

// picks returns the columns that the query's WHERE holds, in lower case:
//
//	SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'a_parameter'
//
// is how pg_dump sets a parameter that not every server has.
func picks(s *ast.SelectStmt) map[string]string {
	out := map[string]string{}
	if from := s.GetFromClause(); len(from) == 1 {
		if _, ok := ast.Unwrap(from[0]).(*ast.RangeVar); ok {
			pickedBy(s.GetWhereClause(), out)
		}
	}
	return out
}

func pickedBy(where *ast.Node, out map[string]string) {
	switch e := ast.Unwrap(where).(type) {
	case *ast.BoolExpr:
		if e.GetBoolop() == ast.BoolExprType_AND_EXPR {
			for _, arg := range e.GetArgs() {
				pickedBy(arg, out)
			}
		}
	case *ast.A_Expr:
		if operator := stringList(e.GetName()); e.GetKind() != ast.A_Expr_Kind_AEXPR_OP || len(operator) != 1 || operator[0] != "=" {
			return
		}
		constant, ok := ast.Unwrap(e.GetRexpr()).(*ast.A_Const)
		if column := columnName(e.GetLexpr()); column != "" && ok && constant.GetSval() != nil {
			out[column] = strings.ToLower(constant.GetSval().GetSval())
		}
	}
}

// columnName returns the name of a column that is named without its relation,
// else nothing.
func columnName(n *ast.Node) string {
	ref, ok := ast.Unwrap(n).(*ast.ColumnRef)
	if !ok || len(ref.GetFields()) != 1 {
		return ""
	}
	name, ok := ast.Unwrap(ref.GetFields()[0]).(*ast.String)
	if !ok {
		return ""
	}
	return name.GetSval()
}
