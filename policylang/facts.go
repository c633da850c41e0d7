package policylang

// Class is the broad class of a statement. Where statements nest, the most
// dangerous class wins, in the order of the constants.
type Class string

// The classes, least dangerous first. The zero Class is invalid and matches
// nothing that grants.
const (
	ClassMisc     Class = "misc"     // transaction control, SET, SHOW, LISTEN, DEALLOCATE ...
	ClassRead     Class = "read"     // changes nothing
	ClassWrite    Class = "write"    // changes rows
	ClassFunction Class = "function" // calls code whose effect the text does not show: CALL, DO, side-effect functions
	ClassDDL      Class = "ddl"      // changes the schema
	ClassRole     Class = "role"     // changes roles, privileges or the server
)

// Classes lists all classes, least dangerous first.
func Classes() []Class {
	return []Class{ClassMisc, ClassRead, ClassWrite, ClassFunction, ClassDDL, ClassRole}
}

// Verb is what a statement does to a relation.
type Verb string

// The verbs of relations.
const (
	VerbRead     Verb = "read"
	VerbInsert   Verb = "insert"
	VerbUpdate   Verb = "update"
	VerbDelete   Verb = "delete"
	VerbTruncate Verb = "truncate"
	VerbLock     Verb = "lock"
	VerbCreate   Verb = "create"
	VerbAlter    Verb = "alter"
	VerbDrop     Verb = "drop"
	VerbGrant    Verb = "grant"
	VerbMaintain Verb = "maintain" // VACUUM, ANALYZE, CLUSTER, REINDEX, REFRESH
)

// Relation is a relation that a statement mentions or reaches, and what it does
// to it. An empty Schema means that the text does not say: it matches every
// schema for deny, hold and masks and none for allow, until a catalog resolves
// it. An empty Name is every relation of the schema, as in DROP SCHEMA.
type Relation struct {
	Schema string `json:"schema,omitempty"`
	Name   string `json:"name"`
	Verb   Verb   `json:"verb"`
	Via    Via    `json:"via,omitempty"`
}

// Via is how a statement comes to a relation. The zero Via is a name in its
// text.
type Via string

// The ways to a relation that the text does not name. Where one leads over
// another, the last that this list has counts: what a trigger does is the
// trigger's, whatever it goes through.
const (
	ViaView        Via = "view"        // the definition of a view
	ViaInheritance Via = "inheritance" // a parent, child or partition
	ViaForeignKey  Via = "foreign_key" // ON DELETE, ON UPDATE, TRUNCATE CASCADE
	ViaRule        Via = "rule"        // CREATE RULE
	ViaExpression  Via = "expression"  // a stored CHECK, default, row policy or index
	ViaTrigger     Via = "trigger"     // the function of a trigger
)

// Vias lists the ways to a relation that the text does not name, in the order
// in which they count.
func Vias() []Via {
	return []Via{ViaView, ViaInheritance, ViaForeignKey, ViaRule, ViaExpression, ViaTrigger}
}

// Facts is what one statement's text does, including everything nested in it.
// It is immutable once made. The zero Facts is of no class and opaque to every
// rule that grants.
type Facts struct {
	Text        string     // the exact text of this statement
	Shape       string     // every constant replaced by ?, comments dropped; empty if that cannot be done safely
	Fingerprint string     // 16 hexadecimal digits; groups alike statements for people, never a security key
	Command     string     // PostgreSQL's command tag without counts: "SELECT", "DROP DATABASE"
	Commands    []string   // Command and those of nested statements; sorted, distinct
	Class       Class      // most dangerous of all nested
	ReadOnly    bool       // provably changes nothing, neither rows nor server state
	Writes      bool       // inserts, updates, deletes, truncates or merges
	DDL         bool       // contains a statement of class ddl or role
	Filtered    bool       // each UPDATE and DELETE has a WHERE that is not constantly true
	Relations   []Relation // sorted by schema, name, verb, via; distinct
	Columns     []string   // "schema.table.column" as far as the text says, "*" for unknown parts; sorted
	Functions   []string   // "schema.name", or "name" when the text does not say the schema; sorted
	Limit       int64      // of the outermost SELECT if it is a constant; -1 if none
	Parameters  int        // highest $n
	Opaque      bool       // something in it cannot be read: dynamic SQL, unknown function, unparsed text

	// LiteralDependent says that these facts depend on a constant in the text,
	// so that they must not be reused for another text of the same shape.
	LiteralDependent bool
	// Unknown names what made the facts opaque that a catalog can settle:
	// "function app.total", "type citext", "operator ===", or "syntax
	// json_array" for what servers before PostgreSQL 16 take for a call of a
	// user's function; sorted. Known is what the facts would be if each of
	// these computed its value from its arguments and did nothing else.
	Unknown []string
	Known   Known
	// Origin is the facts of which these are a copy with another Text, for a
	// text that differs from theirs in constants alone; nil if there are none.
	// What does not look at Text may be shared by way of it.
	Origin *Facts
	// Transaction says that the statement only controls the transaction or
	// reads or releases session state (BEGIN, COMMIT, SHOW, DEALLOCATE,
	// DISCARD, empty): always admitted.
	Transaction bool
}

// Known is what facts would be if nothing in them were unknown to the text's
// reader: see [Facts].Unknown. It equals the facts' own values if nothing is.
type Known struct {
	Class    Class
	ReadOnly bool
	Opaque   bool
}
