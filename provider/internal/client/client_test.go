package client_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/client"
	"github.com/posternhq/postern/provider/internal/fakecontrol"
)

func newClient(t *testing.T, config client.Config) *client.Client {
	t.Helper()
	config.Version, config.Backoff = "0.1.0", time.Millisecond
	if config.Token == "" {
		config.Token = fakecontrol.Token
	}
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestObjects(t *testing.T) {
	control := fakecontrol.New(t)
	c := newClient(t, client.Config{Endpoint: control.URL + "/"})
	rule := &policylang.QueryRule{Name: "x", When: "true", Effect: policylang.EffectAllow}

	if _, err := c.Object(t.Context(), policylang.KindQueryRule, "x"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("object that there is not: %v", err)
	}
	made, err := c.CreateObject(t.Context(), rule)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateObject(t.Context(), rule); !errors.Is(err, client.ErrExists) {
		t.Errorf("second object of one name: %v", err)
	}
	rule.When = "false"
	if _, err := c.UpdateObject(t.Context(), rule, made.ETag); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UpdateObject(t.Context(), rule, made.ETag); !errors.Is(err, client.ErrChanged) {
		t.Errorf("update of an older version: %v", err)
	}
	read, err := c.Object(t.Context(), policylang.KindQueryRule, "x")
	if err != nil {
		t.Fatal(err)
	}
	o, err := read.Parse()
	if r, ok := o.(*policylang.QueryRule); err != nil || !ok || r.When != "false" {
		t.Errorf("object is %+v, %v", o, err)
	}
	if err := c.DeleteObject(t.Context(), policylang.KindQueryRule, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UpdateObject(t.Context(), rule, made.ETag); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("update of what is gone: %v", err)
	}
}

// A name is one segment of the path, whatever is in it.
func TestNameIsOneSegment(t *testing.T) {
	var path string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.EscapedPath()
		_, _ = w.Write([]byte(`{"api":1}`))
	}))
	t.Cleanup(server.Close)
	c := newClient(t, client.Config{Endpoint: server.URL + "/base"})
	if _, err := c.Object(t.Context(), policylang.KindGateway, "a/b?c"); err != nil {
		t.Fatal(err)
	}
	if want := "/base/v1/objects/gateway/a%2Fb%3Fc"; path != want {
		t.Errorf("path is %s, want %s", path, want)
	}
}

func TestVersion(t *testing.T) {
	control := fakecontrol.New(t)
	control.SetAPI(7)
	c := newClient(t, client.Config{Endpoint: control.URL})
	_, err := c.Release(t.Context(), "orders")
	var mismatch *client.VersionError
	if !errors.As(err, &mismatch) || mismatch.ControlPlane != "9.9.9" || mismatch.Provider != "0.1.0" || mismatch.ControlPlaneAPI != 7 {
		t.Fatalf("error is %v", err)
	}
	// The control plane was upgraded in the meantime.
	control.SetAPI(1)
	if _, err := c.Release(t.Context(), "orders"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("error is %v", err)
	}
}

func TestRepeats(t *testing.T) {
	tests := []struct {
		name   string
		status int
		call   func(context.Context, *client.Client) error
		want   int32 // requests
	}{
		{"a read", 503, func(ctx context.Context, c *client.Client) error { _, err := c.Release(ctx, "g"); return err }, 4},
		{"an upload", 502, func(ctx context.Context, c *client.Client) error { return c.PutBundle(ctx, "d", []byte("x")) }, 4},
		{"a read that is refused", 403, func(ctx context.Context, c *client.Client) error { _, err := c.Release(ctx, "g"); return err }, 1},
		{"a creation", 503, func(ctx context.Context, c *client.Client) error {
			_, err := c.CreateObject(ctx, &policylang.Gateway{Name: "g"})
			return err
		}, 1},
		{"a creation that comes too fast", 429, func(ctx context.Context, c *client.Client) error {
			_, err := c.CreateObject(ctx, &policylang.Gateway{Name: "g"})
			return err
		}, 8},
		{"a token", 503, func(ctx context.Context, c *client.Client) error {
			_, err := c.MintToken(ctx, client.TokenRequest{})
			return err
		}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			control := fakecontrol.New(t)
			var requests atomic.Int32
			control.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/version") {
					return false
				}
				requests.Add(1)
				w.WriteHeader(test.status)
				return true
			})
			err := test.call(t.Context(), newClient(t, client.Config{Endpoint: control.URL}))
			var refused *client.Error
			if !errors.As(err, &refused) || refused.Status != test.status {
				t.Errorf("error is %v", err)
			}
			if n := requests.Load(); n != test.want {
				t.Errorf("%d requests, want %d", n, test.want)
			}
		})
	}
}

// The token follows no redirect.
func TestNoRedirect(t *testing.T) {
	var leaked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		leaked.Store(r.Header.Get("Authorization") != "")
	}))
	t.Cleanup(other.Close)
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	if _, err := newClient(t, client.Config{Endpoint: server.URL}).Release(t.Context(), "orders"); err == nil || leaked.Load() {
		t.Errorf("error is %v, token leaked: %t", err, leaked.Load())
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"api":1}`))
	}))
	t.Cleanup(server.Close)
	if _, err := newClient(t, client.Config{Endpoint: server.URL}).Release(t.Context(), "g"); err == nil {
		t.Error("an unknown certificate was accepted")
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if _, err := newClient(t, client.Config{Endpoint: server.URL, CA: ca}).Release(t.Context(), "g"); err != nil {
		t.Error(err)
	}
}

// What is not the API's own answer is not shown.
func TestForeignAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("<html>a proxy's page</html>"))
	}))
	t.Cleanup(server.Close)
	_, err := newClient(t, client.Config{Endpoint: server.URL}).Release(t.Context(), "g")
	if err == nil || strings.Contains(err.Error(), "proxy") || !strings.Contains(err.Error(), "403") {
		t.Errorf("error is %v", err)
	}
}
