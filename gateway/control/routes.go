package control

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang/bundle"
)

// route is one operation of the API: who may call it, and what it does.
type route struct {
	pattern string
	open    bool       // anybody, without a token
	anyone  bool       // anybody with a token; the handler looks closer
	roles   []api.Role // any of these
	gateway bool       // the role of the gateway that the path names
	scoped  bool       // any of roles for some gateway; the handler looks closer
	limit   int64      // of the body in bytes
	handle  func(w http.ResponseWriter, r *http.Request, c *caller) error
}

// routes lists the operations of the API. RoleAdmin includes viewer, author
// and auditor, so that it is not repeated.
func (s *Server) routes() []route {
	readers := readers()
	authors := []api.Role{api.RoleAuthor}
	admins := []api.Role{api.RoleAdmin}
	return []route{
		{pattern: "GET /healthz", open: true, handle: s.health},
		{pattern: "GET /readyz", open: true, handle: s.ready},
		{pattern: "GET /v1/version", open: true, handle: s.version},
		{pattern: "GET /v1/whoami", anyone: true, handle: s.whoami},

		{pattern: "GET /v1/objects/{kind}", roles: readers, scoped: true, handle: s.listObjects},
		{pattern: "GET /v1/objects/{kind}/{name}", roles: readers, scoped: true, handle: s.getObject},
		{pattern: "PUT /v1/objects/{kind}/{name}", roles: authors, scoped: true, limit: api.MaxBody, handle: s.putObject},
		{pattern: "DELETE /v1/objects/{kind}/{name}", roles: authors, scoped: true, handle: s.deleteObject},

		{pattern: "GET /v1/bundles", roles: readers, handle: s.listBundles},
		{pattern: "GET /v1/bundles/{digest}", anyone: true, handle: s.getBundle},
		{pattern: "PUT /v1/bundles/{digest}", roles: authors, scoped: true, limit: bundle.MaxBundleSize, handle: s.putBundle},
		{pattern: "DELETE /v1/bundles/{digest}", roles: authors, handle: s.deleteBundle},

		{pattern: "POST /v1/decisions", roles: readers, scoped: true, limit: api.MaxDecisionsBody, handle: s.decide},

		{pattern: "GET /v1/gateways", roles: readers, scoped: true, handle: s.listGateways},
		{pattern: "GET /v1/gateways/{gateway}/release", roles: readers, gateway: true, handle: s.getRelease},
		{pattern: "GET /v1/gateways/{gateway}/releases", roles: readers, gateway: true, handle: s.listReleases},
		{pattern: "POST /v1/gateways/{gateway}/releases", roles: authors, limit: bundle.MaxReleaseSize, handle: s.publish},
		{pattern: "GET /v1/gateways/{gateway}/instances", roles: readers, gateway: true, handle: s.listInstances},
		{pattern: "POST /v1/gateways/{gateway}/instances/{instance}", gateway: true, limit: api.MaxBody, handle: s.report},
		{pattern: "DELETE /v1/gateways/{gateway}/instances/{instance}", gateway: true, handle: s.leave},
		{pattern: "GET /v1/gateways/{gateway}/revocations", roles: []api.Role{api.RoleAuditor}, gateway: true, handle: s.listRevocations},
		{pattern: "POST /v1/gateways/{gateway}/approvals", gateway: true, limit: api.MaxApprovalBody, handle: s.requestApproval},
		{pattern: "POST /v1/gateways/{gateway}/grants", gateway: true, limit: api.MaxBody, handle: s.useApproval},

		{pattern: "GET /v1/rollouts", roles: readers, scoped: true, handle: s.listRollouts},
		{pattern: "GET /v1/rollouts/{id}", roles: readers, scoped: true, handle: s.getRollout},
		{pattern: "PUT /v1/rollouts/{id}", roles: authors, scoped: true, limit: api.MaxRolloutBody, handle: s.putRollout},
		{pattern: "DELETE /v1/rollouts/{id}", roles: authors, scoped: true, handle: s.stopRollout},

		{pattern: "GET /v1/approvals", anyone: true, handle: s.listApprovals},
		{pattern: "GET /v1/approvals/{id}", anyone: true, handle: s.getApproval},
		{pattern: "POST /v1/approvals/{id}/approve", anyone: true, limit: api.MaxBody, handle: s.vote(api.VerdictApprove)},
		{pattern: "POST /v1/approvals/{id}/refuse", anyone: true, limit: api.MaxBody, handle: s.vote(api.VerdictRefuse)},
		{pattern: "DELETE /v1/approvals/{id}", anyone: true, handle: s.withdrawApproval},

		{pattern: "POST /v1/revocations", roles: admins, limit: api.MaxBody, handle: s.revoke},

		{pattern: "POST /v1/enrolments", roles: admins, limit: api.MaxBody, handle: s.createEnrolment},
		{pattern: "POST /v1/enrol", open: true, limit: api.MaxBody, handle: s.enrol},

		{pattern: "GET /v1/tokens", roles: admins, handle: s.listTokens},
		{pattern: "POST /v1/tokens", roles: admins, limit: api.MaxBody, handle: s.createToken},
		{pattern: "DELETE /v1/tokens/{id}", roles: admins, handle: s.revokeToken},
	}
}

