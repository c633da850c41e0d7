package scenario

import (
	"crypto/md5" //nolint:gosec // pg_proc.prosrc is identified by md5 in the catalog; nothing rests on it here
	"encoding/hex"
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

func (r *schemaReader) createFunction(n *ast.CreateFunctionStmt) {
	schema, name := r.newName(r.splitName(nameParts(n.GetFuncname())))
	f := &pgcatalog.Function{
		OID: r.oid(), Schema: schema, Name: name, Kind: pgcatalog.FunctionPlain, Volatility: pgcatalog.Volatile,
		Language: "sql", SetOf: n.GetReturnType().GetSetof(),
	}
	if n.GetIsProcedure() {
		f.Kind = pgcatalog.FunctionProcedure
	}
	for _, node := range n.GetParameters() {
		if p, ok := ast.Unwrap(node).(*ast.FunctionParameter); ok {
			r.parameter(f, p)
		}
	}
	if f.Defaults > 0 {
		f.Values = r.defaultTexts(n)
	}
	r.result(f, n)
	source := ""
	for _, node := range n.GetOptions() {
		if o, ok := ast.Unwrap(node).(*ast.DefElem); ok {
			r.functionOption(f, o, &source)
		}
	}
	if n.GetSqlBody() != nil {
		source = r.sqlBody(n)
	}
	sum := md5.Sum([]byte(source)) //nolint:gosec // see the import
	f.SourceHash = hex.EncodeToString(sum[:])
	if f.Language == "sql" || f.Language == "plpgsql" && f.Result == r.findType("pg_catalog", "trigger").OID {
		f.Source = source
	}
	if n.GetReplace() {
		r.functions = slices.DeleteFunc(r.functions, func(o *pgcatalog.Function) bool {
			return o.Schema == f.Schema && o.Name == f.Name && slices.Equal(o.Arguments, f.Arguments)
		})
	}
	r.functions = append(r.functions, f)
}

func (r *schemaReader) parameter(f *pgcatalog.Function, p *ast.FunctionParameter) {
	typ, _ := r.typeOf(p.GetArgType())
	input, output := true, false
	switch p.GetMode() {
	case ast.FunctionParameterMode_FUNC_PARAM_OUT, ast.FunctionParameterMode_FUNC_PARAM_TABLE:
		input, output = false, true
	case ast.FunctionParameterMode_FUNC_PARAM_INOUT:
		output = true
	case ast.FunctionParameterMode_FUNC_PARAM_VARIADIC:
		f.Variadic = true
	}
	if p.GetMode() == ast.FunctionParameterMode_FUNC_PARAM_TABLE {
		f.SetOf = true
	}
	if output {
		f.Outputs = append(f.Outputs, pgcatalog.Parameter{Name: p.GetName(), Type: typ})
	}
	if !input {
		return
	}
	f.Arguments = append(f.Arguments, typ)
	f.Names = append(f.Names, p.GetName())
	if p.GetDefexpr() != nil {
		f.Defaults++
	}
}

// result sets the type that a function returns.
func (r *schemaReader) result(f *pgcatalog.Function, n *ast.CreateFunctionStmt) {
	server := func(name string) uint32 { return r.findType("pg_catalog", name).OID }
	switch {
	case len(f.Outputs) > 1, len(f.Outputs) == 1 && n.GetIsProcedure():
		f.Result = server("record")
	case len(f.Outputs) == 1:
		f.Result = f.Outputs[0].Type
	case n.GetReturnType() != nil:
		f.Result, _ = r.typeOf(n.GetReturnType())
	default:
		f.Result = server("void")
	}
	if !slices.ContainsFunc(f.Names, func(name string) bool { return name != "" }) {
		f.Names = nil
	}
}

func (r *schemaReader) functionOption(f *pgcatalog.Function, o *ast.DefElem, source *string) {
	arg := ast.Unwrap(o.GetArg())
	text := ""
	if s, ok := arg.(*ast.String); ok {
		text = s.GetSval()
	}
	on := false
	if b, ok := arg.(*ast.Boolean); ok {
		on = b.GetBoolval()
	}
	switch o.GetDefname() {
	case "language":
		f.Language = text
	case "volatility":
		f.Volatility = map[string]pgcatalog.Volatility{"immutable": pgcatalog.Immutable, "stable": pgcatalog.Stable}[text]
		if f.Volatility == 0 {
			f.Volatility = pgcatalog.Volatile
		}
	case "security":
		f.Definer = on
	case "leakproof":
		f.Leakproof = on
	case "window":
		f.Kind = pgcatalog.FunctionWindow
	case "as":
		if l, ok := arg.(*ast.List); ok && len(l.GetItems()) > 0 {
			*source = nameParts(l.GetItems())[0]
		}
	case "set":
		r.functionPath(f, arg)
	}
}

// functionPath reads SET search_path of a function.
func (r *schemaReader) functionPath(f *pgcatalog.Function, arg any) {
	set, ok := arg.(*ast.VariableSetStmt)
	if !ok || set.GetName() != "search_path" {
		return
	}
	for i, node := range set.GetArgs() {
		if i > 0 {
			f.Path += ", "
		}
		if c, ok := ast.Unwrap(node).(*ast.A_Const); ok {
			f.Path += quoteIdentifier(c.GetSval().GetSval())
		}
	}
}

// sqlBody is the text of a body in SQL-standard form, RETURN or BEGIN ATOMIC,
// which PostgreSQL stores parsed and prints with its names qualified.
func (r *schemaReader) sqlBody(n *ast.CreateFunctionStmt) string {
	keyword, i := "BEGIN ATOMIC", atomicBody(r.tokens)
	if i < 0 {
		keyword, i = "RETURN", lastWord(r.tokens, "return")
	}
	if i <= 0 {
		r.problem(-1, "the function's body cannot be read")
		return ""
	}
	return keyword + " " + splice(r.sql, r.tokens[i].end, r.current.Offset+len(r.current.Text), r.qualify(ast.Unwrap(n.GetSqlBody())))
}

// atomicBody returns the index of ATOMIC where a body starts, or -1: a function
// may have the word for its name.
func atomicBody(ts []token) int {
	for i := 1; i < len(ts); i++ {
		if ts[i].text == "atomic" && ts[i-1].text == "begin" && ts[i].depth == 0 {
			return i
		}
	}
	return -1
}

// defaultTexts are the defaults of a function's parameters, in their order:
// what stands behind DEFAULT or = in each.
func (r *schemaReader) defaultTexts(n *ast.CreateFunctionStmt) string {
	open := find(r.tokens, 0, 0, "(")
	_, end, ok := brackets(r.tokens, open)
	if !ok {
		return ""
	}
	insertions := r.qualify(n)
	var texts []string
	from := -1
	for _, t := range r.tokens[open+1:] {
		last := t.start >= end
		switch {
		case from >= 0 && (last || t.depth == 1 && t.text == ","):
			texts = append(texts, splice(r.sql, from, t.start, insertions))
			from = -1
		case from < 0 && t.depth == 1 && (t.text == "default" || t.text == "="):
			from = t.end
		}
		if last {
			break
		}
	}
	return strings.Join(texts, ", ")
}

func (r *schemaReader) createTrigger(n *ast.CreateTrigStmt) {
	rel := r.relation(n.GetRelation())
	schema, name := r.splitName(nameParts(n.GetFuncname()))
	f := r.findFunction(schema, name)
	if f == nil {
		r.problem(-1, "there is no function %q", dotted(schema, name))
	}
	if rel == nil || f == nil {
		return
	}
	bits := int16(n.GetTiming() | n.GetEvents())
	if n.GetRow() {
		bits |= pgcatalog.TriggerRow
	}
	rel.Triggers = append(rel.Triggers, pgcatalog.Trigger{Name: n.GetTrigname(), Function: f.OID, Bits: bits})
}

func (r *schemaReader) createRule(n *ast.RuleStmt) {
	rel := r.relation(n.GetRelation())
	if rel == nil {
		return
	}
	event := map[ast.CmdType]policylang.Verb{
		ast.CmdType_CMD_SELECT: policylang.VerbRead,
		ast.CmdType_CMD_INSERT: policylang.VerbInsert,
		ast.CmdType_CMD_UPDATE: policylang.VerbUpdate,
		ast.CmdType_CMD_DELETE: policylang.VerbDelete,
	}[n.GetEvent()]
	definition := splice(r.sql, r.current.Offset, r.current.Offset+len(r.current.Text), r.qualify(n))
	rel.Rules = append(rel.Rules, pgcatalog.Rule{Name: n.GetRulename(), Event: event, Instead: n.GetInstead(), Definition: definition})
}

func (r *schemaReader) createPolicy(n *ast.CreatePolicyStmt) {
	rel := r.relation(n.GetTable())
	if rel == nil {
		return
	}
	policy := pgcatalog.RowPolicy{Name: n.GetPolicyName()}
	if n.GetQual() != nil {
		policy.Using = r.bracketed(0, n.GetQual(), "using")
	}
	if n.GetWithCheck() != nil {
		policy.Check = r.bracketed(0, n.GetWithCheck(), "check")
	}
	rel.RowPolicies = append(rel.RowPolicies, policy)
}
