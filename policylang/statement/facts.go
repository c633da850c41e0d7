package statement

import (
	"cmp"
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// maxBodies bounds how deep SQL in constants nests: a DO in a DO in a function
// body. What is deeper is opaque.
const maxBodies = 4

// read turns a statement's syntax tree into a Statement.
func read(node *ast.Node, text string, offset int, l Limits) Statement {
	return readNested(node, text, offset, reading{limits: l})
}

// reading is how a statement comes to be read.
type reading struct {
	limits Limits
	bodies int // constants of SQL around the statement
}

func readNested(node *ast.Node, text string, offset int, r reading) Statement {
	m := ast.Unwrap(node)
	c := collector{reading: r, text: text, offset: offset, limit: -1, filtered: true}
	command := c.statement(m)
	if s := outermostSelect(m); s != nil {
		c.topSelect(s)
	}
	st := Statement{
		Text:    text,
		Offset:  offset,
		Session: sessionEffect(m, text, offset, r),
		root:    &root{node: node, text: text, lim: r.limits},
	}
	st.Facts = c.facts(command, m)
	st.Assigns = sortedSet(c.assigns)
	st.free = optimizable(m) && !c.literal
	return st
}

// collector gathers the facts of one statement and all that nests in it.
type collector struct {
	reading
	text   string
	offset int // of text in what the tree's locations count in
	scope  *scope

	commands  []string
	relations []policylang.Relation
	columns   []string
	functions []string
	unknown   []string
	assigns   []string
	picked    picked // by the query whose targets are being read

	class      policylang.Class // without what is unknown
	locked     int              // of relations, those that a locking clause reached
	steps      int              // taken to find out what WHERE says, see [maxSteps]
	writes     bool
	changes    bool // not read-only, whatever the class
	dynamic    bool // opaque, whatever a catalog says
	filtered   bool
	literal    bool // depends on a constant
	limited    bool // depends on the constant of LIMIT alone
	limit      int64
	parameters int

	planned bool // inside of a plain EXPLAIN: planned, not run
	body    bool // inside of PL/pgSQL: names may be variables
}

// facts returns what was gathered.
func (c *collector) facts(command string, m any) *policylang.Facts {
	class, opaque := c.class, c.dynamic
	known := policylang.Known{Class: class, Opaque: opaque, ReadOnly: c.readOnly(class, opaque)}
	if len(c.unknown) > 0 {
		class, opaque = worse(class, policylang.ClassFunction), true
	}
	f := &policylang.Facts{
		Text:             c.text,
		Command:          command,
		Commands:         sortedSet(c.commands),
		Class:            class,
		ReadOnly:         c.readOnly(class, opaque),
		Writes:           c.writes,
		DDL:              rank(class) >= rank(policylang.ClassDDL),
		Filtered:         c.filtered,
		Relations:        sortedRelations(c.relations),
		Columns:          sortedSet(c.columns),
		Functions:        sortedSet(c.functions),
		Limit:            c.limit,
		Parameters:       c.parameters,
		Opaque:           opaque,
		Unknown:          sortedSet(c.unknown),
		Known:            known,
		LiteralDependent: c.literal || c.limited || !optimizable(m),
		Transaction:      onlyTransaction(m),
	}
	f.Shape, f.Fingerprint = shapeAndFingerprint(c.text)
	return f
}

func (c *collector) readOnly(class policylang.Class, opaque bool) bool {
	return !c.changes && !opaque && rank(class) <= rank(policylang.ClassRead)
}

// raise makes the class at least this one.
func (c *collector) raise(class policylang.Class) { c.class = worse(c.class, class) }

// change raises the class and says that the statement is not read-only.
func (c *collector) change(class policylang.Class) {
	c.raise(class)
	c.changes = true
}

// opaque says that something cannot be read, whatever a catalog says.
func (c *collector) opaque() {
	c.change(policylang.ClassFunction)
	c.dynamic = true
}

// mystery is a node that nobody here has heard of.
func (c *collector) mystery() {
	c.opaque()
	c.raise(policylang.ClassRole)
}

// unknownName says that only a catalog can tell what this name does.
func (c *collector) unknownName(kind, schema, name string) {
	c.unknown = append(c.unknown, kind+" "+qualified(schema, name))
}

// relation adds what the statement does to a relation.
func (c *collector) relation(schema, name string, verb policylang.Verb) {
	if c.planned {
		verb = policylang.VerbRead
	}
	c.relations = append(c.relations, policylang.Relation{Schema: schema, Name: name, Verb: verb})
	if pgCatalog(schema, name) && changesRows(verb) && !c.planned {
		c.change(policylang.ClassRole)
		c.assigns = append(c.assigns, "*") // UPDATE pg_settings is a SET
	}
}

func changesRows(verb policylang.Verb) bool {
	switch verb {
	case policylang.VerbInsert, policylang.VerbUpdate, policylang.VerbDelete, policylang.VerbTruncate:
		return true
	case policylang.VerbRead, policylang.VerbLock, policylang.VerbCreate, policylang.VerbAlter,
		policylang.VerbDrop, policylang.VerbGrant, policylang.VerbMaintain:
	}
	return false
}

// pgCatalog reports whether the name may be one of the system's own relations.
func pgCatalog(schema, name string) bool {
	return schema == "pg_catalog" || schema == "information_schema" || schema == "" && strings.HasPrefix(name, "pg_")
}

// rangeVar adds what the statement does to a relation.
func (c *collector) rangeVar(r *ast.RangeVar, verb policylang.Verb) {
	if r != nil {
		c.relation(r.GetSchemaname(), r.GetRelname(), verb)
	}
}

// column adds a column; an empty part is not known.
func (c *collector) column(schema, table, column string) {
	c.columns = append(c.columns, part(schema)+"."+part(table)+"."+part(column))
}

// qualified joins a schema, which may be empty, and a name.
func qualified(schema, name string) string {
	if schema == "" {
		return part(name)
	}
	return part(schema) + "." + part(name)
}

// part writes one part of a dotted name as [policylang.Glob] reads it: * if it
// is empty, and quoted if it could be taken for something else.
func part(s string) string {
	switch {
	case s == "":
		return "*"
	case strings.ContainsAny(s, `.*"`):
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

// rank orders the classes, least dangerous first.
func rank(c policylang.Class) int {
	switch c {
	case policylang.ClassMisc:
		return 1
	case policylang.ClassRead:
		return 2
	case policylang.ClassWrite:
		return 3
	case policylang.ClassFunction:
		return 4
	case policylang.ClassDDL:
		return 5
	case policylang.ClassRole:
		return 6
	}
	return 0
}

// worse returns the more dangerous class.
func worse(a, b policylang.Class) policylang.Class {
	if rank(a) >= rank(b) {
		return a
	}
	return b
}

func sortedSet(values []string) []string {
	slices.Sort(values)
	return slices.Compact(values)
}

func sortedRelations(values []policylang.Relation) []policylang.Relation {
	slices.SortFunc(values, func(a, b policylang.Relation) int {
		return cmp.Or(strings.Compare(a.Schema, b.Schema), strings.Compare(a.Name, b.Name), strings.Compare(string(a.Verb), string(b.Verb)))
	})
	return slices.Compact(values)
}

// optimizable reports whether the statement's facts can be free of constants:
// whatever is not planned by the optimizer has its meaning in options.
func optimizable(m any) bool {
	switch m := m.(type) {
	case *ast.SelectStmt, *ast.InsertStmt, *ast.UpdateStmt, *ast.DeleteStmt, *ast.MergeStmt, *ast.TransactionStmt:
		return true
	case *ast.DeclareCursorStmt:
		return optimizable(ast.Unwrap(m.GetQuery()))
	case *ast.PrepareStmt:
		return optimizable(ast.Unwrap(m.GetQuery()))
	}
	return false
}
