package lineage

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// called is the outcome of a call.
type called struct {
	value
	functions []*pgcatalog.Function // that it may mean
	args      []value
	columns   []column // of the rows, if they are known column by column
}

// funcCall follows a call of a function, aggregate or window function.
func (a *analyzer) funcCall(n *ast.FuncCall, s *scope) called {
	name := stringList(n.Funcname)
	if len(name) == 0 {
		a.unsupported(n, "this call")
		return called{}
	}
	if !a.dialect(n, name) {
		return called{}
	}
	args := make([]value, 0, len(n.Args)+len(n.AggOrder))
	for _, arg := range n.Args {
		args = append(args, a.expr(arg, s))
	}
	a.aggregate(n, s)
	if n.AggWithinGroup {
		for _, by := range n.AggOrder {
			if sort, ok := ast.Unwrap(by).(*ast.SortBy); ok {
				v := a.expr(sort.Node, s)
				a.sortOperator(sort, v)
				args = append(args, v)
			}
		}
	}
	a.window(n.Over, s)
	a.lazy(n, args)
	if c, ok := a.projection(n, name, args); ok {
		return c
	}
	if name[len(name)-1] == "set_config" {
		a.setConfig(n)
	}
	return a.call(name, args, n)
}

// aggregate follows what decides which rows an aggregate sees, and in which
// order.
func (a *analyzer) aggregate(n *ast.FuncCall, s *scope) {
	a.predicate(n.AggFilter, s, "FILTER")
	if !n.AggWithinGroup {
		a.sort(n.AggOrder, s, nil, "ORDER BY of an aggregate")
	}
}

// lazy refuses window functions, which evaluate some arguments depending on
// others.
func (a *analyzer) lazy(n *ast.FuncCall, args []value) {
	if n.Over == nil {
		return
	}
	var all value
	for i := range args {
		all = all.with(args[i])
	}
	if all.risky {
		a.control(all.label, useFallible, "an argument of a window function", n.Location)
	}
}

// dialect refuses spellings that the server reads otherwise than the parser
// here does.
func (a *analyzer) dialect(n *ast.FuncCall, name []string) bool {
	if n.Funcformat == coerceSQLSyntax && name[len(name)-1] == "system_user" && a.cat.ServerVersion < 160000 {
		a.refuse(CodeUnsupported, n.Location, `Quote it, as "system_user".`, "system_user means something else to this server")
		return false
	}
	return true
}

// apply follows a function applied to values, without anything that only a
// call's syntax can say.
func (a *analyzer) apply(name []string, args []value, location int32) called {
	return a.call(name, args, &ast.FuncCall{Location: location})
}

// call follows a function by its name: what it does is what the least trusted
// function of that name and number of arguments does, whatever their types.
func (a *analyzer) call(name []string, args []value, n *ast.FuncCall) called {
	functions := a.functionsNamed(name, len(args))
	if len(functions) == 0 {
		a.unknownFunction(name, n.Location)
		return called{}
	}
	var v value
	for i := range args {
		v = v.with(args[i])
	}
	out := called{functions: functions, args: args}
	for _, f := range functions {
		if f.OID >= pgcatalog.FirstUserOID {
			a.functions = append(a.functions, f.OID)
		}
	}
	readable, others := splitReadable(functions)
	what := "function " + strings.Join(name, ".")
	var result value
	if len(others) > 0 {
		result = a.callKnown(others, name, what, args, v, n)
	}
	for i, f := range readable {
		columns, own := a.callSQL(f, args, n, what)
		if i == 0 && len(others) == 0 {
			result, out.columns = own, columns
			continue
		}
		typ := result.typ
		if own.typ != typ {
			typ = 0
		}
		result = value{label: join(result.label, own.label).derive(), typ: typ, risky: true, traits: unclear}
		out.columns = nil
	}
	out.value = result
	return out
}

// callKnown follows a call of functions that are known by what they are, not by
// what they contain. v is made up of the arguments.
func (a *analyzer) callKnown(functions []*pgcatalog.Function, name []string, what string, args []value, v value, n *ast.FuncCall) value {
	var all *verdict
	for _, f := range functions {
		all = all.worse(&verdict{trust: functionTrust(f), result: f.Result, builtin: f.OID < pgcatalog.FirstUserOID})
	}
	bare := name[len(name)-1]
	switch all.trust {
	case opaqueCode:
		a.opaque(n.Location, what)
		return value{label: everything(), risky: true}
	case hiddenCode:
		a.tainted = true
		v.label = everything()
	case definitionCode:
		v.label = join(v.label, definitionText())
	case effectCode, settingCode:
		if !v.label.bottom() && !a.stored {
			a.refuse(CodeLaundering, n.Location, "", "%s and may not be given to %s", a.describe(v.label), what)
		}
		a.risks++
		v.risky = true
	case pureCode:
	}
	if functions[0].Schema == "information_schema" && strings.HasPrefix(bare, "_pg_truetyp") {
		v.label = label{} // of rows of pg_attribute and pg_type it reads types alone
	}
	v.traits = callTraits(bare, all.builtin, v.traits, args, !v.label.bottom())
	v.typ = a.resultType(all.result, functions, args)
	if bare == "count" && all.builtin && a.countAllowed(v.label) {
		v.label = label{}
	}
	if functionSets(functions) {
		a.control(v.label, usePredicate, what+", whose number of rows depends on it", n.Location)
	}
	if all.trust == pureCode && (!all.builtin || !totalFunction(bare, n.Args, args) || !a.totalCall(bare, args, n.AggDistinct, n.AggWithinGroup)) {
		v = a.fallible(v, what, n.Location)
	}
	return v
}

