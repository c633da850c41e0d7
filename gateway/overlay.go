package gateway

import (
	"slices"

	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/policylang"
)

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
func onlyAdds(c *considered, cat *policylang.Catalog) bool {
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
		if slices.Contains(made, have.Name) {
			return false
		}
	}
	return true
}
