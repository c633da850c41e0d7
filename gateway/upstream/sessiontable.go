package upstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/policylang"
)

// Person is who is behind a connection.
type Person struct {
	Identity string
	Actor    string // the agent that acts for the identity; may be empty
	Session  string
}

// The table postern.session, which `postern upstream prepare` makes, and which
// no client's role can write: postern.identity() reads it.
const (
	startedSQL = "SELECT backend_start::text FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())"
	// Rows of servers' processes that have ended are dropped by the way.
	introduceSQL = `WITH gone AS (
  DELETE FROM postern.session WHERE pid = $1::int OR pid NOT IN (SELECT a.pid FROM pg_catalog.pg_stat_get_activity(NULL) a)
)
INSERT INTO postern.session (pid, backend_start, identity, actor, session) VALUES ($1::int, $2::timestamptz, $3, $4, $5)`
	forgetSQL = "DELETE FROM postern.session WHERE pid = $1::int AND session = $2"
)

// Introduce tells the database who is behind a connection, by a connection of
// the catalog's role, which must be to the same database, and is to the same
// server.
func Introduce(ctx context.Context, means Means, database string, c *Conn, p Person) error {
	return asCatalogRole(ctx, c.Target, means, database, introduceSQL,
		strconv.FormatUint(uint64(c.pid), 10), c.started, p.Identity, p.Actor, p.Session)
}

// Forget takes back what Introduce told.
func Forget(ctx context.Context, means Means, database string, c *Conn, p Person) error {
	return asCatalogRole(ctx, c.Target, means, database, forgetSQL, strconv.FormatUint(uint64(c.pid), 10), p.Session)
}

func asCatalogRole(ctx context.Context, target *policylang.Upstream, means Means, database, sql string, values ...string) (err error) {
	conn, err := Connect(ctx, target, Login{Role: target.CatalogRole, Database: database, Means: means})
	if err != nil {
		return fmt.Errorf("tell the database who is connected: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	args := make([][]byte, len(values))
	for i, v := range values {
		args[i] = []byte(v)
	}
	if _, err := conn.ExecParams(ctx, sql, args, nil, nil, nil).Close(); err != nil {
		var pg *pgconn.PgError
		const undefinedTable, invalidSchema = "42P01", "3F000"
		if errors.As(err, &pg) && (pg.Code == undefinedTable || pg.Code == invalidSchema) {
			return errors.New("tell the database who is connected: it has no postern.session; run postern upstream prepare --session-table")
		}
		return fmt.Errorf("tell the database who is connected: %w", err)
	}
	return nil
}
