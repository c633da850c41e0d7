package lineage

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// runs adds what the server runs by itself when a verb is applied to a
// relation: triggers, row policies, constraints, defaults, generated columns,
// keys of indexes and partitions. What cannot be read makes the facts opaque.
func (r *resolver) runs(found *pgcatalog.Relation, verb policylang.Verb) {
	if pgcatalog.IsSystemSchema(found.Schema) {
		return
	}
	if found.RowSecurity {
		for i := range found.RowPolicies {
			r.expression(found.RowPolicies[i].Using)
			r.expression(found.RowPolicies[i].Check)
		}
	}
	bits := triggerBits(verb)
	for i := range found.Triggers {
		if t := &found.Triggers[i]; !t.Disabled && t.Bits&bits != 0 {
			r.trigger(r.cat.Function(t.Function))
		}
	}
	if verb != policylang.VerbInsert && verb != policylang.VerbUpdate {
		return
	}
	for _, code := range onWrite(found) {
		r.expression(code.text)
	}
	for i := range found.Columns {
		r.expression(found.Columns[i].Default)
		if t := r.cat.Type(found.Columns[i].Type); t != nil && t.Kind == pgcatalog.TypeDomain && t.OID >= pgcatalog.FirstUserOID {
			for _, check := range t.Checks {
				r.expression(check)
			}
		}
	}
}

func triggerBits(verb policylang.Verb) int16 {
	switch verb { //nolint:exhaustive // no other fires triggers
	case policylang.VerbInsert:
		return pgcatalog.TriggerInsert
	case policylang.VerbUpdate:
		return pgcatalog.TriggerUpdate
	case policylang.VerbDelete:
		return pgcatalog.TriggerDelete
	case policylang.VerbTruncate:
		return pgcatalog.TriggerTruncate
	}
	return 0
}

// opaqueCall is what running code that cannot be read may do.
var opaqueCall = policylang.Known{Class: policylang.ClassFunction, Opaque: true}

// expression adds what a list of stored expressions reaches and calls.
func (r *resolver) expression(text string) {
	defer r.through(policylang.ViaExpression)()
	at := storedExpression{text, r.via}
	if text == "" || r.expressions[at] {
		return
	}
	if r.expressions == nil {
		r.expressions = map[storedExpression]bool{}
	}
	r.expressions[at] = true
	r.stored("SELECT ROW("+text+"\n)", storedPath)
}

// trigger adds what a trigger's function does, if it can be read.
func (r *resolver) trigger(f *pgcatalog.Function) {
	defer r.through(policylang.ViaTrigger)()
	switch {
	case f == nil:
		r.note(opaqueCall)
		return
	case f.OID < pgcatalog.FirstUserOID:
		r.called = append(r.called, f.Schema+"."+f.Name)
		return
	}
	name := f.Schema + "." + f.Name
	if slices.Contains(r.called, name) {
		return
	}
	r.called = append(r.called, name)
	const tag = "$body$"
	if f.Language != "plpgsql" || f.Source == "" || strings.Contains(f.Source, tag) {
		r.note(opaqueCall)
		return
	}
	path := r.env.SearchPath
	if f.Path != "" {
		path, _ = newAnalyzer(r.env, r.cat, nil).settingPath(f.Path)
	}
	r.stored("CREATE FUNCTION "+triggerName+"() RETURNS trigger LANGUAGE plpgsql AS "+tag+f.Source+tag, path)
}

// stored adds what a statement made of stored code reaches and calls.
func (r *resolver) stored(sql string, path []string) {
	tree, err := statement.Parse(sql, statement.Limits{})
	if err != nil || len(tree.Statements) != 1 {
		r.note(opaqueCall)
		return
	}
	facts := *tree.Statements[0].Facts
	inside := &resolver{env: Environment{SearchPath: path, Database: r.env.Database}, cat: r.cat}
	inside.settle(&facts)
	if facts.Opaque {
		r.note(opaqueCall)
	}
	for _, name := range inside.functions(facts.Functions) {
		if name != triggerName {
			r.called = append(r.called, name)
		}
	}
	for _, rel := range facts.Relations {
		found := inside.find(rel)
		if found != nil {
			rel.Schema = found.Schema
			if found.Kind == pgcatalog.RelationSequence {
				continue // a column's own numbers
			}
		}
		if r.add(rel) && found != nil {
			r.below(found, rel.Verb)
		}
	}
}

// overloaded makes the facts opaque if a name that the text's reader takes for
// a function of the server's may also mean one of a user's.
func (r *resolver) overloaded(names []string) {
	for _, name := range names {
		if strings.Contains(name, ".") || r.env.SearchPath == nil {
			continue
		}
		builtin, user := false, false
		for _, fn := range r.cat.FindFunctions(r.env.SearchPath, name) {
			builtin = builtin || fn.OID < pgcatalog.FirstUserOID
			user = user || (fn.OID >= pgcatalog.FirstUserOID && functionTrust(fn) != pureCode)
		}
		if builtin && user {
			r.note(opaqueCall)
		}
	}
}

// castByUser reports whether a function of a user's converts values of a type.
func (r *resolver) castByUser(t *pgcatalog.Type) bool {
	for c := range r.cat.CastsOf(t.OID) {
		if c.Function < pgcatalog.FirstUserOID {
			continue
		}
		if fn := r.cat.Function(c.Function); fn == nil || functionTrust(fn) != pureCode {
			return true
		}
	}
	return false
}
