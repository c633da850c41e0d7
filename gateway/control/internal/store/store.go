// Package store keeps the control plane's state in SQL: in one SQLite file, or
// in any PostgreSQL of version 14 or newer. The text of every statement is the
// same for both: TEXT and BIGINT columns, $1 placeholders, INSERT … ON
// CONFLICT, RETURNING. Times are microseconds since 1970, 0 for none; lists
// and nested values are JSON in TEXT.
//
// Every writing transaction first bumps the one row of table revision. That
// serialises writers, on whichever replica they run, so that a transaction
// reads what it decides on without further locks; and it gives each change a
// revision without gaps. [Store.Wait] watches that row: a change is seen at
// once by waiters in the same process and within [PollInterval] by others.
// Reports of instances and last uses of tokens are the exception: nobody waits
// for them, so they are written without it.
//
// A Store is safe for concurrent use. What it returns is the caller's.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"
	_ "modernc.org/sqlite"             // registers the driver "sqlite"
)

// PollInterval is how often a replica that has waiters looks for changes that
// others made.
const PollInterval = 250 * time.Millisecond

// The reasons for which a change or a look-up is refused.
var (
	ErrNotFound   = errors.New("not found")
	ErrExists     = errors.New("exists already")
	ErrChanged    = errors.New("changed meanwhile")
	ErrReferenced = errors.New("a release names it")
	ErrDecided    = errors.New("decided already")
)

// Config says where the store is.
type Config struct {
	// URL is postgres://…, or sqlite:PATH, or just the path of an SQLite file,
	// which is made if it does not exist.
	URL string
	// BundleDir is the directory for sealed bundles. If it is empty they are
	// kept in SQL, as replicas need that share no disk.
	BundleDir string
	Logger    *slog.Logger // slog.Default unless set
}

// Store is an open store.
type Store struct {
	w, r  *sql.DB // writing, reading; the same on PostgreSQL
	blobs blobs
	log   *slog.Logger
	watch watch

	reports  reports
	seen     seenReleases
	sealed   seenBlobs
	prepared prepared

	stop context.CancelFunc
	done sync.WaitGroup
}

// Open opens the store, making or migrating its tables. The caller closes it.
func Open(ctx context.Context, c Config) (*Store, error) {
	s := &Store{log: c.Logger}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.watch.changed = make(chan struct{})
	if err := s.connect(c.URL); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	err := s.migrate(ctx)
	if err == nil {
		s.blobs, err = openBlobs(c.BundleDir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.closeDatabases())
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.done.Go(func() { s.pollLoop(ctx) })
	return s, nil
}

// Close ends the watching and closes the databases.
func (s *Store) Close() error {
	s.stop()
	s.done.Wait()
	return s.closeDatabases()
}

// Ping reports whether the store answers.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.revision(ctx)
	return err
}

func (s *Store) connect(storeURL string) error {
	if scheme, _, ok := strings.Cut(storeURL, "://"); ok && (scheme == "postgres" || scheme == "postgresql") {
		return s.connectPostgres(storeURL)
	}
	path := strings.TrimPrefix(storeURL, "sqlite:")
	if path == "" || strings.Contains(path, "://") {
		return errors.New("the store must be postgres://…, sqlite:PATH or the path of an SQLite file")
	}
	return s.connectSQLite(path)
}

func (s *Store) connectPostgres(storeURL string) error {
	db, err := sql.Open("pgx", storeURL)
	if err != nil {
		// The driver's error may quote the URL, and so a password.
		return errors.New("the PostgreSQL URL cannot be read")
	}
	db.SetMaxOpenConns(32)
	db.SetMaxIdleConns(8)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s.w, s.r = db, db
	return nil
}

// connectSQLite uses one connection to write, so that writers queue in this
// process instead of failing on each other's locks, and several to read.
func (s *Store) connectSQLite(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the store's directory: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the store's file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("open the store's file: %w", err)
	}
	pragmas := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)"},
	}
	name := "file:" + (&url.URL{Path: path}).EscapedPath()
	if s.w, err = sql.Open("sqlite", name+"?"+pragmas.Encode()); err != nil {
		return fmt.Errorf("open the store's file: %w", err)
	}
	s.w.SetMaxOpenConns(1)
	pragmas.Set("_txlock", "deferred")
	pragmas.Add("_pragma", "query_only(1)")
	if s.r, err = sql.Open("sqlite", name+"?"+pragmas.Encode()); err != nil {
		return errors.Join(fmt.Errorf("open the store's file: %w", err), s.w.Close())
	}
	s.r.SetMaxOpenConns(8)
	s.r.SetMaxIdleConns(8)
	return nil
}

func (s *Store) closeDatabases() error {
	if s.w == s.r {
		return s.w.Close()
	}
	return errors.Join(s.r.Close(), s.w.Close())
}

// write runs f in a transaction that no other write overlaps and that is
// durable when write returns. An error of f undoes it.
func (s *Store) write(ctx context.Context, f func(tx *sql.Tx, rev int64) error) error {
	tx, err := s.w.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	var rev int64
	if err := tx.QueryRowContext(ctx, "UPDATE revision SET rev = rev + 1 WHERE id = 1 RETURNING rev").Scan(&rev); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if err := f(tx, rev); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	s.watch.seen(rev)
	return nil
}

func (s *Store) revision(ctx context.Context) (int64, error) {
	var rev int64
	if err := s.r.QueryRowContext(ctx, "SELECT rev FROM revision WHERE id = 1").Scan(&rev); err != nil {
		return 0, fmt.Errorf("read revision: %w", err)
	}
	return rev, nil
}

// querier is what *sql.DB and *sql.Tx share.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// collect runs a query and scans each row.
func collect[T any](ctx context.Context, q querier, scan func(row scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// scanner is what *sql.Row and *sql.Rows share.
type scanner interface{ Scan(dest ...any) error }

// notFound turns the driver's word into the package's.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// changedRows returns ErrNotFound if a statement changed nothing.
func changedRows(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// then runs f unless err is set.
func then(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func optional(us int64) *time.Time {
	if us == 0 {
		return nil
	}
	t := fromMicros(us)
	return &t
}
