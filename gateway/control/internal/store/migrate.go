package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// migrations holds the statements that lead from each version of the tables
// to the next, in files named in order. They only go forward: a file that was
// released is never changed.
//
//go:embed migrations/*.sql
var migrations embed.FS

// ErrNewer says that a newer program has migrated the store.
var ErrNewer = errors.New("the store was migrated by a newer version of postern; run that version")

// migrate brings the tables to the newest version. Replicas that start
// together take turns by the lock on the version's row.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	if err := s.makeVersionTable(ctx); err != nil {
		return err
	}
	tx, err := s.w.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	var version int
	if err := tx.QueryRowContext(ctx, "UPDATE schema_version SET version = version WHERE id = 1 RETURNING version").Scan(&version); err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if version > len(files) {
		return fmt.Errorf("the schema has version %d, this program knows %d: %w", version, len(files), ErrNewer)
	}
	for _, file := range files[version:] {
		if err := runFile(ctx, tx, file); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "UPDATE schema_version SET version = $1 WHERE id = 1", len(files)); err != nil {
		return fmt.Errorf("write the schema's version: %w", err)
	}
	return tx.Commit()
}

// makeVersionTable tries again because CREATE TABLE IF NOT EXISTS fails on
// PostgreSQL when another session creates the table at the same moment.
func (s *Store) makeVersionTable(ctx context.Context) error {
	var err error
	for range 5 {
		_, err = s.w.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS schema_version (id BIGINT PRIMARY KEY, version BIGINT NOT NULL)")
		if err == nil {
			_, err = s.w.ExecContext(ctx, "INSERT INTO schema_version (id, version) VALUES (1, 0) ON CONFLICT (id) DO NOTHING")
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("make the table of the schema's version: %w", err)
}

// runFile runs a file's statements, each of which ends with a semicolon at the
// end of a line.
func runFile(ctx context.Context, tx *sql.Tx, file string) error {
	text, err := fs.ReadFile(migrations, file)
	if err != nil {
		return fmt.Errorf("read migration: %w", err)
	}
	for _, statement := range strings.Split(string(text), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("run %s: %w", file, err)
		}
	}
	return nil
}
