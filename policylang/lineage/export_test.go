package lineage

import (
	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// AnalyzeNode follows a node as a statement, for tests of nodes that no text
// parses to.
func AnalyzeNode(n *ast.Node, env Environment, cat *pgcatalog.Catalog, prot *Protection) *Refusal {
	a := newAnalyzer(env, cat, prot)
	a.statement(n)
	return a.refusal
}

// AnalyzeExpression follows a node as an expression.
func AnalyzeExpression(n *ast.Node, env Environment, cat *pgcatalog.Catalog, prot *Protection) *Refusal {
	a := newAnalyzer(env, cat, prot)
	a.expr(n, &scope{})
	return a.refusal
}

// AnalyzeFrom follows a node as an item of FROM.
func AnalyzeFrom(n *ast.Node, env Environment, cat *pgcatalog.Catalog, prot *Protection) *Refusal {
	a := newAnalyzer(env, cat, prot)
	a.from([]*ast.Node{n}, &scope{})
	return a.refusal
}

// Enumerations are the numbers that node.go gives to the parser's names.
var Enumerations = map[string]int32{
	"SETOP_NONE": setopNone, "SETOP_UNION": setopUnion, "SETOP_INTERSECT": setopIntersect,
	"JOIN_INNER": joinInner, "JOIN_LEFT": joinLeft, "JOIN_FULL": joinFull, "JOIN_RIGHT": joinRight,
	"AND_EXPR": boolAnd,
	"AEXPR_OP": exprOp, "AEXPR_OP_ANY": exprOpAny, "AEXPR_OP_ALL": exprOpAll, "AEXPR_DISTINCT": exprDistinct,
	"AEXPR_NOT_DISTINCT": exprNotDistinct, "AEXPR_NULLIF": exprNullif, "AEXPR_IN": exprIn, "AEXPR_LIKE": exprLike,
	"AEXPR_ILIKE": exprIlike, "AEXPR_SIMILAR": exprSimilar, "AEXPR_BETWEEN": exprBetween,
	"AEXPR_NOT_BETWEEN": exprNotBetween, "AEXPR_BETWEEN_SYM": exprBetweenSym, "AEXPR_NOT_BETWEEN_SYM": exprNotBetweenSym,
	"EXISTS_SUBLINK": subLinkExists, "ALL_SUBLINK": subLinkAll, "ANY_SUBLINK": subLinkAny, "EXPR_SUBLINK": subLinkExpr,
	"ARRAY_SUBLINK": subLinkArray,
	"IS_GREATEST":   minMaxGreatest, "COERCE_SQL_SYNTAX": coerceSQLSyntax, "ONCONFLICT_UPDATE": onConflictUpdate,
	"CMD_UPDATE": commandUpdate, "CMD_INSERT": commandInsert, "CMD_DELETE": commandDelete, "CMD_NOTHING": commandNothing,
	"TRANS_STMT_COMMIT": transactionCommit, "TRANS_STMT_PREPARE": transactionPrepare,
}
