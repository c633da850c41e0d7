package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// blobs keeps bytes under immutable names: the hexadecimal SHA-256 of the
// bytes. Put does nothing if the name is there. Put and Delete are called
// inside the transaction that makes or removes the last reference, and so
// never at the same time.
type blobs interface {
	Put(ctx context.Context, tx *sql.Tx, name string, data []byte) error
	Get(ctx context.Context, q querier, name string) ([]byte, error)
	Delete(ctx context.Context, tx *sql.Tx, name string) error
}

func openBlobs(dir string) (blobs, error) {
	if dir == "" {
		return sqlBlobs{}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of bundles: %w", err)
	}
	return dirBlobs(dir), nil
}

// sqlBlobs keeps bytes in table blobs, as base64.
type sqlBlobs struct{}

func (sqlBlobs) Put(ctx context.Context, tx *sql.Tx, name string, data []byte) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO blobs (name, content) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
		name, base64.StdEncoding.EncodeToString(data))
	return err
}

func (sqlBlobs) Get(ctx context.Context, q querier, name string) ([]byte, error) {
	var content string
	if err := q.QueryRowContext(ctx, "SELECT content FROM blobs WHERE name = $1", name).Scan(&content); err != nil {
		return nil, notFound(err)
	}
	return base64.StdEncoding.DecodeString(content)
}

func (sqlBlobs) Delete(ctx context.Context, tx *sql.Tx, name string) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM blobs WHERE name = $1", name)
	return err
}

// dirBlobs keeps bytes in the files of a directory. A crash may leave a file
// that nothing refers to, never a reference without its file.
type dirBlobs string

func (d dirBlobs) path(name string) string { return filepath.Join(string(d), name) }

func (d dirBlobs) Put(_ context.Context, _ *sql.Tx, name string, data []byte) (err error) {
	if _, err := os.Stat(d.path(name)); err == nil {
		return nil
	}
	f, err := os.CreateTemp(string(d), ".new-*")
	if err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	if err := os.Rename(f.Name(), d.path(name)); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return d.sync()
}

func (d dirBlobs) Get(_ context.Context, _ querier, name string) ([]byte, error) {
	data, err := os.ReadFile(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return data, err
}

func (d dirBlobs) Delete(_ context.Context, _ *sql.Tx, name string) error {
	if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove bundle: %w", err)
	}
	return nil
}

func (d dirBlobs) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
