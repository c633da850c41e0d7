package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// AddRevocation stores a revocation under the revision that it makes, and
// forgets those that have expired.
func (s *Store) AddRevocation(ctx context.Context, r api.Revocation, before func() error) error {
	return s.write(ctx, func(tx *sql.Tx, rev int64) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM revocations WHERE expires_at <= $1", micros(r.CreatedAt)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO revocations (id, rev, kind, value, reason, created_at, created_by, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			r.ID, rev, string(r.Kind), r.Value, r.Reason, micros(r.CreatedAt), r.CreatedBy, micros(r.ExpiresAt))
		return then(err, before)
	})
}

// Revocations returns those in force, oldest first.
func (s *Store) Revocations(ctx context.Context, now time.Time) (api.RevocationList, error) {
	var list api.RevocationList
	var err error
	list.Revocations, err = collect(ctx, s.r, func(row scanner) (api.Revocation, error) {
		var r api.Revocation
		var rev uint64
		var created, expires int64
		err := row.Scan(&rev, &r.ID, &r.Kind, &r.Value, &r.Reason, &created, &r.CreatedBy, &expires)
		r.CreatedAt, r.ExpiresAt = fromMicros(created), fromMicros(expires)
		list.Revision = max(list.Revision, rev)
		return r, err
	}, "SELECT rev, id, kind, value, reason, created_at, created_by, expires_at FROM revocations WHERE expires_at > $1 ORDER BY rev", micros(now))
	return list, err
}
