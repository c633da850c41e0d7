package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

// Connect makes a connection for reading the catalog of a database.
type Connect func(ctx context.Context, database string) (*pgconn.PgConn, error)

// Times of a Store.
const (
	checkAfter   = time.Second      // a snapshot that was compared longer ago is compared again in the background
	maxAge       = 30 * time.Second // and longer ago than this, before it is given out: Store.MaxAge
	renewAfter   = time.Second      // a snapshot that was read longer ago may miss a name that exists
	loadTimeout  = 90 * time.Second
	lookTimeout  = 5 * time.Second
	closeTimeout = time.Second
	idleLife     = 5 * time.Minute // of what nobody asks for: Store.IdleLife
	loadTries    = 3               // schema changes under way can make a load fail
)

// Store keeps a snapshot of each database that is asked for. It compares it
// with the server while it is used, about once a second, and reads it anew when
// something changed; generations grow with each snapshot. A snapshot that could
// not be compared for 30 s is not given out any more. A database that nobody
// has asked for lately is forgotten, and its connections are closed: they would
// be in the way of who wants to drop it. It is safe for concurrent use.
type Store struct {
	// MaxAge is for how long a snapshot is given out that could not be compared.
	// It may be set before the store is used.
	MaxAge time.Duration

	// IdleLife is how long a database is kept that nobody asks for. It may be set
	// before the store is used.
	IdleLife time.Duration

	connect Connect

	mu         sync.Mutex
	databases  map[string]*entry
	generation uint64
	background sync.WaitGroup
	stop       context.CancelFunc
	running    context.Context
}

// entry is one database. What is not guarded by the store's lock belongs to
// the refresh under way.
type entry struct {
	catalog    *pgcatalog.Catalog // guarded by the store's lock
	used       time.Time          // when somebody asked for it; guarded
	checked    time.Time          // when catalog was last known to be the server's; guarded
	read       time.Time          // when catalog was read; guarded
	invalid    uint64             // counts Invalidate; guarded
	flight     *flight            // the refresh under way, or nil; guarded
	mark       mark
	horizon    string                // of catalog's snapshot
	code       string                // of catalog's snapshot, see codeSQL; guarded
	assertions map[string]*Assertion // of catalog, by their relations; guarded
	markedAt   uint64                // value of invalid that mark and catalog are newer than
	conn       *pgconn.PgConn        // idle between refreshes; nil if there is none
	watch      watchers              // those that are idle
}

// flight is one refresh that any number of callers wait for. err may be read
// once done is closed.
type flight struct {
	done chan struct{}
	err  error
}

// NewStore returns a store that has read nothing yet. The caller closes it.
func NewStore(connect Connect) *Store {
	s := &Store{MaxAge: maxAge, IdleLife: idleLife, connect: connect, databases: map[string]*entry{}}
	s.running, s.stop = context.WithCancel(context.Background())
	return s
}

// Close ends what is under way and closes the connections.
func (s *Store) Close() {
	s.stop()
	s.background.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.databases {
		e.disconnect()
		e.watch.close()
	}
}

func (e *entry) disconnect() {
	if e.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = e.conn.Close(ctx) // it is only thrown away
		e.conn = nil
	}
}

// Snapshot returns what a database looks like. The same snapshot is the same
// pointer. It waits only for the first snapshot, after Invalidate, and when the
// one it has is too old; an error says why there is none to rely on.
func (s *Store) Snapshot(ctx context.Context, database string) (*pgcatalog.Catalog, error) {
	s.mu.Lock()
	e := s.databases[database]
	if e == nil {
		if len(s.databases) == 0 && s.running.Err() == nil {
			s.background.Go(s.forgetLoop)
		}
		e = &entry{watch: newWatchers()}
		s.databases[database] = e
	}
	e.used = time.Now()
	age := time.Since(e.checked)
	current := e.catalog != nil && e.markedAt == e.invalid
	if current && age < checkAfter {
		defer s.mu.Unlock()
		return e.catalog, nil
	}
	f := s.refresh(database, e)
	if current && age < s.MaxAge {
		defer s.mu.Unlock()
		return e.catalog, nil
	}
	asked := e.invalid
	s.mu.Unlock()
	for try := 1; ; try++ {
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("read the catalog of %q: %w", database, context.Cause(ctx))
		}
		s.mu.Lock()
		switch {
		case e.catalog != nil && e.markedAt >= asked && time.Since(e.checked) < s.MaxAge: // newer than every change before the call
			defer s.mu.Unlock()
			e.used = time.Now() // waiting was use
			return e.catalog, nil
		case f.err != nil:
			s.mu.Unlock()
			return nil, f.err
		case try == loadTries:
			s.mu.Unlock()
			return nil, fmt.Errorf("read the catalog of %q: it changes faster than it can be read", database)
		}
		f = s.refresh(database, e) // the one before began earlier than the change
		s.mu.Unlock()
	}
}

