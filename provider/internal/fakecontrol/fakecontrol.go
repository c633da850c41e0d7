// Package fakecontrol is a control plane for the provider's tests: the part of
// the HTTP API that the provider uses, in memory, with simulated gateways.
//
// It is as strict as the real one about preconditions, digests and revisions,
// and verifies no signature, as the real one does not. Tests reach into it to
// play the other publisher, the stuck gateway and the failing network.
package fakecontrol

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// Token is the one API token that the control plane accepts.
const Token = "pst_test"

// Server is a control plane. Its methods are safe for concurrent use.
type Server struct {
	URL string

	mux *http.ServeMux

	mu        sync.Mutex // guards all below
	api       int
	intercept func(http.ResponseWriter, *http.Request) bool
	rev       int
	objects   map[objectKey]storedObject
	bundles   map[string][]byte
	gateways  map[string]*gateway
	minted    []MintedToken
	rollouts  map[string]bool                 // by id
	stopped   string                          // why rollouts stop; empty if they are done
	decide    func(Question) []map[string]any // nil: an old control plane
}

// Question is what the provider asks about a policy.
type Question struct {
	Bundle  string            `json:"bundle"`
	Policy  policylang.Policy `json:"-"`
	Source  []byte            `json:"policy"` // canonical
	Schemas map[string]string `json:"schemas"`
	Tests   []policylang.Test `json:"tests"`
}

type objectKey struct {
	kind policylang.Kind
	name string
}

type storedObject struct {
	definition []byte
	rev        int
}

type gateway struct {
	history   []storedRelease // newest last
	processes []Process
}

type storedRelease struct {
	bundle.Release
	signed     []byte
	releasedBy string
	releasedAt time.Time
}

// Process is a simulated process of a gateway.
type Process struct {
	Name   string
	Error  string        // it does not follow, and says so
	Frozen bool          // it does not follow, and says nothing
	Age    time.Duration // how long ago it was seen
}

// MintedToken is a token that was asked for.
type MintedToken struct {
	Name      string   `json:"name"`
	Roles     []string `json:"roles"`
	ExpiresIn string   `json:"expires_in"`
}

// New starts a control plane that stops with the test. It has no objects and
// no gateway processes.
func New(t *testing.T) *Server {
	t.Helper()
	s := &Server{
		api: 1, decide: expected, objects: map[objectKey]storedObject{}, bundles: map[string][]byte{}, gateways: map[string]*gateway{},
		rollouts: map[string]bool{},
	}
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// SetAPI makes the control plane speak another version of the API.
func (s *Server) SetAPI(version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api = version
}

// StopRollouts makes rollouts stop for a reason, and leave everything as it was.
func (s *Server) StopRollouts(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = reason
}

// Decide makes f decide about requests; nil stands for a control plane that is
// too old to. Unless it is called, every test gets what it expects.
func (s *Server) Decide(f func(Question) []map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = f
}

func expected(q Question) []map[string]any {
	decisions := make([]map[string]any, len(q.Tests))
	for i, t := range q.Tests {
		decisions[i] = map[string]any{"test": t.Name, "passed": true, "effect": t.Expect.Effect}
	}
	return decisions
}

// Intercept lets f see each request first; if it returns true it has answered.
func (s *Server) Intercept(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// SetProcesses replaces the simulated processes of a gateway.
func (s *Server) SetProcesses(name string, processes ...Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway(name).processes = processes
}

// Object returns an object, or nil.
func (s *Server) Object(kind policylang.Kind, name string) policylang.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, ok := s.objects[objectKey{kind, name}]
	if !ok {
		return nil
	}
	o, err := policylang.ParseDefinition(kind, name, stored.definition)
	if err != nil {
		panic(err)
	}
	return o
}

// PutObject writes an object behind the provider's back.
func (s *Server) PutObject(o policylang.Object) {
	definition, err := policylang.Definition(o)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rev++
	s.objects[objectKey{o.ObjectKind(), o.ObjectName()}] = storedObject{definition: definition, rev: s.rev}
}

// RemoveObject removes an object behind the provider's back.
func (s *Server) RemoveObject(kind policylang.Kind, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, objectKey{kind, name})
}

