package condition

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types/ref"

	"github.com/posternhq/postern/policylang"
)

// program is a program of CEL's with a bound on its iterations.
type program struct {
	cel   cel.Program
	loops bool // it has exists, all, map or filter
}

// plan plans a checked expression.
//
// CEL's own cost limit is not used: the tracker behind it takes time that is
// quadratic in the iterations. Instead, evaluation checks after MaxIterations
// iterations whether it is cancelled, and always is.
func (e *environment) plan(ast *celast.AST) (program, error) {
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	loops := hasLoops(ast.Expr())
	if loops {
		options = append(options, cel.InterruptCheckFrequency(MaxIterations))
	}
	p, err := e.cel.PlanProgram(ast, options...)
	if err != nil {
		return program{}, fmt.Errorf("plan expression: %w", err)
	}
	return program{cel: p, loops: loops}, nil
}

// unplannable is the problem of an expression that cannot be planned: CEL works
// out conversions of constants, and this one fails.
func unplannable(expr string) policylang.Problem {
	return policylang.Problem{
		Path:    policylang.Path{Length: len(expr)},
		Summary: "a constant in the expression cannot be converted",
		Advice:  "Look for a conversion such as int(\"x\").",
	}
}

func hasLoops(e celast.Expr) bool {
	found := false
	celast.PostOrderVisit(e, celast.NewExprVisitor(func(e celast.Expr) {
		found = found || e.Kind() == celast.ComprehensionKind
	}))
	return found
}

// run evaluates the program.
func (p program) run(in *Input) (ref.Val, error) {
	if !p.loops {
		out, _, err := p.cel.Eval(activation{in})
		return out, err //nolint:wrapcheck // described by the caller
	}
	if in.oversized() {
		return nil, errOversized
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	out, _, err := p.cel.ContextEval(cancelled, activation{in})
	return out, err //nolint:wrapcheck // described by the caller
}

var errOversized = errors.New("the statement is too large for a condition with exists, all, map or filter")

// The sizes that an expression with loops is evaluated over at most, four times
// the usual ones that its cost was estimated with.
const (
	maxLoopText  = 4 * usualText
	maxLoopNames = 4 * usualColumns
)

// oversized reports whether facts are too large for loops.
func (in *Input) oversized() bool {
	f := in.Facts
	return f != nil && (len(f.Text) > maxLoopText || len(f.Shape) > maxLoopText ||
		max(len(f.Commands), len(f.Relations), len(f.Columns), len(f.Functions)) > maxLoopNames)
}
