package catalog_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/catalog"
	"github.com/posternhq/postern/gateway/internal/pgtest"
)

func TestStore(t *testing.T) {
	c := pgtest.New(t)
	var away atomic.Bool
	var connections atomic.Int64
	s := catalog.NewStore(func(ctx context.Context, database string) (*pgconn.PgConn, error) {
		if away.Load() {
			return nil, errors.New("away")
		}
		connections.Add(1)
		return pgconn.Connect(ctx, c.URL(database, "postgres"))
	})
	defer s.Close()

	away.Store(true)
	if _, err := s.Snapshot(t.Context(), "postgres"); err == nil || !strings.Contains(err.Error(), "away") {
		t.Errorf("error %v", err)
	}
	away.Store(false)
	first, err := s.Snapshot(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Snapshot(t.Context(), "postgres"); err != nil || again != first {
		t.Errorf("another snapshot though nothing changed: %v", err)
	}

	// A change that the gateway saw is there at once.
	c.MustExec(t, "postgres", "CREATE TABLE seen (a int)")
	s.Invalidate("postgres")
	second, err := s.Snapshot(t.Context(), "postgres")
	if err != nil || second.RelationNamed("public", "seen") == nil || second.Generation <= first.Generation {
		t.Fatalf("after a change that was seen: %v", err)
	}

	// A change that it did not see is found while the snapshot is used.
	c.MustExec(t, "postgres", "CREATE TABLE unseen (a int)")
	deadline := time.Now().Add(20 * time.Second)
	for {
		now, err := s.Snapshot(t.Context(), "postgres")
		if err != nil {
			t.Fatal(err)
		}
		if now.RelationNamed("public", "unseen") != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a change that the gateway did not see is not found")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}

	// After an invalidation nothing old is given out.
	c.Kill()
	s.Invalidate("postgres")
	if _, err := s.Snapshot(t.Context(), "postgres"); err == nil {
		t.Error("an invalidated snapshot is given out while the server is away")
	}
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Snapshot(t.Context(), "postgres"); err != nil {
		t.Errorf("after the server came back: %v", err)
	}
	if _, err := s.Snapshot(t.Context(), "nowhere"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("error %v", err)
	}
}

func TestRenew(t *testing.T) {
	c := pgtest.New(t)
	s := catalog.NewStore(func(ctx context.Context, database string) (*pgconn.PgConn, error) {
		return pgconn.Connect(ctx, c.URL(database, "postgres"))
	})
	defer s.Close()
	if s.Renew("postgres", nil) {
		t.Error("a database that nobody asked for may be asked again")
	}
	began := time.Now()
	first, err := s.Snapshot(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if s.Renew("postgres", first) && time.Since(began) < time.Second {
		t.Error("a snapshot that was just read is read again")
	}
	c.MustExec(t, "postgres", "CREATE TABLE new (a int)")
	time.Sleep(1100 * time.Millisecond)
	if !s.Renew("postgres", first) {
		t.Fatal("an old snapshot is not read again")
	}
	second, err := s.Snapshot(t.Context(), "postgres")
	if err != nil || second.RelationNamed("public", "new") == nil {
		t.Errorf("the renewed snapshot lacks the table: %v", err)
	}
	if !s.Renew("postgres", first) {
		t.Error("a newer snapshot is not offered")
	}
}

// TestLoadDuringChanges reads catalogs while views come and go.
func TestLoadDuringChanges(t *testing.T) {
	c := pgtest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			err := c.Exec(context.Background(), "postgres", "CREATE VIEW v AS SELECT 1 AS a; CREATE TABLE p (a int CHECK (a > 0)); DROP VIEW v; DROP TABLE p")
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	s := catalog.NewStore(func(ctx context.Context, database string) (*pgconn.PgConn, error) {
		return pgconn.Connect(ctx, c.URL(database, "postgres"))
	})
	defer s.Close()
	for range 30 {
		s.Invalidate("postgres")
		if _, err := s.Snapshot(t.Context(), "postgres"); err != nil {
			t.Error(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSameConnection wants looks that follow each other to share a connection.
func TestSameConnection(t *testing.T) {
	l := newLooks(t)
	for range 6 {
		l.holds(t)
	}
	if n := l.connections.Load(); n != 2 {
		t.Errorf("%d connections, want one that reads and one that looks", n)
	}
}

// TestSameReconnects wants a connection that the server ended while it was idle
// to be made anew, and not to fail the statement that it is next asked for.
func TestSameReconnects(t *testing.T) {
	l := newLooks(t)
	for range 6 { // more than there are connections
		l.holds(t)
		l.cluster.MustExec(t, "postgres", "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'reader'")
	}
}

// looks asks a store again and again whether a table is still what it was.
type looks struct {
	cluster     *pgtest.Cluster
	store       *catalog.Store
	assertion   *catalog.Assertion
	connections atomic.Int64 // made by the store
}

func newLooks(t *testing.T) *looks {
	t.Helper()
	l := &looks{cluster: pgtest.New(t)}
	l.cluster.MustExec(t, "postgres", "CREATE ROLE reader LOGIN; CREATE TABLE people (id int)")
	l.store = catalog.NewStore(func(ctx context.Context, database string) (*pgconn.PgConn, error) {
		l.connections.Add(1)
		return pgconn.Connect(ctx, l.cluster.URL(database, "reader"))
	})
	t.Cleanup(l.store.Close)
	snapshot, err := l.store.Snapshot(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	l.assertion = l.store.Assert("postgres", snapshot, []uint32{snapshot.RelationNamed("public", "people").OID})
	return l
}

// holds wants the table to be what it was.
func (l *looks) holds(t *testing.T) {
	t.Helper()
	if same, err := l.store.Same(t.Context(), "postgres", l.assertion); err != nil || !same {
		t.Fatalf("got %v, %v", same, err)
	}
}

// TestForget wants a database that nobody asks for to be left alone: it can be
// dropped then. Asked for again, it is read anew.
func TestForget(t *testing.T) {
	c := pgtest.New(t)
	c.MustExec(t, "postgres", "CREATE ROLE reader LOGIN")
	s := catalog.NewStore(func(ctx context.Context, database string) (*pgconn.PgConn, error) {
		return pgconn.Connect(ctx, c.URL(database, "reader"))
	})
	defer s.Close()
	s.IdleLife = 2 * time.Second
	for range 2 {
		c.MustExec(t, "postgres", "CREATE DATABASE preview")
		c.MustExec(t, "preview", "CREATE TABLE people (id int)")
		snapshot, err := s.Snapshot(t.Context(), "preview")
		if err != nil {
			t.Fatal(err)
		}
		a := s.Assert("preview", snapshot, []uint32{snapshot.RelationNamed("public", "people").OID})
		if same, err := s.Same(t.Context(), "preview", a); err != nil || !same {
			t.Fatalf("got %v, %v", same, err)
		}
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			err := c.Exec(t.Context(), "postgres", "DROP DATABASE preview")
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the database is still in use: %v", err)
			}
		}
		if s.Current("preview") != nil {
			t.Error("a database that is gone is still known")
		}
	}
}