// Current is Snapshot for who must not wait: nil if Snapshot would.
func (s *Store) Current(database string) *pgcatalog.Catalog {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.databases[database]
	if e == nil || e.catalog == nil || e.markedAt != e.invalid {
		return nil
	}
	e.used = time.Now()
	switch age := e.used.Sub(e.checked); {
	case age < checkAfter:
	case age < s.MaxAge:
		s.refresh(database, e)
	default:
		return nil
	}
	return e.catalog
}

// forgetLoop forgets databases that nobody asks for, until there are none, or
// the store is closed.
func (s *Store) forgetLoop() {
	tick := time.NewTicker(s.IdleLife / 4)
	defer tick.Stop()
	for {
		select {
		case <-s.running.Done():
			return
		case now := <-tick.C:
			idle, left := s.forget(now)
			for _, e := range idle {
				e.disconnect()
				e.watch.close()
			}
			if !left {
				return
			}
		}
	}
}

// forget removes the databases that nobody has asked for lately, nor does now,
// and reports whether there are others.
func (s *Store) forget(now time.Time) (idle []*entry, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for database, e := range s.databases {
		if now.Sub(e.used) >= s.IdleLife && e.flight == nil && e.watch.idle() {
			delete(s.databases, database)
			idle = append(idle, e)
		}
	}
	return idle, len(s.databases) > 0
}

// Invalidate says that a database's catalog has changed: the next Snapshot
// reads it anew. A change whose transaction is not committed yet is found by
// comparing, later.
func (s *Store) Invalidate(database string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.databases[database]; e != nil {
		e.invalid++
	}
}

// Renew says that a name is not in a snapshot. It reports whether asking again
// may help: the next Snapshot then is a newer one.
func (s *Store) Renew(database string, seen *pgcatalog.Catalog) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.databases[database]
	switch {
	case e == nil:
		return false
	case e.catalog != seen || e.markedAt != e.invalid:
		return true
	case time.Since(e.read) < renewAfter:
		return false
	}
	e.invalid++
	return true
}

// refresh returns the refresh under way, or starts one. The caller holds the
// lock.
func (s *Store) refresh(database string, e *entry) *flight {
	if e.flight != nil {
		return e.flight
	}
	f := &flight{done: make(chan struct{})}
	if s.running.Err() != nil {
		f.err = errors.New("read the catalog: the store is closed")
		close(f.done)
		return f
	}
	e.flight = f
	newerThan := e.invalid
	force := e.markedAt != e.invalid
	before := earlier{catalog: e.catalog, horizon: e.horizon}
	s.background.Go(func() {
		ctx, cancel := context.WithTimeout(s.running, loadTimeout)
		defer cancel()
		began := time.Now()
		loaded, err := e.compare(ctx, s.connect, database, force, before)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil {
			if loaded != nil {
				s.generation++
				e.catalog, e.mark, e.horizon, e.code = loaded.builder.Build(s.generation), loaded.mark, loaded.horizon, loaded.code
				e.read, e.assertions = began, nil
			}
			e.checked, e.markedAt = began, newerThan
		}
		f.err = err
		e.flight = nil
		close(f.done)
	})
	return f
}

// compare asks the server what changed, and reads the catalog if something
// did: loaded is nil if nothing did. What did not change is taken from before.
func (e *entry) compare(ctx context.Context, connect Connect, database string, force bool, before earlier) (loaded *snapshot, err error) {
	defer func() {
		if err != nil {
			e.disconnect()
		}
	}()
	if e.conn == nil || e.conn.IsClosed() {
		if e.conn, err = connect(ctx, database); err != nil {
			e.conn = nil
			return nil, fmt.Errorf("read the catalog of %q: %w", database, err)
		}
	}
	if !force {
		now, err := readMark(ctx, e.conn)
		if err != nil || now == e.mark {
			return nil, err
		}
	}
	for try := 1; ; try++ {
		loaded, err := load(ctx, e.conn, before)
		if err == nil || try == loadTries || !changedMeanwhile(err) {
			return loaded, err
		}
	}
}

// changedMeanwhile reports whether a load failed because what it was reading
// was dropped by another transaction: definitions are printed by functions that
// look at the present, not at the transaction's snapshot.
func changedMeanwhile(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	const internal, undefinedTable, undefinedColumn, undefinedObject, undefinedFunction = "XX000", "42P01", "42703", "42704", "42883"
	return slices.Contains([]string{internal, undefinedTable, undefinedColumn, undefinedObject, undefinedFunction}, pg.Code)
}
