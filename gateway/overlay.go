package gateway

import (
	"slices"

	"github.com/posternhq/postern/gateway/catalog"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// overlay is the catalog as the session sees it while its transaction has made
// tables, with what is protected in it. The client loop owns it.
type overlay struct {
	base       *pgcatalog.Catalog
	below      *lineage.Protection
	catalog    *pgcatalog.Catalog
	protection *lineage.Protection
}

// overlaid puts what the session's transaction has made over the catalog.
func (g *guard) overlaid(n *names) {
	if g.seen == nil {
		return
	}
	if g.over.base != n.base || g.over.below != n.protection {
		g.over = overlay{base: n.base, below: n.protection, catalog: g.seen.Over(n.base), protection: n.protection}
		if g.over.catalog != n.base {
			g.over.protection = n.protection.Next(g.over.catalog, n.masks)
		}
	}
	n.catalog, n.protection = g.over.catalog, g.over.protection
}

// onlyOwn reports whether a change of the schema is of tables that the
// session's own transaction has made: it is asked again what they look like.
func onlyOwn(c *considered, seen *catalog.Session) bool {
	if seen == nil || c.facts.Opaque || !slices.Contains([]string{"ALTER TABLE", "DROP TABLE", "CREATE INDEX", "COMMENT"}, c.facts.Command) {
		return false
	}
	for _, rel := range c.facts.Relations {
		if !seen.Made(rel.Schema, rel.Name) {
			return false
		}
	}
	return len(c.facts.Relations) > 0
}

// checkUnsettled refuses to follow columns through a statement while the
// session's own transaction has changed what names stand for: the catalog is
// read by another connection, which does not see that, and by the old names a
// masked column may be taken for another.
func (g *guard) checkUnsettled(k *known) *refusal.Refusal {
	if !g.unsettled.Load() || setsParameter(k) {
		return nil
	}
	return refusal.New(refusal.Masked, "this transaction has changed the schema, and columns are masked for you").
		WithHint("Commit it first, and run the statement in the next transaction.")
}

// onlyAdds reports whether a change of the schema does no more than add
// relations, under names that no schema has yet: what was known of other names
// then still holds in the same transaction, and the new ones are not known.
//
// What is in other sessions' temporary schemas does not count, since no name of
// this session's reaches it. One of them may become this session's, where the
// session that had it has ended and the catalog does not say so yet: then
// [catalog.Session.Over] leaves out what was in it.
func onlyAdds(c *considered, cat *pgcatalog.Catalog, path []string) bool {
	adds := []string{"CREATE TABLE", "CREATE TABLE AS", "SELECT INTO", "CREATE INDEX", "CREATE SEQUENCE", "COMMENT"}
	if cat == nil || c.facts.Opaque || !slices.Contains(adds, c.facts.Command) {
		return false
	}
	var made []string
	for _, rel := range c.facts.Relations {
		if rel.Verb == policylang.VerbCreate {
			made = append(made, rel.Name)
		}
	}
	for have := range cat.Relations() {
		if slices.Contains(made, have.Name) && !ofAnother(have.Schema, path) {
			return false
		}
	}
	return true
}

// ofAnother reports whether a schema is for temporary objects of a session with
// another search path; false where that is not known.
func ofAnother(schema string, path []string) bool {
	return pgcatalog.IsTemporarySchema(schema) && path != nil && !slices.Contains(path, schema)
}
