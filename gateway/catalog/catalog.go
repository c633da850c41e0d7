// Package catalog reads what an upstream database looks like and keeps it
// fresh: [Load] reads one snapshot over a connection, a [Store] holds a
// snapshot per database with generation numbers.
//
// Load needs no privilege on any table: it reads the system catalogs, and asks
// the server to print definitions under an empty search_path, so that every
// name in them is qualified.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

// Querier runs SQL by the simple query protocol, as *pgconn.PgConn does.
type Querier interface {
	Exec(ctx context.Context, sql string) *pgconn.MultiResultReader
}

// oldestServer is the oldest server_version_num that Load understands.
const oldestServer = 130000

// Load reads the catalog of the database that conn is connected to, all of it
// as of one moment: in one REPEATABLE READ, READ ONLY transaction, which it
// ends. The connection must be idle. The catalog's generation is 0.
func Load(ctx context.Context, conn Querier) (*pgcatalog.Catalog, error) {
	snapshot, err := load(ctx, conn, earlier{})
	if err != nil {
		return nil, err
	}
	return snapshot.builder.Build(0), nil
}

// snapshot is a catalog about to be built, with what it takes to find later
// whether, and what, has changed since.
type snapshot struct {
	builder *pgcatalog.Builder
	mark    mark
	horizon string
	code    string // what codeSQL returns
	partial bool   // columns and definitions that did not change are those of an earlier catalog
}

// load reads a catalog, taking what did not change from an earlier one.
func load(ctx context.Context, conn Querier, e earlier) (*snapshot, error) {
	if err := begin(ctx, conn); err != nil {
		return nil, err
	}
	s, err := read(ctx, conn, e)
	if end := run(ctx, conn, "COMMIT", nil); err == nil && end != nil {
		return nil, fmt.Errorf("end the catalog's transaction: %w", end)
	}
	return s, err
}

// begin opens the transaction in which a catalog is read. A definition that a
// schema change holds locked is waited for briefly, not for ever.
func begin(ctx context.Context, conn Querier) error {
	const sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " +
		"SET LOCAL search_path = ''; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '60s'; " +
		"SET LOCAL row_security = off; SET LOCAL quote_all_identifiers = off; SET LOCAL client_min_messages = error"
	if err := run(ctx, conn, sql, nil); err != nil {
		return fmt.Errorf("begin the catalog's transaction: %w", err)
	}
	return nil
}

func read(ctx context.Context, conn Querier, e earlier) (*snapshot, error) {
	database, version, err := identify(ctx, conn)
	if err != nil {
		return nil, err
	}
	s := &snapshot{}
	if err := s.read(ctx, conn, e, database, version); err != nil {
		return nil, fmt.Errorf("read the catalog of %q: %w", database, err)
	}
	return s, nil
}

func (s *snapshot) read(ctx context.Context, conn Querier, e earlier, database string, version int) (err error) {
	if version < oldestServer {
		return fmt.Errorf("server version %d is not supported, the oldest is %d", version/10000, oldestServer/10000)
	}
	if s.mark, err = readMark(ctx, conn); err != nil {
		return err
	}
	if s.horizon, err = readHorizon(ctx, conn); err != nil {
		return err
	}
	if s.code, err = readCode(ctx, conn); err != nil {
		return err
	}
	changed, some, err := changedSince(ctx, conn, e)
	if err != nil {
		return err
	}
	r := newReader(database, version)
	todo := queries(version, everything, everything)
	if some {
		r.previous, r.changed, s.partial = e.catalog, changed, true
		todo = queries(version, only("c.oid", changed), only("a.attrelid", changed))
	}
	for _, q := range todo {
		if err := run(ctx, conn, q.sql, func(row row) { q.read(r, row) }); err != nil {
			return fmt.Errorf("%s: %w", q.what, err)
		}
	}
	s.builder, err = r.build()
	if some && errors.Is(err, errNotKept) {
		s.partial = false
		return s.read(ctx, conn, earlier{}, database, version)
	}
	return err
}

// identify asks the server for the database's name and its own version.
func identify(ctx context.Context, conn Querier) (database string, version int, err error) {
	const sql = "SELECT pg_catalog.current_database(), pg_catalog.current_setting('server_version_num')"
	err = run(ctx, conn, sql, func(row row) {
		database = row.text(0)
		version, _ = strconv.Atoi(row.text(1))
	})
	if err != nil {
		return "", 0, fmt.Errorf("ask the server who it is: %w", err)
	}
	return database, version, nil
}

// run executes SQL and hands every row of every result to each, which may be
// nil and must not keep the row.
func run(ctx context.Context, conn Querier, sql string, each func(row)) error {
	results := conn.Exec(ctx, sql)
	for results.NextResult() {
		rows := results.ResultReader()
		for rows.NextRow() {
			if each != nil {
				each(rows.Values())
			}
		}
		if _, err := rows.Close(); err != nil {
			_ = results.Close() // reports the same error
			return err
		}
	}
	return results.Close()
}
