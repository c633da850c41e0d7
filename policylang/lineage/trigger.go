package lineage

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// triggerTrusted reports whether a trigger's function, on a relation, does no
// more than compute from what is not protected in the row that it fires for. A
// trigger that raises an error by that tells nothing that is.
func (a *analyzer) triggerTrusted(r *pgcatalog.Relation, f *pgcatalog.Function) bool {
	if f.OID < pgcatalog.FirstUserOID {
		return slices.Contains([]string{"suppress_redundant_updates_trigger", "tsvector_update_trigger", "tsvector_update_trigger_column"}, f.Name)
	}
	if f.Language != "plpgsql" || f.Source == "" {
		return false
	}
	env := a.env
	if f.Path != "" {
		path, ok := a.settingPath(f.Path)
		if !ok {
			return false
		}
		env.SearchPath = path
	}
	return a.bodyHarmless(f.Source, env) && !mentions(f.Source, a.prot.relation(r, a.building).columns)
}

// triggerName names the function that a trigger's body is read as.
const triggerName = "pg_temp.f"

// bodyHarmless reports whether a body in PL/pgSQL touches no relation and calls
// nothing but functions that compute from their arguments.
func (a *analyzer) bodyHarmless(source string, env Environment) bool {
	tag := "$body$"
	if strings.Contains(source, tag) {
		return false
	}
	tree, err := statement.Parse("CREATE FUNCTION "+triggerName+"() RETURNS trigger LANGUAGE plpgsql AS "+tag+source+tag, statement.Limits{})
	if err != nil || len(tree.Statements) != 1 {
		return false
	}
	facts := *tree.Statements[0].Facts
	r := &resolver{env: env, cat: a.cat}
	r.settle(&facts)
	if facts.Opaque || len(facts.Relations) > 0 {
		return false
	}
	for _, name := range facts.Functions {
		if name != triggerName && !r.harmlessFunction(name) {
			return false
		}
	}
	return true
}

// mentions reports whether a trigger's body may use a protected column of the
// row: it has its name, or uses the row as a whole other than to return it.
// When nothing in the row is protected, there is nothing to mention.
func mentions(source string, columns []column) bool {
	if labels(columns).bottom() {
		return false
	}
	lower := strings.ToLower(source)
	if strings.Contains(lower, "u&") {
		return true // names may be spelt in code points
	}
	for i := range columns {
		if !columns[i].label.bottom() && strings.Contains(lower, strings.ToLower(columns[i].name)) {
			return true
		}
	}
	words := splitWords(lower)
	for i, w := range words {
		if w != "new" && w != "old" {
			continue
		}
		returned := i > 0 && words[i-1] == "return"
		field := i+2 < len(words) && words[i+1] == "." && words[i+2] != "*"
		if !returned && !field {
			return true
		}
	}
	return false
}

// splitWords splits a text into words and other characters, without white
// space.
func splitWords(text string) []string {
	var out []string
	for text != "" {
		n := 0
		for n < len(text) && isWordByte(text[n]) {
			n++
		}
		switch {
		case n > 0:
			out = append(out, text[:n])
		case !strings.ContainsRune(" \t\r\n", rune(text[0])):
			out = append(out, text[:1])
			n = 1
		default:
			n = 1
		}
		text = text[n:]
	}
	return out
}

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
}
