package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

const tokenColumns = "id, name, roles, subject, created_at, created_by, expires_at, last_used_at"

func scanToken(row scanner, more ...any) (api.Token, error) {
	var t api.Token
	var roles string
	var created, expires, used int64
	dest := append([]any{&t.ID, &t.Name, &roles, &t.Subject, &created, &t.CreatedBy, &expires, &used}, more...)
	if err := row.Scan(dest...); err != nil {
		return api.Token{}, notFound(err)
	}
	t.CreatedAt, t.ExpiresAt, t.LastUsedAt = fromMicros(created), optional(expires), optional(used)
	if err := json.Unmarshal([]byte(roles), &t.Roles); err != nil {
		return api.Token{}, fmt.Errorf("read token's roles: %w", err)
	}
	return t, nil
}

// AddToken stores a token by the hash of its secret.
func (s *Store) AddToken(ctx context.Context, t api.Token, hash string, before func() error) error {
	return s.write(ctx, func(tx *sql.Tx, _ int64) error {
		return then(insertToken(ctx, tx, t, hash), before)
	})
}

func insertToken(ctx context.Context, tx *sql.Tx, t api.Token, hash string) error {
	roles, err := json.Marshal(t.Roles)
	if err != nil {
		return fmt.Errorf("write token's roles: %w", err)
	}
	var expires int64
	if t.ExpiresAt != nil {
		expires = micros(*t.ExpiresAt)
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO tokens ("+tokenColumns+", hash, revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, 0)",
		t.ID, t.Name, string(roles), t.Subject, micros(t.CreatedAt), t.CreatedBy, expires, hash)
	return err
}

// TokenByHash returns the token with that hash and the hash as it is stored,
// or ErrNotFound. Revoked and expired tokens are not found.
func (s *Store) TokenByHash(ctx context.Context, hash string, now time.Time) (t api.Token, stored string, err error) {
	t, err = scanToken(s.queryRow(ctx, "SELECT "+tokenColumns+", hash FROM tokens "+
		"WHERE hash = $1 AND revoked_at = 0 AND (expires_at = 0 OR expires_at > $2)", hash, micros(now)), &stored)
	return t, stored, err
}

// Tokens returns the tokens that are not revoked, newest first.
func (s *Store) Tokens(ctx context.Context) ([]api.Token, error) {
	return collect(ctx, s.r, func(row scanner) (api.Token, error) { return scanToken(row) },
		"SELECT "+tokenColumns+" FROM tokens WHERE revoked_at = 0 ORDER BY created_at DESC, id")
}

// TouchToken records when a token was used. It does not wake waiters.
func (s *Store) TouchToken(ctx context.Context, id string, now time.Time) error {
	_, err := s.w.ExecContext(ctx, "UPDATE tokens SET last_used_at = $2 WHERE id = $1", id, micros(now))
	return err
}

// RevokeToken ends a token, or returns ErrNotFound.
func (s *Store) RevokeToken(ctx context.Context, id string, now time.Time, before func() error) error {
	return s.write(ctx, func(tx *sql.Tx, _ int64) error {
		if err := changedRows(tx.ExecContext(ctx, "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0", id, micros(now))); err != nil {
			return err
		}
		return before()
	})
}
