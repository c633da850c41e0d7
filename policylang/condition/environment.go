package condition

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/google/cel-go/cel"
	celenv "github.com/google/cel-go/common/env"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/posternhq/postern/policylang"
)

// environment is what one kind of expression is checked in and run with.
type environment struct {
	kind      Kind
	variables []variable
	members   []member
	clocks    []clock
	cel       *cel.Env
	costs     *estimator
}

// environments gives the environment of each kind. They are made once, on
// first use, and never change.
var environments = sync.OnceValue(func() map[Kind]*environment {
	out := make(map[Kind]*environment)
	for _, k := range kinds() {
		e, err := newEnvironment(k)
		if err != nil {
			panic(fmt.Sprintf("make condition environment: %v", err)) // the declarations are ours and tested
		}
		out[k] = e
	}
	return out
})

func newEnvironment(k Kind) (*environment, error) {
	p, err := newProvider()
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(celenv.NewLibrarySubset().AddExcludedFunctions(celenv.NewFunction("size"), celenv.NewFunction("dyn"), celenv.NewFunction("type")))),
		cel.CustomTypeProvider(p),
		cel.CustomTypeAdapter(p),
		cel.EnableMacroCallTracking(),
		cel.EnableHiddenAccumulatorName(true),
		cel.HomogeneousAggregateLiterals(),
		cel.DefaultUTCTimeZone(true),
		cel.ParserRecursionLimit(maxNesting),
		cel.ParserErrorRecoveryLimit(maxRecoveries),
		cel.ParserExpressionSizeLimit(MaxLength),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ClearMacros(),
		cel.Macros(cel.HasMacro, cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro, cel.MapMacro, cel.MapFilterMacro, cel.FilterMacro),
	}
	for _, v := range k.variables() {
		options = append(options, cel.Variable(v.name, v.typ))
	}
	options = append(options, sizeFunction(), cidrFunction(), lowerFunction(), globFunction())
	options = append(options, clockFunctions()...)
	options = append(options, memberFunctions()...)
	env, err := cel.NewCustomEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("make %s environment: %w", k, err)
	}
	return &environment{kind: k, variables: k.variables(), members: members(), clocks: clocks(), cel: env, costs: newEstimator()}, nil
}

// sizeFunction is CEL's size, which for a list not known in full is unknown.
func sizeFunction() cel.EnvOption {
	a, k, v := cel.TypeParamType("A"), cel.TypeParamType("K"), cel.TypeParamType("V")
	var options []cel.FunctionOpt
	for _, o := range []struct {
		name string
		typ  *cel.Type
	}{
		{"bytes", cel.BytesType},
		{"list", cel.ListType(a)},
		{"map", cel.MapType(k, v)},
		{"string", cel.StringType},
	} {
		options = append(options,
			cel.Overload("size_"+o.name, []*cel.Type{o.typ}, cel.IntType, cel.UnaryBinding(sizeOf)),
			cel.MemberOverload(o.name+"_size", []*cel.Type{o.typ}, cel.IntType, cel.UnaryBinding(sizeOf)))
	}
	return cel.Function("size", options...)
}

func sizeOf(v ref.Val) ref.Val {
	switch v := v.(type) {
	case openList:
		return unknownVal()
	case traits.Sizer:
		return v.Size()
	}
	return types.MaybeNoSuchOverloadErr(v)
}

func cidrFunction() cel.EnvOption {
	return cel.Function("in_cidr", cel.MemberOverload("string_in_cidr",
		[]*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
		cel.BinaryBinding(func(addr, network ref.Val) ref.Val {
			a, err := netip.ParseAddr(nativeString(addr))
			if err != nil {
				return types.NewErr("not an address")
			}
			n, err := parseCIDR(nativeString(network))
			if err != nil {
				return types.NewErr("not a network")
			}
			return types.Bool(inCIDR(a, n))
		})))
}

func lowerFunction() cel.EnvOption {
	return cel.Function("lower", cel.MemberOverload("string_lower",
		[]*cel.Type{cel.StringType}, cel.StringType,
		cel.UnaryBinding(func(s ref.Val) ref.Val { return types.String(lower(nativeString(s))) })))
}

func globFunction() cel.EnvOption {
	return cel.Function("glob", cel.MemberOverload("string_glob",
		[]*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
		cel.BinaryBinding(func(s, pattern ref.Val) ref.Val {
			if err := parseGlobText(nativeString(pattern)); err != nil {
				return types.NewErr("not a glob")
			}
			return types.Bool(matchText(nativeString(pattern), nativeString(s)))
		})))
}

// lower folds the ASCII letters, as PostgreSQL folds names.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}

func clockFunctions() []cel.EnvOption {
	var options []cel.EnvOption
	for _, c := range clocks() {
		result := cel.IntType
		if c.text != nil {
			result = cel.StringType
		}
		options = append(options, cel.Function(c.name, cel.MemberOverload("timestamp_"+c.name,
			[]*cel.Type{cel.TimestampType, cel.StringType}, result,
			cel.BinaryBinding(func(moment, zone ref.Val) ref.Val { return readClock(c, moment, nativeString(zone)) }))))
	}
	return options
}