// Live returns the live release of a gateway, and the zero Release if there is
// none.
func (s *Server) Live(name string) bundle.Release {
	s.mu.Lock()
	defer s.mu.Unlock()
	if live, ok := s.gateway(name).live(); ok {
		return live.Release
	}
	return bundle.Release{}
}

// Revisions counts the releases of a gateway.
func (s *Server) Revisions(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.gateway(name).history)
}

// Bundle returns the policy of a bundle, or false if there is none.
func (s *Server) Bundle(digest string) (policylang.Policy, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sealed, ok := s.bundles[digest]
	if !ok {
		return policylang.Policy{}, false
	}
	u, err := bundle.InspectUnverified(sealed)
	if err != nil {
		panic(err)
	}
	return u.Policy, true
}

// Sealed returns a bundle as it was uploaded, or false if there is none.
func (s *Server) Sealed(digest string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sealed, ok := s.bundles[digest]
	return sealed, ok
}

// RemoveBundle loses a bundle.
func (s *Server) RemoveBundle(digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.bundles, digest)
}

// Publish releases a policy to a gateway as another publisher does, and returns
// its digest.
func (s *Server) Publish(name string, p policylang.Policy, key bundle.Signer, note string) string {
	sealed, err := bundle.Seal(&p, key)
	if err != nil {
		panic(err)
	}
	digest, err := p.Digest()
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	s.bundles[digest] = sealed
	s.mu.Unlock()
	s.Release(name, digest, key, note)
	return digest
}

// Release releases a bundle to a gateway as another publisher does.
func (s *Server) Release(name, digest string, key bundle.Signer, note string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gateway(name)
	live, _ := g.live()
	signed, err := bundle.SealRelease(bundle.Release{
		Gateway: name, Bundle: digest, Predecessor: live.Bundle, Revision: live.Revision + 1, Time: time.Now(), Note: note,
	}, key)
	if err != nil {
		panic(err)
	}
	u, err := bundle.InspectUnverified(signed)
	if err != nil {
		panic(err)
	}
	g.history = append(g.history, storedRelease{Release: u.Release, signed: signed, releasedBy: "somebody else", releasedAt: time.Now()})
}

// Forget loses the releases of a gateway, as a restored backup does.
func (s *Server) Forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway(name).history = nil
}

// Lie makes the control plane claim that another bundle is live than was
// signed.
func (s *Server) Lie(name, digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	history := s.gateway(name).history
	history[len(history)-1].Bundle = digest
}

// Carry handles a request of which nobody will hear the answer.
func (s *Server) Carry(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mux.ServeHTTP(httptest.NewRecorder(), r)
}

// Minted lists the tokens that were minted.
func (s *Server) Minted() []MintedToken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.minted)
}

func (s *Server) gateway(name string) *gateway {
	g, ok := s.gateways[name]
	if !ok {
		g = &gateway{}
		s.gateways[name] = g
	}
	return g
}

func (g *gateway) live() (storedRelease, bool) {
	if len(g.history) == 0 {
		return storedRelease{}, false
	}
	return g.history[len(g.history)-1], true
}

func (r storedRelease) document() map[string]any {
	return map[string]any{
		"gateway": r.Gateway, "bundle": r.Bundle, "predecessor": r.Predecessor, "revision": r.Revision, "time": r.Time,
		"released_by": r.releasedBy, "released_at": r.releasedAt, "note": r.Note, "signed": r.signed,
	}
}

func reply(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document)
}

func refuse(w http.ResponseWriter, status int, code, format string, args ...any) {
	reply(w, status, map[string]any{"error": map[string]string{"code": code, "message": fmt.Sprintf(format, args...)}})
}
