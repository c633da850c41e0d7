package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// The bounds of a schema file.
const (
	maxSchemaBytes      = 16 << 20
	maxSchemaStatements = 20_000
)

// ReadSchema reads a schema file, DDL as `pg_dump --schema-only` writes it or as
// people do, into the catalog of a database that has what the file creates and
// nothing else. It understands schemas, tables with their constraints,
// inheritance and partitions, views, sequences, enumerations, domains, composite
// types, functions, indexes, triggers, rules and row policies; it skips what
// changes no catalog that matters here (grants, comments, owners, extensions,
// settings but for search_path, rows); and everything else is a problem, since
// a test against a schema that is not the real one shows nothing.
func ReadSchema(filename, sql string, base *pgcatalog.Catalog) (*pgcatalog.Catalog, []policylang.Problem) {
	sql = withoutMetaCommands(sql)
	tree, err := statement.Parse(sql, statement.Limits{MaxBytes: maxSchemaBytes, MaxStatements: maxSchemaStatements})
	if err != nil {
		return nil, []policylang.Problem{schemaSyntax(filename, sql, err)}
	}
	r := newSchemaReader(filename, tree, base)
	for i := range tree.Statements {
		r.statement(&tree.Statements[i])
	}
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return r.catalog(), nil
}

// withoutMetaCommands blanks lines that psql would take for itself.
func withoutMetaCommands(sql string) string {
	if !strings.Contains(sql, "\n\\") && !strings.HasPrefix(sql, "\\") {
		return sql
	}
	inside := map[int]bool{} // starts of lines that lie within a token
	for _, t := range tokens(sql) {
		for i := t.start; i < t.end; i++ {
			if sql[i] == '\n' {
				inside[i+1] = true
			}
		}
	}
	out := []byte(sql)
	for start := 0; start < len(sql); {
		end := indexFrom(sql, start, "\n")
		if sql[start] == '\\' && !inside[start] {
			for i := start; i < end; i++ {
				if out[i] != '\n' {
					out[i] = ' '
				}
			}
		}
		start = end
	}
	return string(out)
}

func schemaSyntax(filename, sql string, err error) policylang.Problem {
	p := policylang.Problem{File: filename, Summary: err.Error()}
	var syntax *statement.Error
	if errors.As(err, &syntax) && syntax.Position > 0 {
		offset := 0
		for range syntax.Position - 1 {
			_, n := utf8.DecodeRuneInString(sql[offset:])
			offset += n
		}
		p.Line, p.Col = lineAndColumn(sql, offset)
		p.EndLine, p.EndCol = p.Line, p.Col
	}
	if strings.Contains(sql, "FROM stdin") {
		p.Advice = "Rows do not belong in a schema file: write it with pg_dump --schema-only."
	}
	return p
}

