package catalog

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

// earlier is a catalog read before, from which what did not change is taken.
type earlier struct {
	catalog *pgcatalog.Catalog
	horizon string // the oldest transaction that its snapshot may not have seen
}

// maxChanges is the number of changed relations above which everything is read
// anew.
const maxChanges = 5000

// readHorizon returns the horizon of the transaction's snapshot. Rows written
// by transactions from it on may be missing in what is read now.
func readHorizon(ctx context.Context, conn Querier) (string, error) {
	sql := "SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())"
	var horizon string
	if err := run(ctx, conn, sql, func(r row) { horizon = r.text(0) }); err != nil {
		return "", fmt.Errorf("ask for the snapshot: %w", err)
	}
	return horizon, nil
}

// changedSince returns the relations whose columns or definition may have
// changed since an earlier catalog was read, and those whose definition depends
// on one. It reports false if everything must be read: too much has changed, or
// something that definitions are printed with: a schema, type, function or
// operator of users.
func changedSince(ctx context.Context, conn Querier, e earlier) (map[uint32]bool, bool, error) {
	horizon, err := strconv.ParseUint(e.horizon, 10, 64)
	if err != nil || e.catalog == nil {
		return nil, false, nil //nolint:nilerr // a horizon that cannot be read means: read everything
	}
	recent := "pg_catalog.age(xmin) <= pg_catalog.age('" + strconv.FormatUint(horizon&0xffffffff, 10) + "'::pg_catalog.xid)"
	sql := strings.ReplaceAll(`
		WITH touched AS (
			SELECT oid FROM pg_catalog.pg_class WHERE RECENT
			UNION SELECT attrelid FROM pg_catalog.pg_attribute WHERE RECENT
			UNION SELECT adrelid FROM pg_catalog.pg_attrdef WHERE RECENT
			UNION SELECT ev_class FROM pg_catalog.pg_rewrite WHERE RECENT)
		SELECT oid, false FROM touched
		UNION SELECT r.ev_class, false FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
			WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
			AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid IN (SELECT oid FROM touched)
		UNION SELECT 0, true WHERE EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE RECENT AND nspname !~ '^pg_(toast_)?temp_')
			OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE RECENT)
			OR EXISTS (SELECT FROM pg_catalog.pg_operator WHERE RECENT)
			OR EXISTS (SELECT FROM pg_catalog.pg_collation WHERE RECENT)
			OR EXISTS (SELECT FROM pg_catalog.pg_type t WHERE RECENT AND NOT EXISTS (
				SELECT FROM touched WHERE touched.oid = t.typrelid OR touched.oid = (
					SELECT e.typrelid FROM pg_catalog.pg_type e WHERE e.oid = t.typelem)))`, "RECENT", recent)
	changed, all := map[uint32]bool{}, false
	err = run(ctx, conn, sql, func(r row) {
		all = all || r.bool(1)
		changed[r.oid(0)] = true
	})
	if err != nil {
		return nil, false, fmt.Errorf("ask what changed: %w", err)
	}
	return changed, !all && len(changed) <= maxChanges, nil
}

// only limits a query to relations, as a condition on their OIDs.
func only(column string, relations map[uint32]bool) string {
	oids := make([]string, 0, len(relations))
	for oid := range relations {
		oids = append(oids, strconv.FormatUint(uint64(oid), 10))
	}
	return column + " = ANY ('{" + strings.Join(oids, ",") + "}'::pg_catalog.oid[])"
}
