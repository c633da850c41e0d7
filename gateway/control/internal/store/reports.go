package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// reports gathers what instances report while a write is under way, and writes
// it with the next one: a fleet that acknowledges a release at once costs a few
// transactions and not one for each instance.
type reports struct {
	mu      sync.Mutex
	waiting []report
	writing bool // a goroutine writes, and will write what waits
}

type report struct {
	gateway  string
	instance api.Instance
	done     chan<- error // has room for one
}

// writeTimeout bounds the writing of reports, which no caller's context does.
const writeTimeout = 30 * time.Second

// Report records what an instance says of itself. It does not wake waiters. If
// ctx ends first the report may be written nevertheless.
func (s *Store) Report(ctx context.Context, gateway string, i api.Instance) error {
	done := make(chan error, 1)
	s.reports.mu.Lock()
	s.reports.waiting = append(s.reports.waiting, report{gateway, i, done})
	first := !s.reports.writing
	s.reports.writing = true
	s.reports.mu.Unlock()
	if first {
		s.done.Go(s.writeReports)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writeReports writes until nothing waits any more.
func (s *Store) writeReports() {
	for {
		s.reports.mu.Lock()
		batch := s.reports.waiting
		s.reports.waiting = nil
		s.reports.writing = len(batch) > 0
		s.reports.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		err := s.writeBatch(batch)
		for _, r := range batch {
			if err != nil && len(batch) > 1 {
				r.done <- s.writeBatch([]report{r}) // it may be another's fault
				continue
			}
			r.done <- err
		}
	}
}

// writeBatch writes reports in one transaction, in an order that replicas
// share, so that none of them waits for the other.
func (s *Store) writeBatch(batch []report) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	slices.SortStableFunc(batch, func(a, b report) int {
		return cmp.Or(cmp.Compare(a.gateway, b.gateway), cmp.Compare(a.instance.Instance, b.instance.Instance))
	})
	tx, err := s.w.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("record instances: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	for _, r := range batch {
		if err := upsertInstance(ctx, tx, r.gateway, r.instance); err != nil {
			return fmt.Errorf("record instances: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("record instances: %w", err)
	}
	return nil
}

func upsertInstance(ctx context.Context, tx *sql.Tx, gateway string, i api.Instance) error {
	var since int64
	if i.Since != nil {
		since = micros(*i.Since)
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO instances ("+instanceColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) "+
		"ON CONFLICT (gateway, instance) DO UPDATE SET version = excluded.version, bundle = excluded.bundle, revision = excluded.revision, "+
		"error = excluded.error, sessions = excluded.sessions, started_at = excluded.started_at, seen_at = excluded.seen_at, "+
		"statements = excluded.statements, denied = excluded.denied, failed = excluded.failed, held = excluded.held, waiting = excluded.waiting, since = excluded.since",
		gateway, i.Instance, i.Version, i.Bundle, int64(i.Revision), i.Error, i.Sessions, micros(i.StartedAt), micros(i.SeenAt),
		int64(i.Statements), int64(i.Denied), int64(i.Failed), int64(i.Held), i.Waiting, since)
	return err
}
