package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// watcher is a connection that is asked for versions.
type watcher struct {
	conn     *pgconn.PgConn // nil until it is needed
	prepared map[string]bool
}

// Same reports whether an assertion holds. It asks the server, on a connection
// of its own.
func (s *Store) Same(ctx context.Context, database string, a *Assertion) (bool, error) {
	s.mu.Lock()
	e := s.databases[database]
	if e != nil {
		e.used = time.Now()
	}
	s.mu.Unlock()
	if e == nil || a == nil {
		return false, nil
	}
	w, err := e.watch.take(ctx)
	if err != nil {
		return false, fmt.Errorf("look at the catalog of %q: %w", database, err)
	}
	defer func() { e.watch.put(w) }()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	kept := w.conn != nil
	err = w.look(ctx, s.connect, database, a)
	if kept && w.conn.IsClosed() && ctx.Err() == nil {
		// The server ended the connection while it was idle.
		err = w.look(ctx, s.connect, database, a)
	}
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &pg) && pg.Code == ChangedSQLSTATE:
		return false, nil
	}
	w.close()
	return false, fmt.Errorf("look at the catalog of %q: %w", database, err)
}

func (w *watcher) look(ctx context.Context, connect Connect, database string, a *Assertion) error {
	if w.conn == nil || w.conn.IsClosed() {
		conn, err := connect(ctx, database)
		if err != nil {
			return err
		}
		w.conn = conn
		if err := run(ctx, conn, "SET default_transaction_isolation = '"+ReadCommitted+"'", nil); err != nil {
			return err
		}
		w.prepared = map[string]bool{}
	}
	q := a.whole(true)
	if !w.prepared[q.Name] {
		if _, err := w.conn.Prepare(ctx, q.Name, q.SQL, nil); err != nil {
			return err
		}
		w.prepared[q.Name] = true
	}
	result := w.conn.ExecPrepared(ctx, q.Name, q.Args, nil, nil).Read()
	if result.Err == nil && len(result.Rows) == 1 {
		a.Held(string(result.Rows[0][0]))
	}
	return result.Err
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
