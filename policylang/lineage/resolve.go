package lineage

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/statement"
)

// Resolve returns the facts with what a catalog can tell: the schemas of names
// that the text does not qualify, and the relations that the statement reaches
// without naming them: those below a view, the parents, children and
// partitions of a table, and the tables that foreign keys and rules change
// along with it. Types and operators whose effect the text alone does not show
// are settled where the catalog knows them to be harmless; functions are not,
// since what they do is not in their declaration. Names that are not found stay
// as they were. The facts are not changed.
func Resolve(f *policylang.Facts, env Environment, cat *policylang.Catalog) *policylang.Facts {
	r := &resolver{env: env, cat: cat, seen: map[policylang.Relation]bool{}}
	out := *f
	out.Origin = nil
	for _, rel := range f.Relations {
		r.relation(rel)
	}
	slices.SortFunc(r.relations, compareRelations)
	out.Relations = r.relations
	out.Functions = r.functions(f.Functions)
	r.settle(&out)
	return &out
}

type resolver struct {
	env       Environment
	cat       *policylang.Catalog
	seen      map[policylang.Relation]bool
	relations []policylang.Relation
}

func compareRelations(a, b policylang.Relation) int {
	if c := strings.Compare(a.Schema, b.Schema); c != 0 {
		return c
	}
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	return strings.Compare(string(a.Verb), string(b.Verb))
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
	if r.seen[rel] {
		return false
	}
	r.seen[rel] = true
	r.relations = append(r.relations, rel)
	return true
}

func (r *resolver) find(rel policylang.Relation) *policylang.CatalogRelation {
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
func (r *resolver) below(found *policylang.CatalogRelation, verb policylang.Verb) {
	if found.HasDefinition() {
		r.viewed(found.Definition, verb)
	}
	switch verb {
	case policylang.VerbRead, policylang.VerbInsert, policylang.VerbUpdate, policylang.VerbDelete, policylang.VerbTruncate, policylang.VerbLock:
	default:
		return
	}
	if found.Kind == policylang.RelationForeign {
		r.add(policylang.Relation{Verb: verb}) // what is behind it may be any table
	}
	for _, oid := range slices.Concat(found.Parents, found.Children) {
		r.also(oid, verb)
	}
	for _, rule := range found.Rules {
		if rule.Event == verb {
			r.viewed(rule.Definition, policylang.VerbRead)
		}
	}
	if verb == policylang.VerbDelete || verb == policylang.VerbUpdate || verb == policylang.VerbTruncate {
		r.referencing(found, verb)
	}
}

func (r *resolver) also(oid uint32, verb policylang.Verb) {
	if rel := r.cat.Relation(oid); rel != nil {
		r.relation(policylang.Relation{Schema: rel.Schema, Name: rel.Name, Verb: verb})
	}
}

// referencing adds the tables whose foreign keys follow a change.
func (r *resolver) referencing(found *policylang.CatalogRelation, verb policylang.Verb) {
	for _, ref := range r.cat.References(found.OID) {
		action := ref.Constraint.OnUpdate
		if verb == policylang.VerbDelete {
			action = ref.Constraint.OnDelete
		}
		if verb == policylang.VerbTruncate || !action.Changes() {
			continue // TRUNCATE … CASCADE names what it reaches by its own verb
		}
		follows := policylang.VerbUpdate
		if verb == policylang.VerbDelete && action == policylang.ActionCascade {
			follows = policylang.VerbDelete
		}
		r.also(ref.Relation.OID, follows)
	}
}

// viewed adds what a stored definition reaches; a write to a view is a write to
// what it reads.
func (r *resolver) viewed(definition string, verb policylang.Verb) {
	tree, err := statement.Parse(definition, statement.Limits{})
	if err != nil {
		return // a view that cannot be read resolves to itself alone
	}
	for i := range tree.Statements {
		for _, rel := range tree.Statements[i].Facts.Relations {
			r.relation(rel)
			if verb != policylang.VerbRead && rel.Verb == policylang.VerbRead {
				r.relation(policylang.Relation{Schema: rel.Schema, Name: rel.Name, Verb: verb})
			}
		}
	}
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
		if !(kind == "type" && r.harmlessType(name)) && !(kind == "operator" && r.harmlessOperator(name)) {
			return
		}
	}
	f.Unknown = nil
	f.Class, f.ReadOnly, f.Opaque = f.Known.Class, f.Known.ReadOnly, f.Known.Opaque
}

// harmlessType reports whether reading a value of the type runs nothing that a
// user wrote: all but domains with a CHECK.
func (r *resolver) harmlessType(name string) bool {
	var t *policylang.Type
	if schema, base, qualified := strings.Cut(name, "."); qualified {
		t = r.cat.TypeNamed(schema, base)
	} else if r.env.SearchPath != nil {
		t = r.cat.FindType(r.env.SearchPath, name)
	}
	for range 100 { // domains over domains
		switch {
		case t == nil || len(t.Checks) > 0:
			return false
		case t.Kind == policylang.TypeDomain:
			t = r.cat.Type(t.Base)
		case t.Kind == policylang.TypeBase && t.OID >= policylang.FirstUserOID && t.Extension == "" && t.Element == 0:
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
	var candidates []*policylang.Operator
	if schema, base, qualified := cutOperator(name); qualified {
		candidates = r.cat.OperatorsNamed(schema, base)
	} else if r.env.SearchPath != nil {
		candidates = r.cat.FindOperators(r.env.SearchPath, name)
	}
	for _, op := range candidates {
		fn := r.cat.Function(op.Function)
		if fn == nil || fn.Volatility == policylang.Volatile || (fn.OID >= policylang.FirstUserOID && fn.Extension == "") {
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
