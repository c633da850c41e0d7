package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posternhq/postern/gateway/internal/metrics"
)

// observer lets those who run this process look at it: metrics, whether it
// lives, and whether it is ready for work. It has no secrets to tell, and asks
// nobody who they are; by default it listens nowhere.
type observer struct {
	registry *prometheus.Registry
	checks   map[string]func(context.Context) error // of readiness; complete before run
	listener net.Listener                           // nil: not asked for
	log      *slog.Logger
}

func (f *commonFlags) openObserver(log *slog.Logger) (*observer, error) {
	o := &observer{registry: metrics.NewRegistry(version), checks: map[string]func(context.Context) error{}, log: log}
	if f.observe == "" {
		return o, nil
	}
	var err error
	o.listener, err = listen(f.observe)
	return o, err
}

// ready adds a check without which the process is not ready.
func (o *observer) ready(name string, check func(context.Context) error) { o.checks[name] = check }

// run serves until ctx ends.
func (o *observer) run(ctx context.Context) error {
	if o.listener == nil {
		return nil
	}
	o.log.LogAttrs(ctx, slog.LevelInfo, "metrics and health are served", slog.String("url", "http://"+o.listener.Addr().String()))
	server := &http.Server{
		Handler: o.handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(o.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // nobody minds a scrape that fails
	defer stop()
	if err := server.Serve(o.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (o *observer) close() {
	if o.listener != nil {
		_ = o.listener.Close()
	}
}

func (o *observer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler(o.registry))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", o.readiness)
	return mux
}

// readiness answers 200, or 503 with a line for each check that fails.
func (o *observer) readiness(w http.ResponseWriter, r *http.Request) {
	var failed []string
	for name, check := range o.checks {
		if err := check(r.Context()); err != nil {
			failed = append(failed, name+": "+err.Error())
		}
	}
	if len(failed) > 0 {
		sort.Strings(failed)
		http.Error(w, strings.Join(failed, "\n"), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}
