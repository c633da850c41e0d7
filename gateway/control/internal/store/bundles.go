package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"

	"github.com/posternhq/postern/gateway/internal/api"
)

const bundleColumns = "digest, size, key_id, created_at, created_by"

func scanBundle(row scanner) (api.Bundle, error) {
	var b api.Bundle
	var created int64
	err := row.Scan(&b.Digest, &b.Size, &b.KeyID, &created, &b.CreatedBy)
	b.CreatedAt = fromMicros(created)
	return b, notFound(err)
}

// Bundles describes the stored bundles, newest first.
func (s *Store) Bundles(ctx context.Context) ([]api.Bundle, error) {
	return collect(ctx, s.r, scanBundle, "SELECT "+bundleColumns+" FROM bundles ORDER BY created_at DESC, digest")
}

// Bundle returns a sealed bundle, or ErrNotFound. The bytes are shared: the
// caller does not change them.
func (s *Store) Bundle(ctx context.Context, digest string) ([]byte, error) {
	var blob string
	if err := s.queryRow(ctx, "SELECT blob FROM bundles WHERE digest = $1", digest).Scan(&blob); err != nil {
		return nil, notFound(err)
	}
	if data, ok := s.sealed.get(blob); ok {
		return data, nil
	}
	data, err := s.blobs.Get(ctx, s.r, blob)
	if err == nil {
		s.sealed.put(blob, data)
	}
	return data, err
}

// PutBundle stores a sealed bundle and reports whether its digest is new. The
// same policy sealed by another key takes the place of what was there: it is
// the same policy, and so keys can be replaced.
func (s *Store) PutBundle(ctx context.Context, b api.Bundle, sealed []byte, before func() error) (created bool, err error) {
	sum := sha256.Sum256(sealed)
	blob := hex.EncodeToString(sum[:])
	var old string
	err = s.r.QueryRowContext(ctx, "SELECT blob FROM bundles WHERE digest = $1", b.Digest).Scan(&old)
	switch {
	case err == nil && old == blob:
		return false, nil
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return false, err
	}
	err = s.write(ctx, func(tx *sql.Tx, _ int64) error {
		if err := s.blobs.Put(ctx, tx, blob, sealed); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, "SELECT blob FROM bundles WHERE digest = $1", b.Digest).Scan(&old)
		created = errors.Is(err, sql.ErrNoRows)
		if err != nil && !created {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO bundles (blob, "+bundleColumns+") VALUES ($1, $2, $3, $4, $5, $6) "+
			"ON CONFLICT (digest) DO UPDATE SET blob = excluded.blob, size = excluded.size, key_id = excluded.key_id, "+
			"created_at = excluded.created_at, created_by = excluded.created_by",
			blob, b.Digest, b.Size, b.KeyID, micros(b.CreatedAt), b.CreatedBy)
		return then(err, before)
	})
	if err == nil && !created && old != blob {
		err = s.sweepBlob(ctx, old)
	}
	return created, err
}

// DeleteBundle removes a bundle; the error is ErrReferenced if a release ever
// named it, ErrNotFound if there is none.
func (s *Store) DeleteBundle(ctx context.Context, digest string, before func() error) error {
	var blob string
	err := s.write(ctx, func(tx *sql.Tx, _ int64) error {
		if err := tx.QueryRowContext(ctx, "SELECT blob FROM bundles WHERE digest = $1", digest).Scan(&blob); err != nil {
			return notFound(err)
		}
		var named int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM releases WHERE bundle = $1", digest).Scan(&named); err != nil {
			return err
		}
		if named > 0 {
			return ErrReferenced
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM bundles WHERE digest = $1", digest)
		return then(err, before)
	})
	if err != nil {
		return err
	}
	return s.sweepBlob(ctx, blob)
}

// sweepBlob deletes a blob that nothing refers to, in a transaction after the
// one that removed the reference: if that one fails, the blob must stay.
func (s *Store) sweepBlob(ctx context.Context, blob string) error {
	return s.write(ctx, func(tx *sql.Tx, _ int64) error {
		var used int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM bundles WHERE blob = $1", blob).Scan(&used); err != nil {
			return err
		}
		if used > 0 {
			return nil
		}
		return s.blobs.Delete(ctx, tx, blob)
	})
}
