// Package lineage follows columns through a statement: which source columns
// each output draws on, what decides which rows there are, and what a write
// stores where. From that follows what a masked identity gets to see.
//
// Most callers do
//
//	protection := lineage.Protect(catalog, masks)     // once per catalog and set of masks
//	if !protection.Empty() {
//		analysis, refusal := lineage.Analyze(statement, environment, catalog, protection)
//		…
//	}
//
// # What is promised
//
// For an identity with masks, two databases that differ only in the values of
// protected columns give the same bytes for every statement that Analyze lets
// pass, once its outputs are masked as Analysis says and errors are scrubbed
// where it says so. The promise rests on the catalog being the server's own at
// that moment, on the functions of the trust table computing nothing but from
// their arguments. It leaves aside timing, sizes and the physical order of rows,
// what policies allow by their knobs, that a unique or foreign key tells of a
// value that a permitted write collides with, and what stored code of the
// administrator (views, row policies, triggers) chooses to reveal.
//
// It is kept by construction: each kind of node of PostgreSQL's grammar has a
// rule, and what has none is refused.
//
// # Labels
//
// Every value has a label: bottom, depending on no protected column; direct,
// being the very value of one; or derived, computed from some. An output is
// passed, masked or redacted accordingly. A value that decides something —
// which rows, in which order, in which groups, or whether evaluation fails — is
// refused unless the policy's knobs allow it. A value is stored only in the
// column that it came from, or anywhere if its label is bottom.
//
// Everything here is pure and safe for concurrent use.
package lineage

