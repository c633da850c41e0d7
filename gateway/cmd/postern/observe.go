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
	"github.com/posternhq/postern/gateway/internal/tracing"
)

// observer lets those who run this process look at it: metrics, whether it
// lives, and whether it is ready for work. It has no secrets to tell, and asks
// nobody who they are; by default it listens nowhere.
type observer struct {
	registry *prometheus.Registry
	tracer   *tracing.Tracer                        // nil: not asked for
	checks   map[string]func(context.Context) error // of readiness; complete before run
	listener net.Listener                           // nil: not asked for
	log      *slog.Logger
}

func (f *commonFlags) openObserver(ctx context.Context, log *slog.Logger) (o *observer, err error) {
	o = &observer{registry: metrics.NewRegistry(version), checks: map[string]func(context.Context) error{}, log: log}
	if o.tracer, err = tracing.FromEnvironment(ctx, version); err != nil {
		return nil, err
	}
	if f.observe != "" {
		o.listener, err = listen(f.observe)
	}
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
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := o.tracer.Close(ctx); err != nil {
		o.log.LogAttrs(ctx, slog.LevelWarn, "export traces", slog.Any("error", err))
	}
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
