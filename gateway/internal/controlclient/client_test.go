package controlclient

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/approve"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const secret = "pst_hunter2"

// serve returns a client of a server that answers as h does.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := New(Config{URL: server.URL + "/", Token: StaticToken(secret), UserAgent: "postern/test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func text(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func TestURLs(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://control.example:8443":  true,
		"https://control.example/base/": true,
		"http://127.0.0.1:8443":         true,
		"http://[::1]:8443":             true,
		"http://localhost":              true,
		"http://control.example":        false,
		"http://127.0.0.1.example":      false,
		"https://user:pw@control":       false,
		"https://control/?token=x":      false,
		"control.example:8443":          false,
		"":                              false,
		"ftp://control":                 false,
	} {
		if _, err := New(Config{URL: url}); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		} else if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("%q shows a password", err)
		}
	}
}

func TestRequestsAreRepeated(t *testing.T) {
	var calls atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret || r.Header.Get("User-Agent") != "postern/test" {
			t.Errorf("headers %v", r.Header)
		}
		if calls.Add(1) < 3 {
			text(w, http.StatusServiceUnavailable, `{"error":{"code":"unavailable","message":"busy"}}`)
			return
		}
		text(w, http.StatusOK, `{"version":"1.2.3","api":1}`)
	})
	v, err := c.Version(t.Context())
	if err != nil || v.Version != "1.2.3" || calls.Load() != 3 {
		t.Errorf("version %+v, error %v, %d calls", v, err, calls.Load())
	}

	calls.Store(-100)
	if _, err = c.CreateToken(t.Context(), api.TokenInput{}); !errors.Is(err, ErrUnavailable) || calls.Load() != -99 {
		t.Errorf("error %v, %d calls", err, calls.Load())
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		status  int
		body    string
		want    string
		code    string
		another bool // trying again may help
	}{
		{"a refusal", 403, `{"error":{"code":"forbidden","message":"\"ci\" may not do this","hint":"ask"}}`, `"ci" may not do this (ask)`, "forbidden", false},
		{"not ours", 404, `<html>`, "is this the URL of a Postern control plane?", "", false},
		{"a proxy without a server", 502, `<html>`, "not available", "", true},
		{"too many", 429, `{"error":{"code":"rate_limited","message":"too many requests"}}`, "too many requests", "rate_limited", true},
		{"a redirect", 302, ``, "302", "", false},
		{"not JSON", 200, `<html>`, "cannot be read", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				if r.URL.Path == "/elsewhere" {
					t.Error("a redirect was followed")
				}
				text(w, tt.status, tt.body)
			})
			_, err := c.Whoami(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), c.URL()) {
				t.Fatalf("error %v", err)
			}
			if _, code := Status(err); code != tt.code {
				t.Errorf("code %q, want %q", code, tt.code)
			}
			if errors.Is(err, ErrUnavailable) != tt.another {
				t.Errorf("unavailable = %v", !tt.another)
			}
			if strings.Contains(err.Error(), secret) {
				t.Error("the error holds the token")
			}
		})
	}
}

func TestAServerThatIsAway(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	c, err := New(Config{URL: server.URL, Token: StaticToken(secret)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Whoami(t.Context())
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "/v1/") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Whoami(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { text(w, 200, `{}`) }))
	server.Config.ErrorLog = nil
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for name, tt := range map[string]struct {
		roots *x509.CertPool
		want  string
	}{
		"its root":          {roots, ""},
		"the system's root": {nil, "its certificate is not trusted"},
	} {
		c, err := New(Config{URL: server.URL, RootCAs: tt.roots})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Whoami(t.Context())
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: trying again would not help", name)
		}
		c.Close()
	}
}