// countAllowed reports whether the policies let values be counted.
func (a *analyzer) countAllowed(l label) bool {
	if l.bottom() || l.all {
		return false
	}
	for _, id := range l.columns {
		if a.prot.entries[id] == nil || a.prot.entries[id].count != policylang.KnobAllow {
			return false
		}
	}
	return true
}

// resultType returns the type of a call's result, if it is certain. Polymorphic
// functions whose result has the type of their argument return that.
func (a *analyzer) resultType(declared uint32, functions []*pgcatalog.Function, args []value) uint32 {
	t := a.cat.Type(declared)
	switch {
	case t == nil:
		return a.resultByArguments(functions, args)
	case t.Kind != pgcatalog.TypePseudo || declared == typeRecord:
		return declared
	case declared == typeAnyElement && len(functions) == 1 && len(args) > 0 && slices.Equal(functions[0].Arguments[:1], []uint32{typeAnyElement}):
		if args[0].typ != typeUnknown {
			return args[0].typ
		}
	}
	return 0
}

// resultByArguments looks for the one function whose arguments have exactly
// the types given.
func (a *analyzer) resultByArguments(functions []*pgcatalog.Function, args []value) uint32 {
	for _, f := range functions {
		if len(f.Arguments) != len(args) {
			continue
		}
		same := true
		for i := range args {
			same = same && f.Arguments[i] == args[i].typ
		}
		if same {
			return f.Result
		}
	}
	return 0
}

func functionSets(functions []*pgcatalog.Function) bool {
	return slices.ContainsFunc(functions, func(f *pgcatalog.Function) bool { return f.SetOf })
}

// functionsNamed lists every function that a call by this name with n
// arguments may mean.
func (a *analyzer) functionsNamed(name []string, n int) []*pgcatalog.Function {
	var found []*pgcatalog.Function
	switch len(name) {
	case 1:
		found = a.cat.FindFunctions(a.env.SearchPath, name[0])
	case 2:
		found = a.cat.FunctionsNamed(a.schemaName(name[0]), name[1])
	case 3:
		if name[0] == a.env.Database {
			found = a.cat.FunctionsNamed(a.schemaName(name[1]), name[2])
		}
	}
	accepts := func(f *pgcatalog.Function) bool { return f.Kind != pgcatalog.FunctionProcedure && f.Accepts(n) }
	for _, f := range found {
		if !accepts(f) {
			return slices.DeleteFunc(slices.Clone(found), func(f *pgcatalog.Function) bool { return !accepts(f) })
		}
	}
	return found
}

func (a *analyzer) unknownFunction(name []string, location int32) {
	if a.env.SearchPath == nil && len(name) == 1 {
		a.unknownPath(location, name[0])
		return
	}
	a.undefined(undefinedFunction, location, "Check its name, its arguments and the search_path.", "function %s does not exist", strings.Join(name, "."))
}

// projection follows a field of a row in functional notation: name(row) means
// row.name if no function of that name takes a row.
func (a *analyzer) projection(n *ast.FuncCall, name []string, args []value) (called, bool) {
	if len(name) != 1 || len(args) != 1 || n.AggStar || n.AggDistinct || n.FuncVariadic ||
		n.AggFilter != nil || len(n.AggOrder) > 0 || n.Over != nil {
		return called{}, false
	}
	fields := a.fieldsOf(args[0])
	if !slices.ContainsFunc(fields, func(f column) bool { return f.name == name[0] }) || slices.ContainsFunc(a.functionsNamed(name, 1), a.takesRow) {
		return called{}, false
	}
	return called{value: a.selectField(args[0], name[0], n.Location)}, true
}

// takesRow reports whether a function's only argument may be a row.
func (a *analyzer) takesRow(f *pgcatalog.Function) bool {
	if len(f.Arguments) == 0 {
		return true
	}
	t := a.cat.Type(a.cat.BaseType(f.Arguments[0]))
	return t == nil || t.Kind == pgcatalog.TypePseudo || t.Kind == pgcatalog.TypeComposite
}

// setConfig follows set_config, which may set what SET may. A search_path set
// in the middle of a statement would change what the code of its functions
// means.
func (a *analyzer) setConfig(n *ast.FuncCall) {
	if a.stored || len(n.Args) == 0 {
		return
	}
	name, ok := literal(n.Args[0])
	value := "\x00" // none that a parameter could be allowed for
	if len(n.Args) > 1 {
		if v, constant := literal(n.Args[1]); constant {
			value = v
		}
	}
	name = strings.ToLower(name)
	if ok && name != "search_path" && name != statement.ReasonParameter && statement.MaySet(name, value) {
		return
	}
	a.refuse(CodeServer, n.Location, "Use SET.", "set_config may not change this setting while values are masked for you")
}
