package gateway

import (
	"sync"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
)

// protections keeps which columns a set of masks protects in a catalog, so
// that sessions with the same masks share the work.
type protections struct {
	mu   sync.Mutex
	kept map[protectionKey]*lineage.Protection
}

type protectionKey struct {
	catalog *policylang.Catalog
	masks   string // policylang.MaskSet.Key
}

// maxProtections bounds what is kept: databases times sets of masks, for the
// catalog of the moment and the one before.
const maxProtections = 256

func (p *protections) get(cat *policylang.Catalog, masks *policylang.MaskSet) *lineage.Protection {
	key := protectionKey{cat, masks.Key}
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.kept[key]; ok {
		return have
	}
	if p.kept == nil || len(p.kept) >= maxProtections {
		p.kept = map[protectionKey]*lineage.Protection{}
	}
	made := lineage.Protect(cat, masks)
	p.kept[key] = made
	return made
}
