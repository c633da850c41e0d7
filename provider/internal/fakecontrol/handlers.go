package fakecontrol

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// handler serves one request at a time.
func (s *Server) handler() http.Handler {
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("GET /v1/version", s.getVersion)
	s.mux.HandleFunc("GET /v1/objects/{kind}/{name}", s.getObject)
	s.mux.HandleFunc("PUT /v1/objects/{kind}/{name}", s.putObject)
	s.mux.HandleFunc("DELETE /v1/objects/{kind}/{name}", s.deleteObject)
	s.mux.HandleFunc("GET /v1/bundles/{digest}", s.getBundle)
	s.mux.HandleFunc("PUT /v1/bundles/{digest}", s.putBundle)
	s.mux.HandleFunc("DELETE /v1/bundles/{digest}", s.deleteBundle)
	s.mux.HandleFunc("GET /v1/gateways", s.listGateways)
	s.mux.HandleFunc("GET /v1/gateways/{gateway}/release", s.getRelease)
	s.mux.HandleFunc("POST /v1/gateways/{gateway}/releases", s.postRelease)
	s.mux.HandleFunc("GET /v1/gateways/{gateway}/instances", s.getInstances)
	s.mux.HandleFunc("POST /v1/tokens", s.postToken)
	s.mux.HandleFunc("POST /v1/decisions", s.postDecisions)
	s.mux.HandleFunc("PUT /v1/rollouts/{id}", s.putRollout)
	s.mux.HandleFunc("GET /v1/rollouts/{id}", s.getRollout)
	s.mux.HandleFunc("GET /v1/objects/{kind}", s.listObjects)
	s.mux.HandleFunc("GET /v1/bundles", s.listBundles)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		intercept := s.intercept
		s.mu.Unlock()
		if intercept != nil && intercept(w, r) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.URL.Path == "/oauth/token" {
			exchange(w, r)
			return
		}
		if r.URL.Path != "/v1/version" && r.Header.Get("Authorization") != "Bearer "+Token {
			refuse(w, http.StatusUnauthorized, "unauthenticated", "the token is not known")
			return
		}
		s.mux.ServeHTTP(w, r)
	})
}

func (s *Server) getVersion(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{"version": "9.9.9", "api": s.api})
}

func (o storedObject) document(k objectKey) map[string]any {
	return map[string]any{
		"kind": k.kind, "name": k.name, "definition": json.RawMessage(o.definition),
		"digest": policylang.DigestBytes(o.definition), "rev": o.rev,
	}
}

func (o storedObject) etag() string { return strconv.Quote(strconv.Itoa(o.rev)) }

func keyOf(r *http.Request) objectKey {
	return objectKey{policylang.Kind(r.PathValue("kind")), r.PathValue("name")}
}

func (s *Server) listGateways(w http.ResponseWriter, _ *http.Request) {
	gateways := []any{}
	for _, name := range slices.Sorted(maps.Keys(s.gateways)) {
		gateways = append(gateways, map[string]any{"name": name})
	}
	reply(w, http.StatusOK, map[string]any{"gateways": gateways})
}

func (s *Server) getObject(w http.ResponseWriter, r *http.Request) {
	k := keyOf(r)
	o, ok := s.objects[k]
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "there is no %s %q", k.kind, k.name)
		return
	}
	w.Header().Set("ETag", o.etag())
	reply(w, http.StatusOK, o.document(k))
}

