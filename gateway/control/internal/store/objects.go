package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
)

const objectColumns = "kind, name, definition, digest, rev, updated_at, updated_by"

func scanObject(row scanner) (api.Object, error) {
	var o api.Object
	var definition string
	var updated int64
	err := row.Scan(&o.Kind, &o.Name, &definition, &o.Digest, &o.Rev, &updated, &o.UpdatedBy)
	o.Definition, o.UpdatedAt = json.RawMessage(definition), fromMicros(updated)
	return o, notFound(err)
}

// Objects returns the drafts of a kind, sorted by name.
func (s *Store) Objects(ctx context.Context, kind policylang.Kind) ([]api.Object, error) {
	return collect(ctx, s.r, scanObject, "SELECT "+objectColumns+" FROM objects WHERE kind = $1 ORDER BY name", string(kind))
}

// Object returns one draft, or ErrNotFound.
func (s *Store) Object(ctx context.Context, kind policylang.Kind, name string) (api.Object, error) {
	return scanObject(s.r.QueryRowContext(ctx, "SELECT "+objectColumns+" FROM objects WHERE kind = $1 AND name = $2", string(kind), name))
}

// CreateObject stores a new draft and returns its revision, or ErrExists. The
// before of each writing method runs last in its transaction and undoes it by
// an error.
func (s *Store) CreateObject(ctx context.Context, o api.Object, before func() error) (rev int64, err error) {
	err = s.write(ctx, func(tx *sql.Tx, rev64 int64) error {
		rev = rev64
		result, err := tx.ExecContext(ctx, "INSERT INTO objects ("+objectColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (kind, name) DO NOTHING",
			string(o.Kind), o.Name, string(o.Definition), o.Digest, rev, micros(o.UpdatedAt), o.UpdatedBy)
		if err := changedRows(result, err); err != nil {
			if errors.Is(err, ErrNotFound) {
				return ErrExists
			}
			return err
		}
		return before()
	})
	return rev, err
}

// UpdateObject replaces the draft that has revision o.Rev and returns its new
// revision. The error is ErrNotFound if there is no such draft, ErrChanged if
// its revision is another.
func (s *Store) UpdateObject(ctx context.Context, o api.Object, before func() error) (rev int64, err error) {
	err = s.write(ctx, func(tx *sql.Tx, rev64 int64) error {
		rev = rev64
		if err := wantRev(ctx, tx, o.Kind, o.Name, o.Rev); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE objects SET definition = $3, digest = $4, rev = $5, updated_at = $6, updated_by = $7 WHERE kind = $1 AND name = $2",
			string(o.Kind), o.Name, string(o.Definition), o.Digest, rev, micros(o.UpdatedAt), o.UpdatedBy)
		return then(err, before)
	})
	return rev, err
}

// DeleteObject removes a draft: whatever its revision if rev is 0, else as
// UpdateObject changes it.
func (s *Store) DeleteObject(ctx context.Context, kind policylang.Kind, name string, rev int64, before func() error) error {
	return s.write(ctx, func(tx *sql.Tx, _ int64) error {
		if rev != 0 {
			if err := wantRev(ctx, tx, kind, name, rev); err != nil {
				return err
			}
		}
		if err := changedRows(tx.ExecContext(ctx, "DELETE FROM objects WHERE kind = $1 AND name = $2", string(kind), name)); err != nil {
			return err
		}
		return before()
	})
}

func wantRev(ctx context.Context, tx *sql.Tx, kind policylang.Kind, name string, want int64) error {
	var have int64
	err := tx.QueryRowContext(ctx, "SELECT rev FROM objects WHERE kind = $1 AND name = $2", string(kind), name).Scan(&have)
	switch {
	case err != nil:
		return notFound(err)
	case have != want:
		return ErrChanged
	}
	return nil
}

// Now is the time as the store keeps it: UTC, in microseconds.
func Now(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
