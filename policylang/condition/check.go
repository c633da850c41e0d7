package condition

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/parser"

	"github.com/posternhq/postern/policylang"
)

// outOfBounds refuses what must not reach the parser.
func outOfBounds(expr string) (policylang.Problem, bool) {
	switch {
	case strings.TrimSpace(expr) == "":
		return policylang.Problem{Summary: "the expression is empty", Advice: "Write true if it should always hold."}, true
	case len(expr) > MaxLength:
		return policylang.Problem{
			Path:    policylang.Path{Offset: MaxLength},
			Summary: fmt.Sprintf("the expression is %d bytes long, at most %d are possible", len(expr), MaxLength),
			Advice:  "Split the rule into several.",
		}, true
	case !utf8.ValidString(expr) || strings.ContainsRune(expr, 0):
		return policylang.Problem{Summary: "the expression is not valid UTF-8 text"}, true
	}
	if at, deep := tooDeep(expr); deep {
		return policylang.Problem{
			Path:    policylang.Path{Offset: at, Length: 1},
			Summary: fmt.Sprintf("the expression nests more than %d deep", maxNesting),
			Advice:  "Split the rule into several.",
		}, true
	}
	return policylang.Problem{}, false
}

// tooDeep finds where brackets nest, or prefix operators and conditionals
// chain, deeper than maxNesting: the parser would need a stack for them.
func tooDeep(expr string) (int, bool) {
	depth, chain := 0, 0
	at, deep := 0, false
	tokens(expr, func(t token) bool {
		switch {
		case t.opens():
			depth++
		case t.closes():
			depth--
		case t.text == "!" || t.text == "-" || t.text == "?":
			chain++
		case t.text == "," || t.text == "&&" || t.text == "||":
			chain = 0
		}
		if depth+chain > maxNesting {
			at, deep = t.offset, true
		}
		return !deep
	})
	return at, deep
}

// inspection finds what CEL's own checks leave.
type inspection struct {
	env      *environment
	ast      *celast.AST
	spans    *spans
	cheap    bool   // what it costs is known to be little enough
	estimate uint64 // of its cost, unless it is cheap
	problems []policylang.Problem
}

// result returns the AST with what is wrong with it. With any error the AST is
// nil.
func (c *inspection) result() (*celast.AST, []policylang.Problem) {
	c.gives(c.ast.GetType(c.ast.Expr().ID()))
	c.constants()
	c.cost()
	if policylang.HasErrors(c.problems) {
		return nil, c.problems
	}
	return c.ast, c.problems
}

func (c *inspection) report(e celast.Expr, p policylang.Problem) {
	p.Path.Offset, p.Path.Length = c.spans.of(c.ast, e)
	c.problems = append(c.problems, p)
}

// gives checks the type that the expression gives.
func (c *inspection) gives(t *cel.Type) {
	dyn := t.Kind() == types.DynKind
	var want string
	switch c.env.kind {
	case KindRule, KindMask, KindIdentity:
		if t.Kind() == types.BoolKind {
			return
		}
		want = "true or false"
		dyn = false
	case KindNameFrom:
		if t.Kind() == types.StringKind {
			return
		}
		want = "a string"
	case KindGroupsFrom:
		if t.Kind() == types.ListKind && (t.Parameters()[0].Kind() == types.StringKind || t.Parameters()[0].Kind() == types.DynKind) {
			return
		}
		want = "a list of strings"
	}
	if dyn {
		return // a claim: what it is shows at run time
	}
	p := policylang.Problem{Summary: fmt.Sprintf("the expression gives %s, it must give %s", typeInWords(t), want)}
	if t.Kind() == types.DynKind {
		p.Summary = "the expression gives a claim as it stands, it must give true or false"
		p.Advice = "Compare the claim, as in token.email_verified == true."
	}
	p.Path.Length = len(c.spans.expr)
	c.problems = append(c.problems, p)
}

// constants checks the arguments that have a syntax of their own.
func (c *inspection) constants() {
	celast.PostOrderVisit(c.ast.Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		if e.Kind() == celast.StructKind {
			c.report(e, policylang.Problem{Summary: fmt.Sprintf("objects such as %s cannot be made in an expression", e.AsStruct().TypeName())})
		}
		if e.Kind() == celast.CallKind {
			c.checkWholes(e, e.AsCall())
		}
	}))
	eachConstant(c.ast.Expr(), func(call celast.CallExpr, last celast.Expr) {
		s, ok := literalString(last)
		if !ok && call.FunctionName() == "matches" {
			c.report(last, policylang.Problem{Summary: "the regular expression must be written out", Advice: "A pattern that is computed could cost anything."})
		}
		if ok {
			if summary, advice := c.env.constantProblem(call, s); summary != "" {
				c.report(last, policylang.Problem{Summary: summary, Advice: advice})
			}
		}
	})
}

