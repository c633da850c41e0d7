package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/posternhq/postern/gateway/internal/api"
)

// seenReleases remembers the live release of each gateway for as long as this
// process knows of no change of the store, so that a fleet that waits for news
// does not ask the database once for each of its instances.
type seenReleases struct {
	mu        sync.Mutex
	byGateway map[string]*seenRelease
}

type seenRelease struct {
	mu      sync.Mutex // held while the database is asked
	known   bool
	rev     int64 // of the store, when it was asked
	release api.Release
	err     error // ErrNotFound, or nil
}

// maxSeenGateways bounds what is remembered: when it is reached all is forgotten.
const maxSeenGateways = 10_000

// LiveSeen is [Store.Live] as of the newest change that this process has seen:
// its own changes are, those of other replicas within [PollInterval] while
// somebody waits. It is for those who wait.
func (s *Store) LiveSeen(ctx context.Context, gateway string) (api.Release, error) {
	s.seen.mu.Lock()
	if s.seen.byGateway == nil || len(s.seen.byGateway) > maxSeenGateways {
		s.seen.byGateway = map[string]*seenRelease{}
	}
	one := s.seen.byGateway[gateway]
	if one == nil {
		one = &seenRelease{}
		s.seen.byGateway[gateway] = one
	}
	s.seen.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	rev := s.watch.current() // before the look, which may see more
	if one.known && one.rev == rev {
		return one.release, one.err
	}
	release, err := s.Live(ctx, gateway)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return api.Release{}, err
	}
	one.known, one.rev, one.release, one.err = true, rev, release, err
	return release, err
}

// maxSeenBlobs is how many sealed bundles are remembered: those that a fleet is
// fetching.
const maxSeenBlobs = 4

// seenBlobs remembers blobs, which never change, by their names.
type seenBlobs struct {
	mu      sync.Mutex
	names   []string // oldest first
	content map[string][]byte
}

func (b *seenBlobs) get(name string) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.content[name]
	return data, ok
}

func (b *seenBlobs) put(name string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.content[name]; ok {
		return
	}
	if b.content == nil {
		b.content = map[string][]byte{}
	}
	if len(b.names) == maxSeenBlobs {
		delete(b.content, b.names[0])
		b.names = b.names[1:]
	}
	b.names = append(b.names, name)
	b.content[name] = data
}

// prepared keeps the statements that every request runs, since SQLite takes
// longer to read one than to run it.
type prepared struct {
	mu         sync.Mutex
	statements map[string]*sql.Stmt
}

// queryRow is QueryRowContext of the reading database by a prepared statement.
func (s *Store) queryRow(ctx context.Context, query string, args ...any) scanner {
	s.prepared.mu.Lock()
	stmt := s.prepared.statements[query]
	if stmt == nil {
		var err error
		if stmt, err = s.r.PrepareContext(ctx, query); err != nil {
			s.prepared.mu.Unlock()
			return s.r.QueryRowContext(ctx, query, args...) // which says why
		}
		if s.prepared.statements == nil {
			s.prepared.statements = map[string]*sql.Stmt{}
		}
		s.prepared.statements[query] = stmt
	}
	s.prepared.mu.Unlock()
	return stmt.QueryRowContext(ctx, args...)
}