func readClock(c clock, moment ref.Val, zone string) ref.Val {
	at, ok := moment.(types.Timestamp)
	if !ok {
		return types.MaybeNoSuchOverloadErr(moment)
	}
	location, err := loadZone(zone)
	if err != nil {
		return types.NewErr("not a time zone")
	}
	local := at.In(location)
	if c.text != nil {
		return types.String(c.text(local))
	}
	return types.Int(c.number(local))
}

// member is a function of one of our variables that takes one string.
type member struct {
	name     string
	receiver string // the type's name
	parts    int    // of the glob; 0 if the argument is none
	argument string // its name in the docs
	doc      string
	example  string
	call     func(f *Input, arg string, g policylang.Glob) Value
	needs    func(*Input) bool
}

func memberFunctions() []cel.EnvOption {
	var options []cel.EnvOption
	for _, m := range members() {
		options = append(options, cel.Function(m.name, cel.MemberOverload(m.overload(),
			[]*cel.Type{cel.ObjectType(m.receiver), cel.StringType}, cel.BoolType,
			cel.BinaryBinding(m.invoke))))
	}
	return options
}

func (m member) overload() string { return lower(m.receiver[len("postern."):]) + "_" + m.name }

func (m member) invoke(receiver, argument ref.Val) ref.Val {
	in, ok := receiver.Value().(*Input)
	if !ok || !m.needs(in) {
		return unknownVal()
	}
	arg := nativeString(argument)
	var g policylang.Glob
	if m.parts > 0 {
		var err error
		if g, err = policylang.ParseGlob(arg, m.parts); err != nil {
			return types.NewErr("not a glob")
		}
	}
	return toCEL(m.call(in, arg, g))
}

// members are the functions of our variables.
func members() []member {
	statement := func(in *Input) bool { return in.Facts != nil }
	identity := func(in *Input) bool { return in.Subject != nil }
	return []member{
		{
			name: "reads", receiver: statementTypeName, parts: nameParts, argument: "glob", example: `statement.reads("public.*")`, needs: statement,
			doc:  "Whether the statement reads a relation that the glob matches.",
			call: func(in *Input, _ string, g policylang.Glob) Value { return anyRelation(in.Facts, readVerbs(), g) },
		},
		{
			name: "writes_to", receiver: statementTypeName, parts: nameParts, argument: "glob", example: `statement.writes_to("public.orders")`, needs: statement,
			doc:  "Whether the statement changes the rows, the definition or the privileges of a relation that the glob matches: every verb but `read`, `lock` and `maintain`.",
			call: func(in *Input, _ string, g policylang.Glob) Value { return anyRelation(in.Facts, writeVerbs(), g) },
		},
		{
			name: "calls", receiver: statementTypeName, parts: nameParts, argument: "glob", example: `statement.calls("pg_catalog.pg_read_*")`, needs: statement,
			doc:  "Whether the statement calls a function that the glob matches.",
			call: func(in *Input, _ string, g policylang.Glob) Value { return anyFunction(in.Facts, g) },
		},
		{
			name: "touches", receiver: statementTypeName, parts: columnParts, argument: "glob", example: `statement.touches("public.customers.email")`, needs: statement,
			doc:  "Whether the statement reads or writes a column that the glob matches.",
			call: func(in *Input, _ string, g policylang.Glob) Value { return anyColumn(in.Facts, g) },
		},
		{
			name: "within", receiver: statementTypeName, parts: nameParts, argument: "glob", example: `statement.within("reporting.*")`, needs: statement,
			doc:  "Whether the glob matches every relation that the statement mentions. In a rule that allows it is the safe form of `reads` and `writes_to`, which one relation is enough for.",
			call: func(in *Input, _ string, g policylang.Glob) Value { return allRelations(in.Facts, g) },
		},
		{
			name: "in_group", receiver: identityTypeName, argument: "group", example: `identity.in_group("dba")`, needs: identity,
			doc: "Whether the subject is a member of the group; the same as `\"dba\" in identity.groups`.",
			call: func(in *Input, group string, _ policylang.Glob) Value {
				return list{items: in.Subject.Groups}.has(group)
			},
		},
	}
}

func nativeString(v ref.Val) string {
	s, _ := v.(types.String)
	return string(s)
}

// activation resolves our variables for CEL.
type activation struct{ in *Input }

// ResolveName returns the variable.
func (a activation) ResolveName(name string) (any, bool) {
	switch name {
	case "identity":
		return object{typ: types.NewObjectType(identityTypeName), native: a.in}, true
	case "session":
		return object{typ: types.NewObjectType(sessionTypeName), native: a.in}, true
	case "statement":
		return object{typ: types.NewObjectType(statementTypeName), native: a.in}, true
	case "token":
		return a.in.Token, true
	case "now":
		return timestamp(a.in.Now), true
	}
	return nil, false
}

// Parent returns nil: there is no outer scope.
func (activation) Parent() cel.Activation { return nil }