func TestTokensCanFail(t *testing.T) {
	c, err := New(Config{URL: "https://control.example", Token: func(context.Context) (string, error) { return "", errors.New("no login") }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Whoami(t.Context()); err == nil || !strings.Contains(err.Error(), "no login") {
		t.Errorf("error %v", err)
	}
}

func TestInProcess(t *testing.T) {
	c, err := New(Config{URL: "https://control.internal", Transport: InProcess(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("wait") {
			<-r.Context().Done()
			return
		}
		data, err := io.ReadAll(r.Body)
		if err != nil || len(data) > 0 && r.URL.Path != "/v1/tokens" {
			t.Errorf("body %q, %v", data, err)
		}
		w.WriteHeader(http.StatusCreated)
		w.WriteHeader(http.StatusTeapot)
		text(w, http.StatusTeapot, `{"token":"x"}`)
	}))})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.CreateToken(t.Context(), api.TokenInput{Name: "x"}); err != nil || got.Token != "x" {
		t.Errorf("%+v, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Approval(ctx, "a_1", time.Minute); err == nil {
		t.Error("a cancelled call succeeded")
	}
}

func TestBroker(t *testing.T) {
	var in api.ApprovalInput
	status := `"pending"`
	var polls atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "POST /v1/gateways/g%20w/approvals", "POST /v1/gateways/g w/approvals":
			decode(t, r.Body, &in)
			text(w, http.StatusCreated, `{"id":"a_1","url":"https://u","expires_at":"2026-03-01T09:00:00Z"}`)
		case "GET /v1/approvals/a_1":
			if polls.Add(1) > 1 {
				status = `"approved"`
			}
			text(w, http.StatusOK, `{"id":"a_1","status":`+status+`,"votes":[{"approver":"ben","verdict":"approve","reason":"ok"}]}`)
		case "DELETE /v1/approvals/a_1":
			text(w, http.StatusConflict, `{"error":{"code":"decided","message":"approved already"}}`)
		case "POST /v1/gateways/g w/grants":
			text(w, http.StatusNotFound, `{"error":{"code":"not_found","message":"no"}}`)
		default:
			t.Errorf("%s %s", r.Method, r.URL)
		}
	})
	r := &approve.Request{
		Gateway: "g w", Subject: &policylang.Subject{Name: "ana", Actor: &policylang.Subject{Name: "robot"}}, SQL: "delete from t",
		Params: []approve.Param{{Value: []byte("x")}, {}, {Value: []byte{255}, Binary: true}},
		Groups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"ben"}, ExpiresIn: "10m"}},
	}
	b := c.Broker("g w")
	o, err := approve.Hold(t.Context(), b, r, nil)
	if err != nil || !o.Approved() || o.Approvers[0] != "ben" || o.Reason != "ok" {
		t.Errorf("outcome %+v, %v", o, err)
	}
	if in.Mode != api.ModeWait || in.ExpiresIn != "10m0s" || in.Nonce == "" || in.Binding != r.Binding() || in.Requester.Actor != "robot" || in.Groups[0].Required != 1 {
		t.Errorf("asked %+v", in)
	}
	if p := in.Params; p[0].Text != "x" || !p[1].Null || p[2].Binary[0] != 255 {
		t.Errorf("parameters %+v", p)
	}
	if err := b.Withdraw(t.Context(), "a_1"); err != nil {
		t.Errorf("withdraw what is decided: %v", err)
	}
	if _, ok, err := approve.Granted(t.Context(), b, r); ok || err != nil {
		t.Errorf("granted %v, %v", ok, err)
	}
	c.Close()
	for status, want := range map[api.ApprovalStatus]approve.Status{
		api.StatusApproved: approve.Approved, api.StatusUsed: approve.Approved, api.StatusRefused: approve.Refused,
		api.StatusExpired: approve.Expired, api.StatusWithdrawn: approve.Withdrawn, api.StatusPending: "", "new": "",
	} {
		if o, err := outcome(&api.Approval{Status: status}); o.Status != want || (err == nil) != (want != "") {
			t.Errorf("%s gives %+v, %v", status, o, err)
		}
	}
}

func TestSource(t *testing.T) {
	var looks atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v1/bundles/"):
			text(w, http.StatusOK, "sealed bundle")
		case looks.Add(1) == 1:
			if r.URL.Query().Get("after") != "3" || r.URL.Query().Get("wait") == "" {
				t.Errorf("query %s", r.URL.RawQuery)
			}
			w.WriteHeader(http.StatusNotModified)
		case looks.Load() == 2:
			text(w, http.StatusNotFound, `{"error":{"code":"not_found","message":"no release"}}`)
		default:
			text(w, http.StatusOK, `{"gateway":"gw","bundle":"sha256:1","revision":4,"signed":"AQI="}`)
		}
	})
	release, sealed, err := c.Source("gw").Next(t.Context(), bundle.Release{Revision: 3})
	if err != nil || string(release) != "\x01\x02" || string(sealed) != "sealed bundle" {
		t.Errorf("next %q, %q, %v", release, sealed, err)
	}
}

// TestSourceComesBack wants a source that failed to say at once that it can be
// asked again, and not to wait for a release with that.
func TestSourceComesBack(t *testing.T) {
	var looks atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if looks.Add(1) == 1 {
			text(w, http.StatusForbidden, `{"error":{"code":"forbidden","message":"not yet"}}`)
			return
		}
		if wait := r.URL.Query().Get("wait"); wait != "" {
			t.Errorf("it waits %s", wait)
		}
		w.WriteHeader(http.StatusNotModified)
	})
	source := c.Source("gw")
	if _, _, err := source.Next(t.Context(), bundle.Release{Revision: 3}); err == nil {
		t.Error("no error")
	}
	if release, sealed, err := source.Next(t.Context(), bundle.Release{Revision: 3}); release != nil || sealed != nil || err != nil {
		t.Errorf("next %q, %q, %v", release, sealed, err)
	}
}

func decode(t *testing.T, r io.Reader, v any) {
	t.Helper()
	if err := json.NewDecoder(r).Decode(v); err != nil {
		t.Error(err)
	}
}
