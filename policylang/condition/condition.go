// Package condition type-checks and evaluates the expressions of a policy.
// They are written in CEL, the Common Expression Language
// (https://cel.dev), over the variables that [Declarations] lists.
//
// [Check] tells what is wrong with an expression, everything at once, each
// problem at its byte offset. [Compile] makes a [Condition] of one that is
// right. A condition is the conjunction of its [Conjunct]s, the operands of its
// outermost &&: each knows which variables it mentions, so that callers can
// evaluate what a session fixes once and the rest for each statement, and under
// which [Key]s a statement must be found for it to be anything but false, so
// that callers can index conditions rather than try them all.
//
// # Uncertainty
//
// A condition gives a [Value]: besides true and false it may be unknown, since
// the facts of a statement may not say (a name whose schema is not resolved, an
// opaque statement that may do more than can be read), or erring. The logic is
// CEL's own: "false && unknown" is false, "!unknown" is unknown. What an opaque
// statement does not mention is unknown rather than absent. Whoever asks counts
// uncertain values as it is safe.
//
// # Bounds
//
// An expression is at most [MaxLength] bytes long, nests at most 50 deep and
// must be estimated to cost no more than [CostLimit], in CEL's units of about
// one for each step, over facts of usual size. Evaluation stops with an error
// after [MaxIterations] iterations of exists, all, map and filter, and an
// expression with any of them errs over facts of far more than usual size.
//
// Conditions are immutable and safe for concurrent use. What they read is only
// read.
package condition

import (
	"github.com/google/cel-go/cel"

	"github.com/posternhq/postern/policylang"
)

// The bounds of expressions.
const (
	MaxLength     = 8192      // bytes of one expression
	CostLimit     = 1_000_000 // estimated cost over facts of usual size
	MaxIterations = 10_000    // of exists, all, map and filter, nested ones included, in one evaluation

	maxNesting    = 50
	maxNodes      = 10_000
	maxRecoveries = 10
	maxRegexp     = 5_000 // instructions of a compiled regular expression
)

// Kind is a kind of expression: where it stands in a policy decides what it
// may mention and what it must give.
type Kind string

// The kinds of expression.
const (
	KindRule       Kind = "rule"        // query_rule.when: identity, session, statement, now; a bool
	KindMask       Kind = "mask"        // masking_policy.unless: identity, session, now; a bool
	KindIdentity   Kind = "identity"    // identity.when: token, now; a bool
	KindNameFrom   Kind = "name_from"   // identity.name_from: token; a string
	KindGroupsFrom Kind = "groups_from" // identity.groups_from: token; a list of strings
)

// isCondition reports whether an expression of the kind gives a bool.
func (k Kind) isCondition() bool { return k != KindNameFrom && k != KindGroupsFrom }

func kinds() []Kind {
	return []Kind{KindRule, KindMask, KindIdentity, KindNameFrom, KindGroupsFrom}
}

// variable is a variable of the language.
type variable struct {
	name   string
	typ    *cel.Type
	depend Deps
	fields []field
	doc    string
}

func variables() []variable {
	return []variable{
		{name: "identity", typ: cel.ObjectType(identityTypeName), depend: DependsIdentity, fields: identityFields(), doc: "Who asks. A statement of an agent that acts for a person is decided once as each: the stricter decision wins, masks unite."},
		{name: "session", typ: cel.ObjectType(sessionTypeName), depend: DependsSession, fields: sessionFields(), doc: "The client's connection."},
		{name: "statement", typ: cel.ObjectType(statementTypeName), depend: DependsStatement, fields: statementFields(), doc: "What the statement does, with everything nested in it. What an opaque statement does not show is unknown rather than absent: it counts as a match for rules that deny, hold or limit, and as none for rules that allow."},
		{name: "token", typ: cel.MapType(cel.StringType, cel.DynType), depend: DependsToken, doc: "The verified claims of the token. A claim that is absent makes the condition err, which counts as no match: ask `has(token.x)` first where that is not wanted."},
		{name: "now", typ: cel.TimestampType, depend: DependsNow, doc: "The moment of the decision."},
	}
}

// variables lists what an expression of the kind may mention.
func (k Kind) variables() []variable {
	var allowed Deps
	switch k {
	case KindRule:
		allowed = DependsIdentity | DependsSession | DependsStatement | DependsNow
	case KindMask:
		allowed = DependsIdentity | DependsSession | DependsNow
	case KindIdentity:
		allowed = DependsToken | DependsNow
	case KindNameFrom, KindGroupsFrom:
		allowed = DependsToken
	}
	var out []variable
	for _, v := range variables() {
		if allowed.Has(v.depend) {
			out = append(out, v)
		}
	}
	return out
}

// Check returns everything that is wrong with an expression. The problems'
// paths have Offset and Length alone, in bytes of expr: the caller sets Kind,
// Name and Attr.
func Check(kind Kind, expr string) []policylang.Problem {
	if !kind.isCondition() {
		_, problems := CompileExpression(kind, expr)
		return problems
	}
	_, problems := Compile(kind, expr)
	return problems
}

// Condition is a compiled expression of a kind that gives a bool.
type Condition struct {
	conjuncts []*Conjunct
}

// Compile compiles a condition. With any problem that is an error the
// condition is nil. Many are compiled faster by one [Compiler].
func Compile(kind Kind, expr string) (*Condition, []policylang.Problem) {
	return new(Compiler).Compile(kind, expr)
}

// Conjuncts returns what the condition is the conjunction of, at least one.
// The slice must not be changed.
func (c *Condition) Conjuncts() []*Conjunct { return c.conjuncts }

// Eval evaluates the condition. The error is set if and only if the value is
// Error.
func (c *Condition) Eval(in *Input) (Value, error) {
	v, failure := True, error(nil)
	for _, j := range c.conjuncts {
		w, err := j.Eval(in)
		if v = v.And(w); v == False {
			return False, nil
		}
		if failure == nil {
			failure = err
		}
	}
	if v != Error {
		return v, nil
	}
	return Error, failure
}
