package catalog

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

// Dependencies are what a statement's analysis rests on: relations, those below
// views included, and functions that users have made.
type Dependencies struct {
	Relations, Functions []uint32
}

// versionsSQL counts the rows that define relations and functions, and sums
// the transactions that wrote them: each change gives a row a new one.
const versionsSQL = `
	SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(xmin::text::bigint), 0) FROM pg_catalog.pg_class WHERE oid = ANY ($1)
	UNION ALL SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(xmin::text::bigint), 0)
		FROM pg_catalog.pg_attribute WHERE attrelid = ANY ($1) AND attnum > 0 AND NOT attisdropped
	UNION ALL SELECT 0, coalesce(pg_catalog.sum(xmin::text::bigint), 0) FROM pg_catalog.pg_rewrite WHERE ev_class = ANY ($1)
	UNION ALL SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(xmin::text::bigint), 0) FROM pg_catalog.pg_proc WHERE oid = ANY ($2)`

// versions are what versionsSQL returns: the number of rows and their sum.
type versions struct{ rows, sum uint64 }

// versionsIn are the versions that a catalog knows.
func (d *Dependencies) versionsIn(cat *pgcatalog.Catalog) versions {
	var v versions
	for _, oid := range d.Relations {
		if r := cat.Relation(oid); r != nil {
			v.rows += 1 + uint64(len(r.Columns))
			v.sum += r.Version + r.ColumnsVersion
		}
	}
	for _, oid := range d.Functions {
		if f := cat.Function(oid); f != nil {
			v.rows++
			v.sum += f.Version
		}
	}
	return v
}

// watcher is a connection that is asked for versions.
type watcher struct {
	conn *pgconn.PgConn // nil until it is needed
}

// watchersPerDatabase bounds how many sessions look at a time.
const watchersPerDatabase = 4

// newWatchers returns watchers that are idle. The one used last is used next,
// so that few connect where few are needed.
func newWatchers() chan *watcher {
	idle := make(chan *watcher, watchersPerDatabase)
	for range watchersPerDatabase {
		idle <- &watcher{}
	}
	return idle
}

// closeWatchers closes the connections of those that are idle; the sessions of
// others have ended, or are about to.
func closeWatchers(idle chan *watcher) {
	for range len(idle) {
		w := <-idle
		w.close()
		idle <- w
	}
}

const versionsStatement = "versions"

// Same reports whether the definitions of dependencies are still those that a
// snapshot of the database has. It asks the server.
func (s *Store) Same(ctx context.Context, database string, cat *pgcatalog.Catalog, d Dependencies) (bool, error) {
	s.mu.Lock()
	e := s.databases[database]
	s.mu.Unlock()
	if e == nil {
		return false, nil
	}
	var w *watcher
	select {
	case w = <-e.watch:
	case <-ctx.Done():
		return false, fmt.Errorf("look at the catalog of %q: %w", database, context.Cause(ctx))
	}
	defer func() { e.watch <- w }()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	now, err := w.look(ctx, s.connect, database, d)
	if err != nil {
		w.close()
		return false, fmt.Errorf("look at the catalog of %q: %w", database, err)
	}
	return now == d.versionsIn(cat), nil
}

func (w *watcher) look(ctx context.Context, connect Connect, database string, d Dependencies) (versions, error) {
	if w.conn == nil || w.conn.IsClosed() {
		conn, err := connect(ctx, database)
		if err != nil {
			return versions{}, err
		}
		w.conn = conn
		if _, err := conn.Prepare(ctx, versionsStatement, versionsSQL, []uint32{oidArray, oidArray}); err != nil {
			return versions{}, err
		}
	}
	result := w.conn.ExecPrepared(ctx, versionsStatement, [][]byte{oidList(d.Relations), oidList(d.Functions)}, nil, nil).Read()
	if result.Err != nil {
		return versions{}, result.Err
	}
	var v versions
	for _, values := range result.Rows {
		v.rows += row(values).uint64(0)
		v.sum += row(values).uint64(1)
	}
	return v, nil
}

func (w *watcher) close() {
	if w.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = w.conn.Close(ctx) // it is only thrown away
	w.conn = nil
}

// oidArray is the OID of the type oid[].
const oidArray = 1028

// oidList writes OIDs as an array.
func oidList(oids []uint32) []byte {
	out := []byte{'{'}
	for i, oid := range oids {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendUint(out, uint64(oid), 10)
	}
	return append(out, '}')
}
