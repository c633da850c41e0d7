package store

import (
	"context"
	"encoding/base64"
	"time"
)

// Sessions keeps the console's sessions: sealed bytes by an id, neither of
// which says anything without the cookie that the browser holds.
type Sessions struct {
	store *Store
	now   func() time.Time
}

// Sessions returns the console's sessions.
func (s *Store) Sessions(now func() time.Time) *Sessions { return &Sessions{store: s, now: now} }

// Save stores a session, and forgets those that have expired.
func (s *Sessions) Save(ctx context.Context, id string, sealed []byte, expires time.Time) error {
	if _, err := s.store.w.ExecContext(ctx, "DELETE FROM console_sessions WHERE expires_at <= $1", micros(s.now())); err != nil {
		return err
	}
	_, err := s.store.w.ExecContext(ctx, "INSERT INTO console_sessions (id, sealed, expires_at) VALUES ($1, $2, $3)",
		id, base64.StdEncoding.EncodeToString(sealed), micros(expires))
	return err
}

// Load returns a session that has not expired, or ErrNotFound.
func (s *Sessions) Load(ctx context.Context, id string) ([]byte, error) {
	var sealed string
	err := s.store.r.QueryRowContext(ctx, "SELECT sealed FROM console_sessions WHERE id = $1 AND expires_at > $2", id, micros(s.now())).Scan(&sealed)
	if err != nil {
		return nil, notFound(err)
	}
	return base64.StdEncoding.DecodeString(sealed)
}

// Delete ends a session, if there is one.
func (s *Sessions) Delete(ctx context.Context, id string) error {
	_, err := s.store.w.ExecContext(ctx, "DELETE FROM console_sessions WHERE id = $1", id)
	return err
}
