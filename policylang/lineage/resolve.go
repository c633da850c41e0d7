package lineage

import (
	"cmp"
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// Resolve returns the facts with what a catalog can tell: the schemas of names
// that the text does not qualify, and the relations that the statement reaches
// without naming them: those below a view, the parents, children and
// partitions of a table, and the tables that foreign keys, rules and triggers
// change along with it. What views, triggers, row policies, constraints, defaults
// and indexes run counts as what the statement does. Types,
// operators and functions whose effect the text alone does not show are settled
// where they are known to be harmless: the server's own and those of known
// extensions, never a user's. Names that are not found stay as they were. The
// facts are not changed.
func Resolve(f *policylang.Facts, env Environment, cat *pgcatalog.Catalog) *policylang.Facts {
	r := &resolver{env: env, cat: cat, seen: map[policylang.Relation]bool{}}
	out := *f
	out.Origin = nil
	for _, rel := range f.Relations {
		r.relation(rel)
	}
	slices.SortFunc(r.relations, compareRelations)
	out.Relations = r.relations
	out.Functions = slices.Concat(r.functions(f.Functions), r.called)
	slices.Sort(out.Functions)
	out.Functions = slices.Compact(out.Functions)
	r.settle(&out)
	r.overloaded(f.Functions)
	r.inherit(&out)
	return &out
}

type resolver struct {
	env       Environment
	cat       *pgcatalog.Catalog
	seen      map[policylang.Relation]bool
	via       policylang.Via // how what is added next is come to
	relations []policylang.Relation
	called    []string         // functions in the definitions of views and rules
	views     policylang.Known // what reading the views may do
	any       bool             // there are views

	expressions map[storedExpression]bool // that were looked at
}

// storedExpression is one, and how it is come to.
type storedExpression struct {
	text string
	via  policylang.Via
}

func compareRelations(a, b policylang.Relation) int {
	return cmp.Or(
		strings.Compare(a.Schema, b.Schema), strings.Compare(a.Name, b.Name),
		strings.Compare(string(a.Verb), string(b.Verb)), strings.Compare(string(a.Via), string(b.Via)),
	)
}

// through makes what is added until the end of the way come by it, unless
// it already comes by a way that counts for more.
func (r *resolver) through(way policylang.Via) (end func()) {
	before := r.via
	if slices.Index(policylang.Vias(), way) > slices.Index(policylang.Vias(), before) {
		r.via = way
	}
	return func() { r.via = before }
}

// relation adds a relation and what it stands for.
func (r *resolver) relation(rel policylang.Relation) {
	found := r.find(rel)
	if found != nil && rel.Schema == "" {
		rel.Schema = found.Schema
	}
	if r.add(rel) && found != nil {
		r.below(found, rel.Verb)
	}
}

// add adds a relation and reports whether it is new.
func (r *resolver) add(rel policylang.Relation) bool {
	rel.Via = r.via
	if r.seen[rel] {
		return false
	}
	r.seen[rel] = true
	r.relations = append(r.relations, rel)
	return true
}

func (r *resolver) find(rel policylang.Relation) *pgcatalog.Relation {
	switch {
	case rel.Name == "":
		return nil
	case rel.Schema != "":
		return r.cat.RelationNamed(rel.Schema, rel.Name)
	case r.env.SearchPath == nil:
		return nil
	}
	return r.cat.FindRelation(r.env.SearchPath, rel.Name)
}

// below adds what a verb on a relation reaches besides it.
func (r *resolver) below(found *pgcatalog.Relation, verb policylang.Verb) {
	if found.HasDefinition() {
		r.viewed(found, found.Definition, verb)
	}
	switch verb {
	case policylang.VerbRead, policylang.VerbInsert, policylang.VerbUpdate, policylang.VerbDelete, policylang.VerbTruncate, policylang.VerbLock:
	default:
		return
	}
	if found.Kind == pgcatalog.RelationForeign {
		r.add(policylang.Relation{Verb: verb}) // what is behind it may be any table
	}
	r.inherited(found, verb)
	r.ruled(found, verb)
	r.runs(found, verb)
	if verb == policylang.VerbDelete || verb == policylang.VerbUpdate || verb == policylang.VerbTruncate {
		r.referencing(found, verb)
	}
}

// inherited adds the parents, children and partitions.
func (r *resolver) inherited(found *pgcatalog.Relation, verb policylang.Verb) {
	defer r.through(policylang.ViaInheritance)()
	for _, oid := range slices.Concat(found.Parents, found.Children) {
		if !r.cameFrom(r.cat.Relation(oid), verb) {
			r.also(oid, verb)
		}
	}
}

// cameFrom reports whether a relative is there by a way that counts for less:
// a partition leads back to the table that led to it.
func (r *resolver) cameFrom(relative *pgcatalog.Relation, verb policylang.Verb) bool {
	if relative == nil {
		return true
	}
	rel := policylang.Relation{Schema: relative.Schema, Name: relative.Name, Verb: verb}
	for _, rel.Via = range append([]policylang.Via{""}, policylang.Vias()...) {
		if rel.Via == r.via {
			return false
		}
		if r.seen[rel] {
			return true
		}
	}
	return false
}

// ruled adds what rules do besides.
func (r *resolver) ruled(found *pgcatalog.Relation, verb policylang.Verb) {
	defer r.through(policylang.ViaRule)()
	for _, rule := range found.Rules {
		if rule.Event == verb {
			r.viewed(nil, rule.Definition, policylang.VerbRead)
		}
	}
}

func (r *resolver) also(oid uint32, verb policylang.Verb) {
	if rel := r.cat.Relation(oid); rel != nil {
		r.relation(policylang.Relation{Schema: rel.Schema, Name: rel.Name, Verb: verb})
	}
}

// referencing adds the tables whose foreign keys follow a change.
func (r *resolver) referencing(found *pgcatalog.Relation, verb policylang.Verb) {
	defer r.through(policylang.ViaForeignKey)()
	for _, ref := range r.cat.References(found.OID) {
		if verb == policylang.VerbTruncate { // with CASCADE; without, the server refuses
			r.also(ref.Relation.OID, policylang.VerbTruncate)
			continue
		}
		action := ref.Constraint.OnUpdate
		if verb == policylang.VerbDelete {
			action = ref.Constraint.OnDelete
		}
		if !action.Changes() {
			continue
		}
		follows := policylang.VerbUpdate
		if verb == policylang.VerbDelete && action == pgcatalog.ActionCascade {
			follows = policylang.VerbDelete
		}
		r.also(ref.Relation.OID, follows)
	}
}

// viewed adds what a stored definition reaches and calls; a write to a view is
// a write to what it reads. view is nil for rules.
func (r *resolver) viewed(view *pgcatalog.Relation, definition string, verb policylang.Verb) {
	if view != nil {
		defer r.through(policylang.ViaView)()
	}
	tree, err := statement.Parse(definition, statement.Limits{})
	if err != nil {
		r.note(policylang.Known{Class: policylang.ClassFunction, Opaque: true})
		return // a view that cannot be read resolves to itself alone
	}
	for i := range tree.Statements {
		facts := *tree.Statements[i].Facts
		for _, rel := range facts.Relations {
			if rel.Verb == policylang.VerbAlter {
				continue // CREATE RULE itself
			}
			r.relation(rel)
			if verb != policylang.VerbRead && rel.Verb == policylang.VerbRead {
				r.relation(policylang.Relation{Schema: rel.Schema, Name: rel.Name, Verb: verb})
			}
		}
		stored := &resolver{env: Environment{SearchPath: storedPath}, cat: r.cat}
		r.called = append(r.called, stored.functions(facts.Functions)...)
		if view != nil && !pgcatalog.IsSystemSchema(view.Schema) {
			stored.settle(&facts)
			r.note(policylang.Known{Class: facts.Class, ReadOnly: facts.ReadOnly, Opaque: facts.Opaque})
		}
	}
}

// note takes in what reading a view may do.
func (r *resolver) note(k policylang.Known) {
	if !r.any {
		r.views, r.any = k, true
		return
	}
	r.views.Class = moreDangerous(r.views.Class, k.Class)
	r.views.ReadOnly = r.views.ReadOnly && k.ReadOnly
	r.views.Opaque = r.views.Opaque || k.Opaque
}

// inherit makes the facts as dangerous as what the views do.
func (r *resolver) inherit(f *policylang.Facts) {
	if !r.any {
		return
	}
	f.Class = moreDangerous(f.Class, r.views.Class)
	f.ReadOnly = f.ReadOnly && r.views.ReadOnly
	f.Opaque = f.Opaque || r.views.Opaque
}

// moreDangerous returns the more dangerous of two classes.
func moreDangerous(a, b policylang.Class) policylang.Class {
	order := []policylang.Class{
		policylang.ClassMisc, policylang.ClassRead, policylang.ClassWrite,
		policylang.ClassFunction, policylang.ClassDDL, policylang.ClassRole,
	}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// functions gives unqualified functions the schema that they are found in, if
// all that the name may mean are in one.
func (r *resolver) functions(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = name
		if strings.Contains(name, ".") || r.env.SearchPath == nil {
			continue
		}
		schemas := map[string]bool{}
		for _, fn := range r.cat.FindFunctions(r.env.SearchPath, name) {
			schemas[fn.Schema] = true
		}
		if len(schemas) != 1 {
			continue
		}
		for schema := range schemas {
			out[i] = schema + "." + name
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// settle replaces the facts by what they would be if the unknown were known,
// once everything unknown is known to be harmless.
func (r *resolver) settle(f *policylang.Facts) {
	if len(f.Unknown) == 0 {
		return
	}
	for _, unknown := range f.Unknown {
		kind, name, _ := strings.Cut(unknown, " ")
		switch {
		case kind == "type" && r.harmlessType(name), kind == "operator" && r.harmlessOperator(name),
			kind == "function" && r.harmlessFunction(name),
			kind == "syntax" && r.cat.ServerVersion >= 160000:
		default:
			return
		}
	}
	f.Unknown = nil
	f.Class, f.ReadOnly, f.Opaque = f.Known.Class, f.Known.ReadOnly, f.Known.Opaque
}

// harmlessFunction reports whether every function of that name computes from
// its arguments and does nothing else.
func (r *resolver) harmlessFunction(name string) bool {
	var candidates []*pgcatalog.Function
	if schema, base, qualified := strings.Cut(name, "."); qualified {
		candidates = r.cat.FunctionsNamed(schema, base)
	} else if r.env.SearchPath != nil {
		candidates = r.cat.FindFunctions(r.env.SearchPath, name)
	}
	for _, fn := range candidates {
		if functionTrust(fn) != pureCode {
			return false
		}
	}
	return len(candidates) > 0
}

// harmlessType reports whether reading a value of the type runs nothing that a
// user wrote: all but domains with a CHECK.
func (r *resolver) harmlessType(name string) bool {
	var t *pgcatalog.Type
	if schema, base, qualified := strings.Cut(name, "."); qualified {
		t = r.cat.TypeNamed(schema, base)
	} else if r.env.SearchPath != nil {
		t = r.cat.FindType(r.env.SearchPath, name)
	}
	for range 100 { // domains over domains
		switch {
		case t == nil || len(t.Checks) > 0 || r.castByUser(t):
			return false
		case t.Kind == pgcatalog.TypeDomain:
			t = r.cat.Type(t.Base)
		case t.Kind == pgcatalog.TypeBase && t.OID >= pgcatalog.FirstUserOID && t.Extension == "" && t.Element == 0:
			return false // its input function may be anything
		default:
			return true
		}
	}
	return false
}

// harmlessOperator reports whether every operator of that name is the
// server's own or an extension's, and not volatile.
func (r *resolver) harmlessOperator(name string) bool {
	var candidates []*pgcatalog.Operator
	if schema, base, qualified := cutOperator(name); qualified {
		candidates = r.cat.OperatorsNamed(schema, base)
	} else if r.env.SearchPath != nil {
		candidates = r.cat.FindOperators(r.env.SearchPath, name)
	}
	for _, op := range candidates {
		fn := r.cat.Function(op.Function)
		if fn == nil || fn.Volatility == pgcatalog.Volatile || (fn.OID >= pgcatalog.FirstUserOID && fn.Extension == "") {
			return false
		}
	}
	return len(candidates) > 0
}

// cutOperator splits a qualified operator's name: operators hold no letters.
func cutOperator(name string) (schema, base string, qualified bool) {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}