import (
	"slices"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// Environment is what names in a statement depend on besides the catalog.
type Environment struct {
	// SearchPath is current_schemas(true) of the session: the schemas that
	// unqualified names are looked up in, implicit ones included, in order.
	// A nil path is not known: unqualified names are then refused.
	SearchPath []string
	Role       string
	Database   string // the database's name, for names of three parts
}

// Action says what is done with an output column.
type Action int

// The actions. The zero Action redacts.
const (
	Redact Action = iota // show NULL
	Mask                 // show Output.Transform of the value
	Pass                 // show the value
)

// String returns "redact", "mask" or "pass".
func (a Action) String() string {
	switch a {
	case Mask:
		return "mask"
	case Pass:
		return "pass"
	case Redact:
	}
	return "redact"
}

// Output is a column of a statement's rows.
type Output struct {
	Name      string // as PostgreSQL names it
	Action    Action
	Transform policylang.Transform // for Mask
	Policies  []string             // masking policies that it is subject to, sorted
	Sources   []pgcatalog.ColumnID // protected columns that it draws on, sorted
	TypeOID   uint32               // 0 if unknown
	TypeMod   int32                // of a masked column, atttypmod; 0 or less says nothing
}

// Analysis is what a statement does with protected columns.
type Analysis struct {
	// Rows says that executing the statement returns rows (or copies them
	// out). PREPARE and DECLARE return none; their Columns are those of the
	// rows that EXECUTE and FETCH will return.
	Rows    bool
	Columns []Output

	// ByName says that the rows are those of a prepared statement or cursor:
	// EXECUTE and FETCH. Columns is nil; the caller puts the analysis of what
	// the name stands for in its place.
	ByName bool

	// Copy says how the rows of COPY … TO look; nil for other statements.
	Copy *CopyFormat

	// Touched are the columns that the statement reads, those of views and
	// what is below them included. Column 0 is a whole row. Sorted.
	Touched []pgcatalog.ColumnID

	// Relations are the users' relations that the analysis rests on, those below
	// views included, and Functions the users' functions. Sorted.
	Relations, Functions []uint32

	// Tainted says that the statement reads something protected or runs
	// something opaque, so that errors and notices must be scrubbed.
	Tainted bool

	// Equality counts the comparisons of a masked column with a constant that
	// the policy's equality knob let pass: each is a guess.
	Equality int
}

// Analyze follows the statement's columns. A statement that may not run for an
// identity with these masks gives a refusal; then the analysis is nil.
func Analyze(st *statement.Statement, env Environment, cat *pgcatalog.Catalog, prot *Protection) (_ *Analysis, refused *Refusal) {
	a := newAnalyzer(env, cat, prot)
	a.text, a.offset = st.Text, st.Offset
	defer func() {
		if recover() != nil { // a tree that no rule foresaw: refuse it, and keep the other sessions alive
			refused = &Refusal{Code: CodeInternal, Message: "the statement could not be followed to its end"}
		}
	}()
	result := a.statement(st.Node())
	if a.refusal != nil {
		return nil, a.refusal
	}
	out := &Analysis{
		Rows:    result.rows,
		ByName:  result.byName,
		Touched: a.touchedColumns(),

		Relations: distinct(a.relations),
		Functions: distinct(a.functions),
		Tainted:   a.tainted,
		Equality:  a.equality,
		Copy:      result.copied,
	}
	if !result.byName {
		out.Columns = a.outputs(result.columns)
	}
	return out, nil
}

// analyzer follows the columns of one statement, or of one piece of stored
// code.
type analyzer struct {
	cat  *pgcatalog.Catalog
	prot *Protection
	env  Environment

	text   string // of the statement, for positions
	offset int    // of text in what was parsed

	building []uint32 // views whose definitions are being followed
	body     body     // of the SQL function that is being followed; zero if none
	stored   bool     // analysing stored code: control is declassified, opaque code returns everything
	refusal  *Refusal
	tainted  bool
	equality int
	secret   bool  // reads a relation that has protected columns
	labelled bool  // reads a protected value
	risks    int   // counts what may fail or has an effect
	mayFail  label // of what a refusal of CodeFallible is about
	touched  []pgcatalog.ColumnID

	relations, functions []uint32 // of users, that were looked at

	budget int // work left before giving up
	depth  int
}

// workBudget bounds the work on one statement: nodes visited and columns
// looked at. The largest honest statements need a hundredth of it.
const workBudget = 4_000_000

// maxDepth bounds the recursion over nested nodes. The parser's own guard
// allows less.
const maxDepth = 20_000

// maxTargets is the number of columns that PostgreSQL allows in a result.
const maxTargets = 1664

func newAnalyzer(env Environment, cat *pgcatalog.Catalog, prot *Protection) *analyzer {
	return &analyzer{cat: cat, prot: prot, env: env, budget: workBudget}
}

// spend takes n off the budget and reports whether any is left.
func (a *analyzer) spend(n int) bool {
	a.budget -= n
	if a.budget < 0 {
		a.refuse(CodeTooComplex, -1, "Split the statement.", "the statement is too complex to follow")
		return false
	}
	return a.refusal == nil
}

func (a *analyzer) touch(id pgcatalog.ColumnID) {
	if id.Relation != 0 {
		a.touched = append(a.touched, id)
	}
}

// distinct sorts OIDs and leaves out the server's own.
func distinct(oids []uint32) []uint32 {
	oids = slices.DeleteFunc(slices.Clone(oids), func(oid uint32) bool { return oid < pgcatalog.FirstUserOID })
	slices.Sort(oids)
	return slices.Compact(oids)
}

func (a *analyzer) touchedColumns() []pgcatalog.ColumnID {
	slices.SortFunc(a.touched, pgcatalog.ColumnID.Compare)
	return slices.Compact(a.touched)
}

// modifier is the type modifier that a value of the type has as it comes
// straight from columns which agree on it: the server announces it for the rows
// of a query, but not for those of COPY.
func (a *analyzer) modifier(l label, typ uint32) int32 {
	if l.derived || l.bottom() {
		return -1
	}
	_, modifier := a.cat.BaseTypeModified(a.columnType(l.columns[0]))
	for _, id := range l.columns {
		if t, m := a.cat.BaseTypeModified(a.columnType(id)); t != typ || m != modifier {
			return -1
		}
	}
	return modifier
}

// outputs turns a query's columns into what is done with them.
func (a *analyzer) outputs(columns []column) []Output {
	if columns == nil {
		return nil
	}
	out := make([]Output, len(columns))
	for i := range columns {
		out[i] = a.output(&columns[i])
	}
	return out
}

func (a *analyzer) output(c *column) Output {
	o := Output{Name: c.name, TypeOID: a.cat.BaseType(settled(c.typ))}
	if c.label.bottom() {
		o.Action = Pass
		return o
	}
	o.Sources = c.label.columns
	o.Policies = a.prot.policies(c.label.columns)
	o.TypeMod = a.modifier(c.label, o.TypeOID)
	if t, ok := a.prot.shown(c.label); ok {
		o.Action, o.Transform = Mask, t
	}
	return o
}
