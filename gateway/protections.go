package gateway

import (
	"context"
	"log/slog"
	"sync"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// protections keeps which columns a set of masks protects in a catalog, so
// that sessions with the same masks share the work, and so that a column stays
// protected when it is renamed while the gateway runs.
type protections struct {
	mu   sync.Mutex
	kept map[protectionKey]protected
}

type protectionKey struct {
	database string
	masks    string // policylang.MaskSet.Key
}

type protected struct {
	catalog    *pgcatalog.Catalog
	protection *lineage.Protection
}

// maxProtections bounds what is kept: databases times sets of masks.
const maxProtections = 256

// get returns what the masks protect in a database as the catalog shows it.
// It reports the columns that no mask names any more to log, once each time
// that the catalog changes.
func (p *protections) get(cat *pgcatalog.Catalog, masks *policylang.MaskSet, log *slog.Logger) *lineage.Protection {
	key := protectionKey{cat.Database, masks.Key}
	p.mu.Lock()
	defer p.mu.Unlock()
	have, ok := p.kept[key]
	switch {
	case ok && have.catalog == cat:
		return have.protection
	case ok && cat.Generation < have.catalog.Generation: // of a session that began to look before
		return have.protection.Next(cat, masks)
	}
	made := protected{catalog: cat}
	if ok {
		made.protection = have.protection.Next(cat, masks)
	} else {
		made.protection = lineage.Protect(cat, masks)
	}
	if p.kept == nil || len(p.kept) >= maxProtections {
		p.kept = map[protectionKey]protected{}
	}
	p.kept[key] = made
	for _, id := range made.protection.Drifted() {
		log.LogAttrs(context.Background(), slog.LevelWarn, "a masked column was renamed; it stays masked, and the policy should be mended",
			slog.String("database", cat.Database), slog.String("column", cat.ColumnName(id)))
	}
	return made.protection
}