// admits returns nil if the route is the caller's to call.
func (rt *route) admits(r *http.Request, c *caller) error {
	if rt.anyone || c.Has(rt.roles...) {
		return nil
	}
	gateway := r.PathValue("gateway")
	if rt.gateway && c.Has(api.GatewayRole(gateway)) || gateway != "" && c.HasFor(gateway, rt.roles...) || rt.scoped && c.HasForSome(rt.roles...) {
		return nil
	}
	wanted := slices.Clone(rt.roles)
	if rt.gateway {
		wanted = append(wanted, api.GatewayRole(gateway))
	}
	return refuse(http.StatusForbidden, api.CodeForbidden, fmt.Sprintf("%q may not do this", c.Name), fmt.Sprintf("it needs one of the roles %v", wanted))
}

// handler serves the routes to callers whom authenticate knows.
func (s *Server) handler(authenticate func(*http.Request) (*caller, error)) http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) {
			s.serve(w, r, &rt, authenticate)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started, began := s.now(), time.Now()
		rec := &recorder{ResponseWriter: w}
		rec.Header().Set("Cache-Control", "no-store")
		rec.Header().Set("X-Content-Type-Options", "nosniff")
		_, pattern := mux.Handler(r)
		defer func() {
			s.recoverPanic(rec, r, recover())
			s.logAccess(rec, r, s.now().Sub(started))
			s.config.Metrics.Request(cmp.Or(pattern, "none"), rec.status, rec.waited, time.Since(began))
		}()
		if pattern == "" {
			s.answerError(r.Context(), rec, unrouted(mux, r))
			return
		}
		mux.ServeHTTP(rec, r)
	})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, rt *route, authenticate func(*http.Request) (*caller, error)) {
	err := func() error {
		r.Body = http.MaxBytesReader(w, r.Body, rt.limit)
		if rt.open {
			return rt.handle(w, r, nil)
		}
		c, err := authenticate(r)
		if err != nil {
			return err
		}
		if rec, ok := w.(*recorder); ok {
			rec.caller = c.Name
		}
		if wait, ok := s.callers.take(c.Kind+" "+c.Name, 1); !ok {
			return tooMany(wait)
		}
		if err := rt.admits(r, c); err != nil {
			return err
		}
		return rt.handle(w, r, c)
	}()
	if err != nil {
		s.answerError(r.Context(), w, err)
	}
}

// unrouted is the refusal of a request that no route matches.
func unrouted(mux *http.ServeMux, r *http.Request) error {
	h, _ := mux.Handler(r)
	probe := &discard{header: make(http.Header)}
	h.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		e := refuse(http.StatusMethodNotAllowed, api.CodeMethodNotAllowed, "the method is not allowed here", "")
		e.allow = probe.header.Get("Allow")
		return e
	}
	return refuse(http.StatusNotFound, api.CodeNoSuchPath, "there is no such path", "the API's paths start with /v1/")
}

// discard is a response that nobody reads.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// recorder remembers what the access log says.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	caller string
	waited bool // for news, however short
}

func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(p []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	n, err := rec.ResponseWriter.Write(p)
	rec.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// logAccess logs the route and never the path or the query, which name things.
func (s *Server) logAccess(rec *recorder, r *http.Request, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case rec.status >= 500:
		level = slog.LevelError
	case r.Pattern == "GET /healthz" || r.Pattern == "GET /readyz" || rec.status == http.StatusNotModified:
		level = slog.LevelDebug
	}
	s.log.LogAttrs(r.Context(), level, "request",
		slog.String("route", r.Pattern), slog.Int("status", rec.status), slog.Int64("bytes", rec.bytes),
		slog.Duration("duration", took), slog.String("caller", rec.caller), slog.String("client_addr", clientAddress(r)))
}

func (s *Server) recoverPanic(rec *recorder, r *http.Request, panicked any) {
	if panicked == nil {
		return
	}
	s.log.LogAttrs(r.Context(), slog.LevelError, "request panicked", slog.String("route", r.Pattern), slog.String("stack", string(debug.Stack())))
	if rec.status == 0 {
		s.answerError(r.Context(), rec, refuse(http.StatusInternalServerError, api.CodeInternal, "the control plane failed", "its log says how"))
	}
}

// readJSON reads the whole body as one JSON value of known members.
func readJSON(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one JSON value")
		}
	}
	var tooLarge *http.MaxBytesError
	if err == nil || errors.As(err, &tooLarge) {
		return err
	}
	return refuse(http.StatusBadRequest, api.CodeInvalid, "the body cannot be read: "+jsonProblem(err), "")
}

// jsonProblem says what is wrong without any of the body's values.
func jsonProblem(err error) string {
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return "it is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is not JSON at byte %d", syntax.Offset)
	case errors.As(err, &typed):
		return fmt.Sprintf("%q should be %s", typed.Field, typed.Type)
	}
	return err.Error() // an unknown field, by its name
}
