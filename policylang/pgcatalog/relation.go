package pgcatalog

import (
	"slices"
	"sort"

	"github.com/posternhq/postern/policylang"
)

// RelationKind is pg_class.relkind.
type RelationKind byte

// The kinds of relations that a catalog holds. Indexes and TOAST tables are
// not among them: no statement reads them by name.
const (
	RelationTable            RelationKind = 'r'
	RelationView             RelationKind = 'v'
	RelationMaterializedView RelationKind = 'm'
	RelationPartitioned      RelationKind = 'p'
	RelationForeign          RelationKind = 'f'
	RelationSequence         RelationKind = 'S'
	RelationComposite        RelationKind = 'c'
)

// Relation is a table, view or anything else with columns.
type Relation struct {
	OID       uint32
	Schema    string
	Name      string
	Kind      RelationKind
	Temporary bool
	Partition bool // a partition of a partitioned table
	// PartitionKey are the columns that say which partition a row is in; 0
	// stands for an expression.
	PartitionKey         []int16
	PartitionExpressions string // those expressions, as pg_get_expr prints them; empty if none
	RowType              uint32 // the type of its rows; 0 for sequences
	Columns              []Column

	// Version and ColumnsVersion sum the transactions that wrote the rows of the
	// system catalogs which define the relation, and its columns: they change with
	// each change of those. 0 if unknown.
	Version, ColumnsVersion uint64

	// Definition is the SELECT of a view or materialised view, as
	// pg_get_viewdef prints it under an empty search_path.
	Definition string

	Parents     []uint32 // inheritance and partitioning
	Children    []uint32
	Constraints []Constraint
	Indexes     []Index
	Triggers    []Trigger
	Rules       []Rule // without a view's own SELECT rule
	RowSecurity bool
	RowPolicies []RowPolicy
}

// Column returns the column of that number, or nil.
func (r *Relation) Column(number int16) *Column {
	i := sort.Search(len(r.Columns), func(i int) bool { return r.Columns[i].Number >= number })
	if i < len(r.Columns) && r.Columns[i].Number == number {
		return &r.Columns[i]
	}
	return nil
}

// ColumnNamed returns the column of that name, or nil.
func (r *Relation) ColumnNamed(name string) *Column {
	for i := range r.Columns {
		if r.Columns[i].Name == name {
			return &r.Columns[i]
		}
	}
	return nil
}

// HasDefinition reports whether the relation's rows come from a query.
func (r *Relation) HasDefinition() bool {
	return r.Kind == RelationView || r.Kind == RelationMaterializedView
}

// Column is a column of a relation. Dropped columns are not in a catalog.
type Column struct {
	Name      string
	Default   string // the expression of DEFAULT or GENERATED, as pg_get_expr prints it
	Type      uint32
	Collation uint32 // attcollation: 0 if the type has none, CollationUnclear if it is nondeterministic
	Modifier  int32  // atttypmod: -1 if none
	Number    int16  // from 1; dropped columns leave gaps
	NotNull   bool
	Generated bool // GENERATED ALWAYS AS (Default)
	Identity  bool
}

// OIDs of the server's own collations, and one that none has.
const (
	CollationUnclear = 1
	CollationDefault = 100
	CollationC       = 950
	CollationPOSIX   = 951
)

// ConstraintKind is pg_constraint.contype.
type ConstraintKind byte

// The kinds of constraints that a catalog holds.
const (
	ConstraintCheck     ConstraintKind = 'c'
	ConstraintForeign   ConstraintKind = 'f'
	ConstraintPrimary   ConstraintKind = 'p'
	ConstraintUnique    ConstraintKind = 'u'
	ConstraintExclusion ConstraintKind = 'x'
)

// ReferentialAction is pg_constraint.confdeltype and confupdtype.
type ReferentialAction byte

// The referential actions.
const (
	ActionNone       ReferentialAction = 'a'
	ActionRestrict   ReferentialAction = 'r'
	ActionCascade    ReferentialAction = 'c'
	ActionSetNull    ReferentialAction = 'n'
	ActionSetDefault ReferentialAction = 'd'
)

// Changes reports whether the action changes referencing rows.
func (a ReferentialAction) Changes() bool {
	return a == ActionCascade || a == ActionSetNull || a == ActionSetDefault
}

// Constraint is a table constraint.
type Constraint struct {
	Name           string
	Kind           ConstraintKind
	Columns        []int16 // the columns that it mentions
	Expression     string  // of a CHECK
	Foreign        uint32  // the table that a foreign key refers to
	ForeignColumns []int16
	OnDelete       ReferentialAction
	OnUpdate       ReferentialAction
}

// Index is an index of a table.
type Index struct {
	Name        string
	Unique      bool
	Columns     []int16 // keys; 0 stands for an expression
	Expressions string  // the expressions, as pg_get_expr prints them; empty if none
	Predicate   string  // of a partial index; empty if none
}

// Mentions reports whether the index has the column as a key.
func (i *Index) Mentions(column int16) bool { return slices.Contains(i.Columns, column) }

// Trigger is a trigger made by a user; the server's own, for foreign keys, are
// not in a catalog.
type Trigger struct {
	Name     string
	Function uint32
	Bits     int16 // pg_trigger.tgtype
	Disabled bool
}

// Bits of pg_trigger.tgtype.
const (
	TriggerRow      int16 = 1 << 0
	TriggerBefore   int16 = 1 << 1
	TriggerInsert   int16 = 1 << 2
	TriggerDelete   int16 = 1 << 3
	TriggerUpdate   int16 = 1 << 4
	TriggerTruncate int16 = 1 << 5
	TriggerInstead  int16 = 1 << 6
)

// Rule is a rewrite rule made by a user.
type Rule struct {
	Name       string
	Event      policylang.Verb // VerbRead, VerbInsert, VerbUpdate or VerbDelete
	Instead    bool
	Definition string // CREATE RULE …, as pg_get_ruledef prints it
}

// RowPolicy is a row-security policy.
type RowPolicy struct {
	Name  string
	Using string // may be empty
	Check string // may be empty
}
