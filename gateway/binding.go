package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// standsFor lists, sorted, what the names in a statement stand for: an approval
// binds it, so that replacing a view, a table, a trigger or a function under
// the same name needs a new one. Without a catalog the names themselves are all
// there is.
func standsFor(f *policylang.Facts, path []string, cat *pgcatalog.Catalog) []string {
	var out []string
	for _, rel := range f.Relations {
		out = append(out, relationStandsFor(rel, path, cat)...)
	}
	for _, name := range f.Functions {
		out = append(out, functionStandsFor(name, path, cat)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func relationStandsFor(rel policylang.Relation, path []string, cat *pgcatalog.Catalog) []string {
	name := strings.TrimPrefix(rel.Schema+"."+rel.Name, ".")
	found := findRelation(rel, path, cat)
	if found == nil {
		return []string{fmt.Sprintf("%s %s", rel.Verb, name)}
	}
	line := fmt.Sprintf("%s relation %d %s.%s", rel.Verb, found.OID, found.Schema, found.Name)
	if found.HasDefinition() {
		line += " " + digest(found.Definition)
	}
	out := []string{line}
	for _, t := range found.Triggers {
		out = append(out, codeOf(cat.Function(t.Function), "trigger "+t.Name))
	}
	for _, r := range found.Rules {
		out = append(out, "rule "+r.Name+" "+digest(r.Definition))
	}
	return out
}

func findRelation(rel policylang.Relation, path []string, cat *pgcatalog.Catalog) *pgcatalog.Relation {
	switch {
	case cat == nil || rel.Name == "":
		return nil
	case rel.Schema != "":
		return cat.RelationNamed(rel.Schema, rel.Name)
	}
	return cat.FindRelation(path, rel.Name)
}

// functionStandsFor lists every function that a call by this name may be; the
// server's own never change.
func functionStandsFor(name string, path []string, cat *pgcatalog.Catalog) []string {
	out := []string{"call " + name}
	if cat == nil {
		return out
	}
	candidates := cat.FindFunctions(path, name)
	if schema, local, qualified := strings.Cut(name, "."); qualified {
		candidates = cat.FunctionsNamed(schema, local)
	}
	for _, fn := range candidates {
		if fn.OID >= pgcatalog.FirstUserOID {
			out = append(out, codeOf(fn, "call "+name))
		}
	}
	return out
}

// codeOf names a function with the digest of its source.
func codeOf(fn *pgcatalog.Function, as string) string {
	if fn == nil {
		return as + " unknown"
	}
	return fmt.Sprintf("%s function %d md5:%s", as, fn.OID, fn.SourceHash)
}

func digest(definition string) string {
	sum := sha256.Sum256([]byte(definition))
	return "sha256:" + hex.EncodeToString(sum[:])
}
