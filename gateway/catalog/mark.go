package catalog

import (
	"context"
	"fmt"
)

// mark tells cheaply whether a catalog may have changed since it was read.
type mark struct {
	changes string // sums over the system catalogs
}

// readMark reads the mark. The counters of rows written to the system catalogs
// are kept by the server and cost nothing to read, but reach them up to a
// second late and are lost in a crash; so the mark joins them with what is
// cheap to count: schemas, relations, functions and the newest of each.
func readMark(ctx context.Context, conn Querier) (mark, error) {
	const sql = `
		SELECT pg_catalog.concat_ws(' ',
			(SELECT pg_catalog.sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_catalog.pg_stat_sys_tables
				WHERE relid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_attribute'::pg_catalog.regclass,
					'pg_catalog.pg_attrdef'::pg_catalog.regclass, 'pg_catalog.pg_constraint'::pg_catalog.regclass,
					'pg_catalog.pg_inherits'::pg_catalog.regclass, 'pg_catalog.pg_index'::pg_catalog.regclass,
					'pg_catalog.pg_rewrite'::pg_catalog.regclass, 'pg_catalog.pg_trigger'::pg_catalog.regclass,
					'pg_catalog.pg_policy'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass,
					'pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass,
					'pg_catalog.pg_cast'::pg_catalog.regclass, 'pg_catalog.pg_namespace'::pg_catalog.regclass,
					'pg_catalog.pg_extension'::pg_catalog.regclass)),
			(SELECT pg_catalog.count(*) FROM pg_catalog.pg_class),
			(SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc))`
	var m mark
	if err := run(ctx, conn, sql, func(r row) { m.changes = r.text(0) }); err != nil {
		return mark{}, fmt.Errorf("ask what changed: %w", err)
	}
	return m, nil
}
