package lineage

import (
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// Numbers of the parser's enumerations. They are part of its protocol; a test
// holds them against its names.
const (
	setopNone      = 1
	setopUnion     = 2
	setopIntersect = 3

	joinInner = 1
	joinLeft  = 2
	joinFull  = 3
	joinRight = 4

	boolAnd = 1

	exprOp            = 1
	exprOpAny         = 2
	exprOpAll         = 3
	exprDistinct      = 4
	exprNotDistinct   = 5
	exprNullif        = 6
	exprIn            = 7
	exprLike          = 8
	exprIlike         = 9
	exprSimilar       = 10
	exprBetween       = 11
	exprNotBetween    = 12
	exprBetweenSym    = 13
	exprNotBetweenSym = 14

	subLinkExists = 1
	subLinkAll    = 2
	subLinkAny    = 3
	subLinkExpr   = 5
	subLinkArray  = 7

	minMaxGreatest  = 1
	coerceSQLSyntax = 4

	onConflictUpdate = 3

	commandUpdate  = 3
	commandInsert  = 4
	commandDelete  = 5
	commandNothing = 8

	transactionCommit  = 3
	transactionPrepare = 8
)

const knobEquality = policylang.KnobEquality

// located is a node that knows where it stands.
type located interface{ GetLocation() int32 }

// locate returns the byte offset of an expression, or -1.
func locate(n *ast.Node) int32 { return locateInner(ast.Unwrap(n)) }

func locateInner(n any) int32 {
	switch n := n.(type) {
	case nil:
		return -1
	case *ast.A_Expr:
		if l := locate(n.Lexpr); l >= 0 {
			return l
		}
	case *ast.TypeCast:
		if l := locate(n.Arg); l >= 0 {
			return l
		}
	case *ast.BoolExpr:
		if len(n.Args) > 0 && n.Location < 0 {
			return locate(n.Args[0])
		}
	case *ast.NullTest:
		return locate(n.Arg)
	case *ast.A_Indirection:
		return locate(n.Arg)
	case *ast.List:
		if len(n.Items) > 0 {
			return locate(n.Items[0])
		}
	}
	if l, ok := n.(located); ok {
		return l.GetLocation()
	}
	return -1
}

// locateColumn returns where an expression names the column that the refusal of a
// label is about, or else where the expression begins.
func (a *analyzer) locateColumn(n *ast.Node, l label) int32 {
	if len(l.columns) == 0 || a.stored {
		return locate(n)
	}
	name := a.shortName(l.columns[0])
	found := int32(-1)
	var look func(any)
	look = func(m any) {
		if ref, ok := m.(*ast.ColumnRef); ok && found < 0 && len(ref.Fields) > 0 {
			if last, ok := ast.Unwrap(ref.Fields[len(ref.Fields)-1]).(*ast.String); ok && last.Sval == name {
				found = ref.Location
			}
		}
		if found < 0 {
			ast.Children(m, look)
		}
	}
	if u := ast.Unwrap(n); u != nil {
		look(u)
	}
	if found < 0 {
		return locate(n)
	}
	return found
}
