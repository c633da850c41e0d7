package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"

	"github.com/posternhq/postern/gateway/internal/api"
)

const releaseColumns = "gateway, revision, bundle, predecessor, signed_at, note, key_id, released_by, released_at, signed, run, vcs_commit"

func scanRelease(row scanner) (api.Release, error) {
	var r api.Release
	var revision, signedAt, releasedAt int64
	var signed string
	err := row.Scan(&r.Gateway, &revision, &r.Bundle, &r.Predecessor, &signedAt, &r.Note, &r.KeyID, &r.ReleasedBy, &releasedAt, &signed, &r.Run, &r.Commit)
	if err != nil {
		return api.Release{}, notFound(err)
	}
	r.Revision, r.Time, r.ReleasedAt = uint64(revision), fromMicros(signedAt), fromMicros(releasedAt)
	r.Signed, err = base64.StdEncoding.DecodeString(signed)
	return r, err
}

// MaxRevisionStep is how much higher than the live one a revision may be:
// whoever steals a key and a token must not use up all revisions at once.
const MaxRevisionStep = 1_000_000

// Live returns the newest release of a gateway, or ErrNotFound.
func (s *Store) Live(ctx context.Context, gateway string) (api.Release, error) {
	return live(ctx, s.r, gateway)
}

func live(ctx context.Context, q querier, gateway string) (api.Release, error) {
	return scanRelease(q.QueryRowContext(ctx, "SELECT "+releaseColumns+" FROM releases WHERE gateway = $1 ORDER BY revision DESC LIMIT 1", gateway))
}

// Releases returns the gateway's newest releases, newest first.
func (s *Store) Releases(ctx context.Context, gateway string, limit int) ([]api.Release, error) {
	return collect(ctx, s.r, scanRelease, "SELECT "+releaseColumns+" FROM releases WHERE gateway = $1 ORDER BY revision DESC LIMIT $2", gateway, limit)
}

// Released reports whether any release of the gateway names the bundle.
func (s *Store) Released(ctx context.Context, gateway, digest string) (bool, error) {
	var n int
	err := s.r.QueryRowContext(ctx, "SELECT count(*) FROM releases WHERE gateway = $1 AND bundle = $2", gateway, digest).Scan(&n)
	return n > 0, err
}

// Publish makes r the gateway's live release if the bundle now live is seen
// (empty for none). It returns what is live then. The error is ErrChanged if
// something else is live, if r does not name what is live as its predecessor,
// or if its revision is not higher, or far higher; ErrNotFound if its bundle is not stored.
// Publishing what is live already, to the byte, changes nothing; changed says
// so.
func (s *Store) Publish(ctx context.Context, r api.Release, seen string, before func() error) (current api.Release, changed bool, err error) {
	err = s.write(ctx, func(tx *sql.Tx, _ int64) error {
		current, changed, err = publish(ctx, tx, r, seen)
		if err != nil || !changed {
			return err
		}
		return before()
	})
	return current, changed && err == nil, err
}

func publish(ctx context.Context, tx *sql.Tx, r api.Release, seen string) (current api.Release, changed bool, err error) {
	current, err = live(ctx, tx, r.Gateway)
	switch {
	case errors.Is(err, ErrNotFound):
		current = api.Release{}
	case err != nil:
		return current, false, err
	case current.Revision == r.Revision && string(current.Signed) == string(r.Signed):
		return current, false, nil
	}
	if current.Bundle != seen || r.Predecessor != current.Bundle || r.Revision <= current.Revision || r.Revision-current.Revision > MaxRevisionStep {
		return current, false, ErrChanged
	}
	var stored int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM bundles WHERE digest = $1", r.Bundle).Scan(&stored); err != nil {
		return current, false, err
	}
	if stored == 0 {
		return current, false, ErrNotFound
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO releases ("+releaseColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
		r.Gateway, int64(r.Revision), r.Bundle, r.Predecessor, micros(r.Time), r.Note, r.KeyID, r.ReleasedBy, micros(r.ReleasedAt),
		base64.StdEncoding.EncodeToString(r.Signed), r.Run, r.Commit)
	return r, err == nil, err
}