// eachConstant visits the last argument of each call of one or two, where what
// has a syntax of its own stands.
func eachConstant(e celast.Expr, visit func(call celast.CallExpr, last celast.Expr)) {
	celast.PostOrderVisit(e, celast.NewExprVisitor(func(e celast.Expr) {
		if e.Kind() != celast.CallKind {
			return
		}
		call := e.AsCall()
		if args := call.Args(); len(args) == 1 || len(args) == 2 {
			visit(call, args[len(args)-1])
		}
	}))
}

// checkWholes refuses to compare, find or join as a whole what may not be known
// in full.
func (c *inspection) checkWholes(e celast.Expr, call celast.CallExpr) {
	args := call.Args()
	verb := "compared"
	switch call.FunctionName() {
	case operators.Equals, operators.NotEquals:
	case operators.In:
		args = args[:1]
	case operators.Add:
		if args[0].Kind() == celast.IdentKind && args[0].AsIdent() == parser.HiddenAccumulatorName {
			return // what map and filter are made of
		}
		verb = "joined"
	default:
		return
	}
	for _, arg := range args {
		t := c.ast.GetType(arg.ID())
		if k := t.Kind(); k == types.ListKind || k == types.MapKind || k == types.StructKind {
			c.report(e, policylang.Problem{
				Summary: fmt.Sprintf("%s cannot be %s as a whole", typeInWords(t), verb),
				Advice:  "Ask for elements, as in \"dba\" in identity.groups, or for its size().",
			})
			return
		}
	}
}

// constantProblem says what is wrong with a function's constant argument.
func (env *environment) constantProblem(call celast.CallExpr, arg string) (summary, advice string) {
	name := call.FunctionName()
	switch {
	case name == "in_cidr":
		if _, err := parseCIDR(arg); err != nil {
			return err.Error(), `A network is written as in "10.0.0.0/8" or "2001:db8::/32".`
		}
	case name == "glob":
		if err := parseGlobText(arg); err != nil {
			return err.Error(), "A * stands for any run of characters."
		}
	case call.IsMemberFunction() && (strings.HasPrefix(name, "get") || env.isClock(name)):
		if _, err := loadZone(arg); err != nil {
			return err.Error(), `A time zone is written by its name in the IANA database, as in "Europe/Berlin" or "UTC".`
		}
	case name == "matches":
		if err := checkRegexp(arg); err != nil {
			return err.Error(), "Regular expressions are RE2's: https://github.com/google/re2/wiki/Syntax."
		}
	case name == "timestamp":
		if _, err := time.Parse(time.RFC3339, arg); err != nil {
			return fmt.Sprintf("%q is not a moment", arg), `A moment is written as in "2026-03-29T09:30:00Z".`
		}
	case name == "duration":
		if _, err := time.ParseDuration(arg); err != nil {
			return fmt.Sprintf("%q is not a duration", arg), `A duration is written as in "90m" or "1h30m".`
		}
	default:
		return env.globProblem(name, arg)
	}
	return "", ""
}

func (env *environment) globProblem(name, arg string) (summary, advice string) {
	for _, m := range env.members {
		if m.name != name || m.parts == 0 {
			continue
		}
		if _, err := policylang.ParseGlob(arg, m.parts); err != nil {
			if m.parts == columnParts {
				return err.Error(), `A column is written as in "public.customers.email" or "*.*.ssn".`
			}
			return err.Error(), `A relation or function is written as in "public.orders" or "audit.*".`
		}
	}
	return "", ""
}

func (env *environment) isClock(name string) bool {
	return slices.ContainsFunc(env.clocks, func(c clock) bool { return c.name == name })
}

func checkRegexp(pattern string) error {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if bad := (*syntax.Error)(nil); errors.As(err, &bad) && bad.Code != syntax.ErrLarge && bad.Code != syntax.ErrNestingDepth {
		return fmt.Errorf("%q is not a regular expression", pattern)
	}
	if err != nil {
		return errLargeRegexp
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil || len(prog.Inst) > maxRegexp {
		return errLargeRegexp
	}
	return nil
}

var errLargeRegexp = errors.New("the regular expression is too large")

// cost refuses what could cost too much.
func (c *inspection) cost() {
	if len(c.problems) > 0 || c.cheap {
		return
	}
	estimate, err := checker.Cost(c.ast, c.env.costs)
	c.estimate = estimate.Max
	if err != nil || estimate.Max > CostLimit {
		c.problems = append(c.problems, policylang.Problem{
			Path:    policylang.Path{Length: len(c.spans.expr)},
			Summary: "the expression could cost too much to evaluate",
			Advice:  fmt.Sprintf("Its cost is estimated at up to %s units, at most %d are possible. Nest fewer exists, all, map and filter, or use functions such as statement.reads.", costInWords(estimate.Max), CostLimit),
		})
	}
}

func costInWords(cost uint64) string {
	if cost > 1_000_000_000 {
		return "more than 1000000000"
	}
	return fmt.Sprint(cost)
}
