package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// Rollout is a rollout with what only the control plane needs.
type Rollout struct {
	api.Rollout
	Digest string         `json:"digest"` // of the input, so that a repeated request is known
	Plans  []RolloutStage `json:"plans"`  // as long as Stages
}

// RolloutStage is what a stage publishes, and what its instances had counted
// before.
type RolloutStage struct {
	Releases []RolloutRelease      `json:"releases"` // as long as the api's
	Before   map[string]CountsFrom `json:"before,omitempty"`
}

// RolloutRelease is a release and perhaps what undoes it.
type RolloutRelease struct {
	Release api.Release  `json:"release"`
	Undo    *api.Release `json:"undo,omitempty"`
}

// CountsFrom is what an instance had counted, and since when.
type CountsFrom struct {
	StartedAt time.Time  `json:"started_at"`
	Counts    api.Counts `json:"counts"`
}

func scanRollout(row scanner) (Rollout, error) {
	var r Rollout
	var content string
	if err := row.Scan(&r.Rev, &content); err != nil {
		return Rollout{}, notFound(err)
	}
	rev := r.Rev
	if err := json.Unmarshal([]byte(content), &r); err != nil {
		return Rollout{}, fmt.Errorf("read rollout: %w", err)
	}
	r.Rev = rev
	return r, nil
}

// Rollout returns a rollout, or ErrNotFound.
func (s *Store) Rollout(ctx context.Context, id string) (Rollout, error) {
	return rollout(ctx, s.r, id)
}

func rollout(ctx context.Context, q querier, id string) (Rollout, error) {
	return scanRollout(q.QueryRowContext(ctx, "SELECT rev, content FROM rollouts WHERE id = $1", id))
}

// Rollouts returns the newest rollouts, newest first.
func (s *Store) Rollouts(ctx context.Context, limit int) ([]Rollout, error) {
	return collect(ctx, s.r, scanRollout, "SELECT rev, content FROM rollouts ORDER BY created_at DESC, id LIMIT $1", limit)
}

// RunningRollouts returns the rollouts that have not ended.
func (s *Store) RunningRollouts(ctx context.Context) ([]Rollout, error) {
	return runningRollouts(ctx, s.r)
}

func runningRollouts(ctx context.Context, q querier) ([]Rollout, error) {
	return collect(ctx, q, scanRollout, "SELECT rev, content FROM rollouts WHERE status = $1 ORDER BY created_at, id", string(api.RolloutRunning))
}

// AddRollout stores a rollout and publishes releases. The error is ErrExists if
// there is a rollout of that id; what is there is returned. What check says of
// the rollouts that are running prevents it.
func (s *Store) AddRollout(ctx context.Context, r Rollout, publishes []api.Release, check func(running []Rollout) error, before func() error) (Rollout, error) {
	err := s.write(ctx, func(tx *sql.Tx, rev int64) error {
		have, err := rollout(ctx, tx, r.ID)
		if err == nil {
			r = have
			return ErrExists
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		running, err := runningRollouts(ctx, tx)
		if err != nil {
			return err
		}
		if err := check(running); err != nil {
			return err
		}
		r.Rev = rev
		content, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO rollouts (id, rev, status, content, created_at) VALUES ($1, $2, $3, $4, $5)",
			r.ID, rev, string(r.Status), string(content), micros(r.CreatedAt)); err != nil {
			return err
		}
		return then(publishAll(ctx, tx, publishes), before)
	})
	return r, err
}

// UpdateRollout replaces the rollout that has revision r.Rev and publishes
// releases, all or nothing. The error is ErrChanged if the rollout has changed
// meanwhile or if another release is live.
func (s *Store) UpdateRollout(ctx context.Context, r Rollout, publishes []api.Release, before func() error) (Rollout, error) {
	err := s.write(ctx, func(tx *sql.Tx, rev int64) error {
		have, err := rollout(ctx, tx, r.ID)
		switch {
		case err != nil:
			return err
		case have.Rev != r.Rev:
			return ErrChanged
		}
		r.Rev = rev
		content, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE rollouts SET rev = $2, status = $3, content = $4 WHERE id = $1", r.ID, rev, string(r.Status), string(content)); err != nil {
			return err
		}
		return then(publishAll(ctx, tx, publishes), before)
	})
	return r, err
}

// publishAll makes releases live, each in place of its predecessor.
func publishAll(ctx context.Context, tx *sql.Tx, all []api.Release) error {
	for _, r := range all {
		if _, _, err := publish(ctx, tx, r, r.Predecessor); err != nil {
			return &PublishError{Release: r, Err: err}
		}
	}
	return nil
}

// PublishError says which of several releases could not be published.
type PublishError struct {
	Release api.Release
	Err     error
}

// Error names the gateway.
func (e *PublishError) Error() string {
	return fmt.Sprintf("publish revision %d of gateway %q: %s", e.Release.Revision, e.Release.Gateway, e.Err)
}

// Unwrap returns the cause.
func (e *PublishError) Unwrap() error { return e.Err }
