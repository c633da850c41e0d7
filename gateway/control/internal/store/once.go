package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// Once keeps what may be used one time: an enrolment, a sign-in that is under
// way, an assertion that was seen. Replicas share it, so that what one of them
// took is gone for all.
type Once struct {
	store *Store
	now   func() time.Time
}

// Once returns the store's keeper of what is used once.
func (s *Store) Once(now func() time.Time) *Once { return &Once{store: s, now: now} }

// Put keeps content under an id until it expires, or returns ErrExists if there
// is something under that id.
func (o *Once) Put(ctx context.Context, id, content string, expires time.Time) error {
	if _, err := o.store.w.ExecContext(ctx, forgetOnce, micros(o.now())); err != nil {
		return fmt.Errorf("forget what has expired: %w", err)
	}
	return putOnce(ctx, o.store.w, id, content, expires)
}

const forgetOnce = "DELETE FROM once WHERE expires_at <= $1"

func putOnce(ctx context.Context, db querier, id, content string, expires time.Time) error {
	err := changedRows(db.ExecContext(ctx, "INSERT INTO once (id, content, expires_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
		id, content, micros(expires)))
	if errors.Is(err, ErrNotFound) {
		return ErrExists
	}
	return err
}

// Take removes what is kept under an id and returns it, or ErrNotFound if there
// is nothing or it has expired. Of several who take at once one gets it.
func (o *Once) Take(ctx context.Context, id string) (string, error) {
	var content string
	err := o.store.w.QueryRowContext(ctx, "DELETE FROM once WHERE id = $1 AND expires_at > $2 RETURNING content", id, micros(o.now())).Scan(&content)
	return content, notFound(err)
}

// AddEnrolment keeps the hash of an enrolment token until it expires.
func (s *Store) AddEnrolment(ctx context.Context, hash, gateway string, now, expires time.Time, before func() error) error {
	return s.write(ctx, func(tx *sql.Tx, _ int64) error {
		if _, err := tx.ExecContext(ctx, forgetOnce, micros(now)); err != nil {
			return err
		}
		return then(putOnce(ctx, tx, enrolmentID(hash), gateway, expires), before)
	})
}

// Enrol stores the token of a gateway in exchange for an enrolment, which is
// used up, or returns ErrNotFound if there is none for that gateway.
func (s *Store) Enrol(ctx context.Context, enrolment, gateway string, t api.Token, hash string, before func() error) error {
	return s.write(ctx, func(tx *sql.Tx, _ int64) error {
		err := changedRows(tx.ExecContext(ctx, "DELETE FROM once WHERE id = $1 AND content = $2 AND expires_at > $3",
			enrolmentID(enrolment), gateway, micros(t.CreatedAt)))
		if err != nil {
			return err
		}
		return then(insertToken(ctx, tx, t, hash), before)
	})
}

func enrolmentID(hash string) string { return "enrolment " + hash }
