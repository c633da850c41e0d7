package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/internal/metrics"
)

// TestObserver asks a process that is not ready yet, and then is.
func TestObserver(t *testing.T) {
	flags := commonFlags{observe: "127.0.0.1:0"}
	o, err := flags.openObserver(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	notYet := errors.New("no verified policy is in force")
	o.ready("policy", func(context.Context) error { return notYet })
	metrics.NewGateway(o.registry).Login("token", "")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.run(ctx) }()
	get := func(path string, wantStatus int, want string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+o.listener.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close() //nolint:errcheck // it was read
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != wantStatus || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %q (%v), want %d and %q", path, res.StatusCode, body, err, wantStatus, want)
		}
	}
	get("/healthz", http.StatusOK, "ok")
	get("/readyz", http.StatusServiceUnavailable, "policy: no verified policy is in force")
	notYet = nil
	get("/readyz", http.StatusOK, "ok")
	get("/metrics", http.StatusOK, `postern_logins_total{method="token",result="ok"} 1`)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestObserverTakenPort says what is wrong.
func TestObserverTakenPort(t *testing.T) {
	taken, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	flags := commonFlags{observe: taken.Addr().String()}
	if _, err := flags.openObserver(t.Context(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
}