// lineAndColumn counts both from 1, columns in characters.
func lineAndColumn(sql string, offset int) (line, col int) {
	before := sql[:min(max(offset, 0), len(sql))]
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// firstOID is the OID of the first object of a schema file.
const firstOID = pgcatalog.FirstUserOID + 1

// schemaReader gathers the objects of a schema file. Objects refer to others
// that stand before them, or in the server's own catalog.
type schemaReader struct {
	filename string
	sql      string
	base     *pgcatalog.Catalog
	nextOID  uint32
	path     []string // search_path of the file

	schemas   map[string]bool
	relations []*pgcatalog.Relation
	types     []*pgcatalog.Type
	functions []*pgcatalog.Function

	current  *statement.Statement
	tokens   []token // of the current statement, with offsets into sql
	problems []policylang.Problem
}

func newSchemaReader(filename string, tree *statement.Tree, base *pgcatalog.Catalog) *schemaReader {
	return &schemaReader{
		filename: filename, sql: tree.SQL, base: base, nextOID: firstOID,
		path: []string{"public"}, schemas: map[string]bool{},
	}
}

func (r *schemaReader) oid() uint32 {
	r.nextOID++
	return r.nextOID - 1
}

// problem reports that the current statement cannot be read. An offset below 0
// is its start.
func (r *schemaReader) problem(offset int32, format string, args ...any) {
	at := int(offset)
	if offset < 0 {
		at = r.current.Offset
	}
	p := policylang.Problem{File: r.filename, Summary: fmt.Sprintf(format, args...)}
	p.Line, p.Col = lineAndColumn(r.sql, at)
	p.EndLine, p.EndCol = p.Line, p.Col+1
	r.problems = append(r.problems, p)
}

// catalog returns the catalog of what was read so far.
func (r *schemaReader) catalog() *pgcatalog.Catalog { return r.catalogWith(r.functions) }

// namingCatalog is a catalog to find out what the columns of a query are
// called, for which it does not matter what functions do: they pass for ones
// that only compute.
func (r *schemaReader) namingCatalog() *pgcatalog.Catalog {
	functions := make([]*pgcatalog.Function, len(r.functions))
	for i, f := range r.functions {
		harmless := *f
		harmless.Extension, harmless.Language, harmless.Volatility = "citext", "c", pgcatalog.Immutable
		functions[i] = &harmless
	}
	return r.catalogWith(functions)
}

func (r *schemaReader) catalogWith(functions []*pgcatalog.Function) *pgcatalog.Catalog {
	b := r.base.Edit()
	for name := range r.schemas {
		b.AddSchema(r.oid(), name)
	}
	for _, t := range r.types {
		b.AddType(*t)
	}
	for _, f := range functions {
		b.AddFunction(*f)
	}
	for _, rel := range r.relations {
		b.AddRelation(*rel)
	}
	return b.Build(0)
}

// statement reads one statement of the file.
func (r *schemaReader) statement(st *statement.Statement) {
	r.current = st
	r.tokens = tokens(st.Text)
	for i := range r.tokens {
		r.tokens[i].start += st.Offset
		r.tokens[i].end += st.Offset
	}
	before := len(r.problems)
	r.node(ast.Unwrap(st.Node()))
	r.problems = r.problems[:min(len(r.problems), before+maxPerStatement)]
}

// maxPerStatement bounds the problems that are told of one statement.
const maxPerStatement = 5

func (r *schemaReader) node(n any) {
	switch n := n.(type) {
	case *ast.CreateSchemaStmt:
		r.createSchema(n)
	case *ast.CreateStmt:
		r.createTable(n)
	case *ast.AlterTableStmt:
		r.alterTable(n)
	case *ast.ViewStmt:
		r.createView(n)
	case *ast.CreateTableAsStmt:
		r.createMaterializedView(n)
	case *ast.CreateSeqStmt:
		r.createSequence(n.Sequence)
	case *ast.CreateEnumStmt:
		r.createEnum(n)
	case *ast.CompositeTypeStmt:
		r.createComposite(n)
	case *ast.CreateDomainStmt:
		r.createDomain(n)
	case *ast.CreateFunctionStmt:
		r.createFunction(n)
	case *ast.IndexStmt:
		r.createIndex(n)
	case *ast.CreateTrigStmt:
		r.createTrigger(n)
	case *ast.RuleStmt:
		r.createRule(n)
	case *ast.CreatePolicyStmt:
		r.createPolicy(n)
	case *ast.VariableSetStmt:
		r.set(n)
	case *ast.SelectStmt:
		r.selectSetting()
	default:
		if !changesNothing(n) {
			r.problem(-1, "a schema file cannot have %s", r.current.Facts.Command)
		}
	}
}

// changesNothing reports whether a statement leaves alone what a catalog holds
// for the analysis of columns.
func changesNothing(n any) bool {
	switch n.(type) {
	case *ast.CommentStmt, *ast.SecLabelStmt,
		*ast.GrantStmt, *ast.GrantRoleStmt, *ast.AlterDefaultPrivilegesStmt, *ast.AlterOwnerStmt,
		*ast.CreateRoleStmt, *ast.AlterRoleStmt, *ast.AlterRoleSetStmt,
		*ast.CreateExtensionStmt, *ast.AlterSeqStmt, *ast.CreateStatsStmt,
		*ast.TransactionStmt, *ast.AlterDatabaseStmt, *ast.AlterDatabaseSetStmt,
		*ast.CreatePublicationStmt, *ast.InsertStmt:
		return true
	}
	return false
}

func (r *schemaReader) createSchema(n *ast.CreateSchemaStmt) {
	if n.GetSchemaname() == "" {
		r.problem(-1, "the schema has no name")
		return
	}
	r.schemas[n.GetSchemaname()] = true
	saved := r.path
	r.path = append([]string{n.GetSchemaname()}, saved...)
	for _, element := range n.GetSchemaElts() {
		r.node(ast.Unwrap(element))
	}
	r.path = saved
}

// set follows search_path, which decides where names without a schema go.
func (r *schemaReader) set(n *ast.VariableSetStmt) {
	if n.GetName() != "search_path" {
		return
	}
	var path []string
	for _, arg := range n.GetArgs() {
		if c, ok := ast.Unwrap(arg).(*ast.A_Const); ok {
			path = append(path, c.GetSval().GetSval())
		}
	}
	r.setPath(path)
}

func (r *schemaReader) setPath(path []string) {
	r.path = slices.DeleteFunc(path, func(s string) bool { return s == "" || s == "$user" || s == "pg_catalog" })
}

// selectSetting admits the one SELECT that pg_dump writes:
// set_config('search_path', ”, false).
func (r *schemaReader) selectSetting() {
	ts := r.tokens
	if find(ts, 0, 0, "set_config") < 0 || find(ts, 0, 0, "from") >= 0 {
		r.problem(-1, "a schema file cannot have SELECT")
		return
	}
	open := find(ts, 0, 0, "(")
	if open+3 < len(ts) && strings.EqualFold(r.text(ts[open+1]), "'search_path'") && r.text(ts[open+3]) == "''" {
		r.path = nil
	}
}

func (r *schemaReader) text(t token) string { return r.sql[t.start:t.end] }
