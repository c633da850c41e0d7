package catalog

import (
	"context"
	"fmt"
)

// mark tells cheaply whether a catalog may have changed since it was read: a
// different mark means that it may have.
type mark string

// readMark reads the mark. The server counts the rows written to the system
// catalogs, which costs nothing to read, but a session may report its counts up
// to ten seconds late; so the mark joins them with the newest OIDs, which tell
// of new objects at once. Where the server does not count, the rows themselves
// are looked at.
func readMark(ctx context.Context, conn Querier) (mark, error) {
	const sql = `
		SELECT CASE WHEN pg_catalog.current_setting('track_counts')::bool THEN pg_catalog.concat_ws(' ',
				(SELECT pg_catalog.sum(pg_catalog.pg_stat_get_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_tuples_updated(c.oid)
						+ pg_catalog.pg_stat_get_tuples_deleted(c.oid))
					FROM pg_catalog.pg_class c
					WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relname IN ('pg_class', 'pg_attribute',
						'pg_attrdef', 'pg_constraint', 'pg_inherits', 'pg_index', 'pg_rewrite', 'pg_trigger', 'pg_policy', 'pg_proc',
						'pg_type', 'pg_operator', 'pg_cast', 'pg_namespace', 'pg_extension')),
				(SELECT pg_catalog.max(oid) FROM pg_catalog.pg_class), (SELECT pg_catalog.max(oid) FROM pg_catalog.pg_attrdef),
				(SELECT pg_catalog.max(oid) FROM pg_catalog.pg_constraint), (SELECT pg_catalog.max(oid) FROM pg_catalog.pg_rewrite),
				(SELECT pg_catalog.max(oid) FROM pg_catalog.pg_trigger), (SELECT pg_catalog.max(oid) FROM pg_catalog.pg_policy),
				(SELECT pg_catalog.max(oid) FROM pg_catalog.pg_proc), (SELECT pg_catalog.max(oid) FROM pg_catalog.pg_type),
				(SELECT pg_catalog.max(oid) FROM pg_catalog.pg_namespace))
			ELSE pg_catalog.concat_ws(' ',
				(SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_class),
				(SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_attribute),
				(SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_rewrite),
				(SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_proc),
				(SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_constraint),
				(SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_trigger),
				(SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_inherits),
				(SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_policy),
				(SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_type))
			END`
	var m mark
	if err := run(ctx, conn, sql, func(r row) { m = mark(r.text(0)) }); err != nil {
		return "", fmt.Errorf("ask what changed: %w", err)
	}
	return m, nil
}
