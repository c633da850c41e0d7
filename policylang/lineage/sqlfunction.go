package lineage

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// body is where in SQL functions the analysis is. The zero body is outside of
// any.
type body struct {
	name  string   // of the innermost function
	calls []uint32 // OIDs of the functions, outermost first
	site  int32    // of the call in the statement's own text
}

// maxCalls bounds SQL functions that call SQL functions.
const maxCalls = 16

// splitReadable tells functions whose bodies can be read from the others.
func splitReadable(functions []*pgcatalog.Function) (readable, others []*pgcatalog.Function) {
	if !slices.ContainsFunc(functions, isReadable) {
		return nil, functions
	}
	for _, f := range functions {
		if isReadable(f) {
			readable = append(readable, f)
		} else {
			others = append(others, f)
		}
	}
	return readable, others
}

// isReadable reports whether a function is written in SQL, by a user or an
// extension.
func isReadable(f *pgcatalog.Function) bool {
	return f.OID >= pgcatalog.FirstUserOID && f.Kind == pgcatalog.FunctionPlain && f.Language == "sql" && f.Source != ""
}

// callSQL follows a call into the body of a function written in SQL, as if its
// statements stood where the call does. It returns the columns of the rows and
// the value of the call.
func (a *analyzer) callSQL(f *pgcatalog.Function, args []value, n *ast.FuncCall, what string) ([]column, value) {
	a.risks++
	hidden := value{label: everything(), risky: true, typ: f.Result}
	env, ok := a.bodyPath(f)
	if !ok || len(a.body.calls) >= maxCalls || slices.Contains(a.body.calls, f.OID) || !a.enter() {
		a.opaque(n.Location, what)
		return nil, hidden
	}
	defer a.leave()
	nodes := a.prot.parsedBody(f)
	params, ok := a.parameters(f, args, n)
	if nodes == nil || !ok {
		a.opaque(n.Location, what)
		return nil, hidden
	}
	was, outside := a.body, a.env
	defer func() { a.body, a.env = was, outside }()
	if len(was.calls) == 0 {
		a.body.site = n.Location
	}
	a.body.calls = append(slices.Clone(was.calls), f.OID)
	a.body.name, a.env = f.Name, env
	var columns []column
	for _, node := range nodes {
		columns = a.bodyStatement(node, &scope{params: params}, what)
	}
	if a.refusal != nil {
		return nil, hidden
	}
	return a.bodyResult(f, columns)
}

// bodyStatement follows a statement of a body, which must be of the kind that
// the rest of this package understands in any context.
func (a *analyzer) bodyStatement(node *ast.Node, s *scope, what string) []column {
	switch ast.Unwrap(node).(type) {
	case *ast.SelectStmt, *ast.InsertStmt, *ast.UpdateStmt, *ast.DeleteStmt, *ast.MergeStmt:
		return a.query(node, s, nil)
	}
	a.opaque(a.body.site, what)
	return nil
}

// bodyResult turns the columns of a body's last statement into the value of the
// call: one value, or a row.
func (a *analyzer) bodyResult(f *pgcatalog.Function, columns []column) ([]column, value) {
	v := value{typ: f.Result, risky: true, label: labels(columns).derive(), traits: unclear}
	if len(columns) != 1 {
		v.fields = a.resultFields(f, columns)
		return columns, v
	}
	if only := columns[0].value(); only.fields != nil {
		v.fields = a.resultFields(f, only.fields)
		return only.fields, v
	}
	if sameText(columns[0].typ, f.Result) {
		v.label, v.traits = columns[0].label, columns[0].traits
	}
	return columns, v
}

// sameText reports whether a value of one type is returned as the other
// unchanged.
func sameText(from, to uint32) bool {
	plain := func(t uint32) bool { return t == typeText || t == typeVarchar }
	return from != 0 && (from == to || (plain(from) && plain(to)))
}

// resultFields names the columns of a row that a function returns.
func (a *analyzer) resultFields(f *pgcatalog.Function, columns []column) []column {
	var named []column
	for i, o := range f.Outputs {
		named = append(named, column{name: outputName(o, i), typ: o.Type})
	}
	if named == nil {
		named = a.fieldsOf(value{typ: f.Result})
	}
	if len(named) != len(columns) {
		return nil
	}
	for i := range named {
		named[i].label, named[i].traits = columns[i].label, columns[i].traits
	}
	return named
}

