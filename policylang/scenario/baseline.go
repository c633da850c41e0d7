package scenario

import (
	"bytes"
	"compress/gzip"
	_ "embed" // baseline.json.gz
	"fmt"
	"io"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

// baselineData is the catalog of an empty database of PostgreSQL 15, as
// [pgcatalog.Catalog.Encode] writes it.
//
//go:embed baseline.json.gz
var baselineData []byte

// maxCatalog bounds a catalog's encoding, in bytes.
const maxCatalog = 256 << 20

// Baseline returns the catalog of an empty database of PostgreSQL 15: the
// server's own types, functions, operators and system catalogs, and the schema
// public.
func Baseline() (*pgcatalog.Catalog, error) {
	zip, err := gzip.NewReader(bytes.NewReader(baselineData))
	if err != nil {
		return nil, fmt.Errorf("read baseline catalog: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(zip, maxCatalog))
	if err != nil {
		return nil, fmt.Errorf("read baseline catalog: %w", err)
	}
	return pgcatalog.Decode(data)
}
