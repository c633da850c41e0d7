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