// parameters gives the arguments of a call to the parameters of a function.
func (a *analyzer) parameters(f *pgcatalog.Function, args []value, n *ast.FuncCall) ([]column, bool) {
	params := make([]column, len(f.Arguments))
	for i, typ := range f.Arguments {
		params[i].typ = typ
		params[i].traits = traits{collation: mixedCollation, size: unbounded}
		if i < len(f.Names) {
			params[i].name = f.Names[i]
		}
	}
	if len(args) < len(params) && !f.Variadic && !a.defaultsHarmless(f) {
		return nil, false
	}
	if f.Variadic || slices.ContainsFunc(n.Args, isNamed) {
		var l label // any argument may be any parameter
		for i := range args {
			l = join(l, args[i].label).derive()
		}
		for i := range params {
			params[i].label = l
		}
		return params, true
	}
	for i := range min(len(args), len(params)) {
		p := &params[i]
		p.label, p.fields, p.traits = args[i].label, args[i].fields, args[i].traits
		if t := a.cat.Type(p.typ); t != nil && t.Kind == pgcatalog.TypePseudo {
			p.typ = args[i].typ
		} else if !sameText(args[i].typ, p.typ) {
			p.label = p.label.derive()
		}
	}
	return params, true
}

func isNamed(n *ast.Node) bool {
	_, ok := ast.Unwrap(n).(*ast.NamedArgExpr)
	return ok
}

// defaultsHarmless reports whether the defaults of a function's parameters come
// from nothing protected and run nothing opaque.
func (a *analyzer) defaultsHarmless(f *pgcatalog.Function) bool {
	if f.Defaults == 0 {
		return true
	}
	b := a.prot.storedAnalyzer(a.building)
	v := b.storedExpression("ROW("+f.Values+")", nil)
	return b.refusal == nil && !b.tainted && v.label.bottom()
}

// bodyPath is what names in a function's body are looked up in: a body that the
// server stores parsed is printed with every name qualified, one stored as text
// is read again each time, under the function's own search_path or the caller's.
func (a *analyzer) bodyPath(f *pgcatalog.Function) (Environment, bool) {
	env := a.env
	switch {
	case isParsedBody(f.Source):
		env.SearchPath = storedPath
	case f.Path != "":
		path, ok := a.settingPath(f.Path)
		if !ok {
			return env, false
		}
		env.SearchPath = path
	case a.stored:
		return env, false // whoever reads the view brings the search_path
	}
	return env, true
}

// isParsedBody reports whether a source is a body of standard SQL.
func isParsedBody(source string) bool {
	return strings.HasPrefix(source, "RETURN ") || strings.HasPrefix(source, "BEGIN ATOMIC")
}

// settingPath turns the value of a search_path setting into the schemas that
// are searched.
func (a *analyzer) settingPath(setting string) ([]string, bool) {
	var path []string
	for _, part := range strings.Split(setting, ",") {
		name := strings.TrimSpace(part)
		if quoted, ok := strings.CutPrefix(name, `"`); ok {
			name = strings.TrimSuffix(quoted, `"`)
		}
		switch {
		case strings.ContainsAny(name, `"$`):
			return nil, false
		case name == "pg_temp":
			name, _ = a.temporarySchema()
		}
		if name != "" && a.cat.HasSchema(name) {
			path = append(path, name)
		}
	}
	if !slices.Contains(path, "pg_catalog") {
		path = append([]string{"pg_catalog"}, path...)
	}
	if temporary, ok := a.temporarySchema(); ok && !slices.Contains(path, temporary) {
		path = append([]string{temporary}, path...)
	}
	return path, true
}

// parsedBody returns the statements of a function written in SQL; nil if they
// cannot be read.
func (p *Protection) parsedBody(f *pgcatalog.Function) []*ast.Node {
	if known, ok := p.bodies.Load(f.OID); ok {
		nodes, _ := known.([]*ast.Node)
		return nodes
	}
	nodes := readBody(f.Source)
	p.bodies.Store(f.OID, nodes)
	return nodes
}

func readBody(source string) []*ast.Node {
	if isParsedBody(source) {
		return readParsedBody(source)
	}
	tree, err := statement.Parse(source, statement.Limits{})
	if err != nil {
		return nil
	}
	nodes := make([]*ast.Node, len(tree.Statements))
	for i := range tree.Statements {
		nodes[i] = tree.Statements[i].Node()
	}
	return nodes
}

// readParsedBody reads RETURN … and BEGIN ATOMIC …, which stand in CREATE
// FUNCTION only.
func readParsedBody(source string) []*ast.Node {
	if expression, ok := strings.CutPrefix(source, "RETURN "); ok {
		return readBody("SELECT " + expression)
	}
	tree, err := statement.Parse("CREATE FUNCTION f() RETURNS void "+source, statement.Limits{})
	if err != nil || len(tree.Statements) != 1 {
		return nil
	}
	create, ok := ast.Unwrap(tree.Statements[0].Node()).(*ast.CreateFunctionStmt)
	if !ok {
		return nil
	}
	return flatten(create.SqlBody, nil)
}

// flatten lists the statements of nested lists.
func flatten(n *ast.Node, into []*ast.Node) []*ast.Node {
	list, ok := ast.Unwrap(n).(*ast.List)
	if !ok {
		return append(into, n)
	}
	for _, item := range list.Items {
		into = flatten(item, into)
	}
	return into
}