func (s *Server) putObject(w http.ResponseWriter, r *http.Request) {
	k := keyOf(r)
	var body struct {
		Definition json.RawMessage `json:"definition"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, "malformed", "%v", err)
		return
	}
	if _, err := policylang.ParseDefinition(k.kind, k.name, body.Definition); err != nil {
		refuse(w, http.StatusBadRequest, "malformed", "%v", err)
		return
	}
	before, exists := s.objects[k]
	switch match := r.Header.Get("If-Match"); {
	case r.Header.Get("If-None-Match") == "*" && exists:
		refuse(w, http.StatusConflict, "exists", "there is a %s %q already", k.kind, k.name)
		return
	case match != "" && !exists:
		refuse(w, http.StatusNotFound, "not_found", "there is no %s %q", k.kind, k.name)
		return
	case match != "" && match != before.etag():
		refuse(w, http.StatusPreconditionFailed, "changed", "%s %q has changed", k.kind, k.name)
		return
	case match == "" && r.Header.Get("If-None-Match") == "":
		refuse(w, http.StatusPreconditionRequired, "precondition_required", "say which version is replaced")
		return
	}
	s.rev++
	o := storedObject{definition: body.Definition, rev: s.rev}
	s.objects[k] = o
	w.Header().Set("ETag", o.etag())
	status := http.StatusOK
	if !exists {
		status = http.StatusCreated
	}
	reply(w, status, o.document(k))
}

func (s *Server) deleteObject(w http.ResponseWriter, r *http.Request) {
	k := keyOf(r)
	if _, ok := s.objects[k]; !ok {
		refuse(w, http.StatusNotFound, "not_found", "there is no %s %q", k.kind, k.name)
		return
	}
	delete(s.objects, k)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) getBundle(w http.ResponseWriter, r *http.Request) {
	sealed, ok := s.bundles[r.PathValue("digest")]
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "there is no bundle %q", r.PathValue("digest"))
		return
	}
	_, _ = w.Write(sealed)
}

func (s *Server) putBundle(w http.ResponseWriter, r *http.Request) {
	sealed, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "malformed", "%v", err)
		return
	}
	u, err := bundle.InspectUnverified(sealed)
	if err != nil || u.Type != bundle.TypeBundle || u.Digest != r.PathValue("digest") {
		refuse(w, http.StatusBadRequest, "malformed", "this is not bundle %q: %v", r.PathValue("digest"), err)
		return
	}
	s.bundles[u.Digest] = sealed
	reply(w, http.StatusCreated, map[string]any{"digest": u.Digest})
}

func (s *Server) deleteBundle(w http.ResponseWriter, r *http.Request) {
	digest := r.PathValue("digest")
	if _, ok := s.bundles[digest]; !ok {
		refuse(w, http.StatusNotFound, "not_found", "there is no bundle %q", digest)
		return
	}
	for _, g := range s.gateways {
		for _, release := range g.history {
			if release.Bundle == digest {
				refuse(w, http.StatusConflict, "released", "bundle %q was released", digest)
				return
			}
		}
	}
	delete(s.bundles, digest)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) getRelease(w http.ResponseWriter, r *http.Request) {
	live, ok := s.gateway(r.PathValue("gateway")).live()
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "nothing was released to %q", r.PathValue("gateway"))
		return
	}
	w.Header().Set("ETag", strconv.Quote(live.Bundle))
	reply(w, http.StatusOK, live.document())
}

func (s *Server) postRelease(w http.ResponseWriter, r *http.Request) {
	signed, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "malformed", "%v", err)
		return
	}
	u, err := bundle.InspectUnverified(signed)
	if err != nil || u.Type != bundle.TypeRelease || u.Release.Gateway != r.PathValue("gateway") {
		refuse(w, http.StatusBadRequest, "malformed", "this is not a release of %q: %v", r.PathValue("gateway"), err)
		return
	}
	g := s.gateway(u.Release.Gateway)
	live, exists := g.live()
	wanted := r.Header.Get("If-None-Match") == "*" && !exists || exists && r.Header.Get("If-Match") == strconv.Quote(live.Bundle)
	if !wanted || u.Release.Predecessor != live.Bundle || u.Release.Revision <= live.Revision {
		document := map[string]any{"error": map[string]string{"code": "stale", "message": "another release is live"}}
		if exists {
			document["live"] = live.document()
		}
		reply(w, http.StatusPreconditionFailed, document)
		return
	}
	if _, ok := s.bundles[u.Release.Bundle]; !ok {
		refuse(w, http.StatusUnprocessableEntity, "no_bundle", "there is no bundle %q", u.Release.Bundle)
		return
	}
	made := storedRelease{Release: u.Release, signed: signed, releasedBy: "terraform", releasedAt: time.Now()}
	g.history = append(g.history, made)
	reply(w, http.StatusCreated, map[string]any{"live": made.document()})
}

// getInstances lets each process follow at once, unless it is told otherwise.
func (s *Server) getInstances(w http.ResponseWriter, r *http.Request) {
	g := s.gateway(r.PathValue("gateway"))
	live, _ := g.live()
	instances := []any{}
	for _, p := range g.processes {
		instance := map[string]any{
			"instance": p.Name, "version": "9.9.9", "bundle": live.Bundle, "revision": live.Revision, "error": p.Error, "sessions": 3,
			"seen_at": time.Now().Add(-p.Age), "started_at": time.Now().Add(-time.Hour),
		}
		if p.Error != "" || p.Frozen {
			instance["bundle"], instance["revision"] = live.Predecessor, max(live.Revision, 1)-1
		}
		instances = append(instances, instance)
	}
	reply(w, http.StatusOK, map[string]any{"instances": instances})
}

// putRollout checks all releases of a rollout as if they went live one after
// the other, and lets them at the next question.
func (s *Server) putRollout(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Stages []struct {
			Releases []struct{ Signed, Undo []byte } `json:"releases"`
		} `json:"stages"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "malformed", "%v", err)
		return
	}
	for _, stage := range in.Stages {
		for _, one := range stage.Releases {
			u, err := bundle.InspectUnverified(one.Signed)
			live, exists := s.gateway(u.Release.Gateway).live()
			if err != nil || u.Release.Predecessor != live.Bundle || u.Release.Revision <= live.Revision || exists != (len(one.Undo) > 0) {
				refuse(w, http.StatusPreconditionFailed, "changed", "the release of %q does not follow what is live (%v)", u.Release.Gateway, err)
				return
			}
			if s.stopped == "" {
				g := s.gateway(u.Release.Gateway)
				g.history = append(g.history, storedRelease{Release: u.Release, signed: one.Signed, releasedBy: "rollout", releasedAt: time.Now()})
			}
		}
	}
	id := r.PathValue("id")
	if s.rollouts[id] {
		refuse(w, http.StatusConflict, "exists", "rollout %q exists and is another", id)
		return
	}
	s.rollouts[id] = true
	reply(w, http.StatusCreated, map[string]any{"id": id, "status": "running", "rev": 1})
}

