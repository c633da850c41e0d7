package control

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

func (s *Server) health(w http.ResponseWriter, _ *http.Request, _ *caller) error {
	answer(w, http.StatusOK, api.Health{Status: "ok"})
	return nil
}

// Ping reports whether the store answers. It takes no longer than two seconds.
func (s *Server) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		return fmt.Errorf("check readiness: %w", err)
	}
	return nil
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request, _ *caller) error {
	if err := s.Ping(r.Context()); err != nil {
		return err
	}
	answer(w, http.StatusOK, api.Health{Status: "ok"})
	return nil
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request, _ *caller) error {
	answer(w, http.StatusOK, api.VersionInfo{Version: s.config.Version, API: api.Version})
	return nil
}

func (s *Server) whoami(w http.ResponseWriter, _ *http.Request, c *caller) error {
	answer(w, http.StatusOK, c.Caller)
	return nil
}

// await waits as long as the query's wait says, until ready reports true. It
// gives up when the caller leaves or the server closes.
func (s *Server) await(w http.ResponseWriter, r *http.Request, until time.Time, ready func() (bool, error)) error {
	wait, err := waitOf(r)
	if err != nil {
		return err
	}
	if wait == 0 {
		_, err := ready()
		return err
	}
	// The server's own write timeout must not cut the wait short. Not every
	// ResponseWriter has one.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + 30*time.Second))
	if !until.IsZero() {
		wait = min(wait, max(0, until.Sub(s.now())))
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	s.config.Metrics.Waiting.Inc()
	defer s.config.Metrics.Waiting.Dec()
	if rec, ok := w.(*recorder); ok {
		rec.waited = true
	}
	defer context.AfterFunc(s.open, cancel)()
	return s.store.Wait(ctx, ready)
}

func waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, invalid("wait must be a duration such as 30s")
	}
	return min(wait, api.MaxWait), nil
}

// limitOf reads how many results are wanted, 100 unless the query says.
func limitOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return 100, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > 1000 {
		return 0, invalid("limit must be from 1 to 1000")
	}
	return limit, nil
}
