package store

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// watch tells waiters that the revision grew.
type watch struct {
	mu      sync.Mutex
	rev     int64
	changed chan struct{} // closed and replaced when rev grows
	waiters int
}

// seen wakes the waiters if rev is news.
func (w *watch) seen(rev int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if rev <= w.rev {
		return
	}
	w.rev = rev
	close(w.changed)
	w.changed = make(chan struct{})
}

// current is the newest revision that is known.
func (w *watch) current() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rev
}

func (w *watch) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *watch) join(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiters += n
}

func (w *watch) waited() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiters > 0
}

// Wait calls ready at once and after each change of the store until it reports
// true or fails, and returns its error; or until ctx is done, and returns nil.
func (s *Store) Wait(ctx context.Context, ready func() (bool, error)) error {
	s.watch.join(1)
	defer s.watch.join(-1)
	for {
		// Before the look, so that a change between look and wait is not lost.
		changed := s.watch.next()
		if ok, err := ready(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// pollLoop notices the changes of other replicas, until ctx is done.
func (s *Store) pollLoop(ctx context.Context) {
	ticker := time.NewTicker(PollInterval)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !s.watch.waited() {
			continue
		}
		rev, err := s.revision(ctx)
		switch {
		case err == nil:
			s.watch.seen(rev)
			failing = false
		case ctx.Err() == nil && !failing:
			s.log.LogAttrs(ctx, slog.LevelWarn, "the store does not answer", slog.Any("error", err))
			failing = true
		}
	}
}