func (s *Server) getRollout(w http.ResponseWriter, r *http.Request) {
	status := "done"
	if s.stopped != "" {
		status = "stopped"
	}
	reply(w, http.StatusOK, map[string]any{"id": r.PathValue("id"), "status": status, "reason": s.stopped, "rev": 2})
}

// exchange mints a credential for the subject token "oidc-ROLE".
func exchange(w http.ResponseWriter, r *http.Request) {
	role, ok := strings.CutPrefix(r.PostFormValue("subject_token"), "oidc-")
	if !ok || r.Header.Get("Authorization") != "" {
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "the token is not accepted", "hint": "get another"})
		return
	}
	reply(w, http.StatusOK, map[string]any{
		"access_token": "credential for " + r.PostFormValue("audience"), "expires_in": 300, "subject": role + r.PostFormValue("actor_token"), "database_role": role,
		"address": "db.example.com:6432",
	})
}

func (s *Server) listObjects(w http.ResponseWriter, r *http.Request) {
	objects := []any{}
	for _, k := range slices.SortedFunc(maps.Keys(s.objects), func(a, b objectKey) int { return strings.Compare(a.name, b.name) }) {
		if string(k.kind) == r.PathValue("kind") {
			objects = append(objects, s.objects[k].document(k))
		}
	}
	reply(w, http.StatusOK, map[string]any{"objects": objects})
}

func (s *Server) listBundles(w http.ResponseWriter, _ *http.Request) {
	bundles := []any{}
	for _, digest := range slices.Sorted(maps.Keys(s.bundles)) {
		bundles = append(bundles, map[string]any{"digest": digest})
	}
	reply(w, http.StatusOK, map[string]any{"bundles": bundles})
}

func (s *Server) postDecisions(w http.ResponseWriter, r *http.Request) {
	if s.decide == nil {
		refuse(w, http.StatusNotFound, "no_such_path", "there is no such path")
		return
	}
	var q Question
	err := json.NewDecoder(r.Body).Decode(&q)
	if err == nil && q.Bundle == "" {
		q.Policy, err = policylang.ParseCanonical(q.Source)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "malformed", "%v", err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"decisions": s.decide(q)})
}

func (s *Server) postToken(w http.ResponseWriter, r *http.Request) {
	var t MintedToken
	if err := json.NewDecoder(r.Body).Decode(&t); err != nil {
		refuse(w, http.StatusBadRequest, "malformed", "%v", err)
		return
	}
	s.minted = append(s.minted, t)
	reply(w, http.StatusCreated, map[string]any{"token": fmt.Sprintf("pst_minted_%d", len(s.minted))})
}
