package control

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang/bundle"
)

// fleet is a bench with gateways a, b and c that run bundle one.
type fleet struct {
	*bench
	one, two string
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{bench: newBench(t)}
	f.one, f.two = f.stored("one"), f.stored("two")
	for _, gateway := range []string{"a", "b", "c"} {
		first := f.release(bundle.Release{Gateway: gateway, Bundle: f.one, Revision: 1})
		f.want(f.do(f.token(api.RoleAuthor), "POST /v1/gateways/"+gateway+"/releases", first, "If-None-Match", "*"), http.StatusCreated, "")
		f.beat(gateway, 1, f.one, "", api.Counts{Statements: 1000, Denied: 400})
	}
	return f
}

// beat reports what a gateway's instance i1 enforces and has counted.
func (f *fleet) beat(gateway string, revision uint64, digest, problem string, counts api.Counts) {
	f.t.Helper()
	f.beatOf(gateway, "i1", revision, digest, problem, counts)
}

func (f *fleet) beatOf(gateway, instance string, revision uint64, digest, problem string, counts api.Counts) {
	f.t.Helper()
	h := api.Heartbeat{Version: "1", Revision: revision, Bundle: digest, Error: problem, Counts: counts, StartedAt: time.Unix(1, 0)}
	f.want(f.do(f.token(api.GatewayRole(gateway)), "POST /v1/gateways/"+gateway+"/instances/"+instance, h), http.StatusNoContent, "")
}

// stages makes a rollout of bundle two: each argument is the gateways of a
// stage, with spaces between them.
func (f *fleet) stages(undo bool, stages ...string) api.RolloutInput {
	f.t.Helper()
	in := api.RolloutInput{Observe: "1m", Timeout: "5m", MaxErrorRate: 0.1, Run: "https://ci/7", Commit: "abc123"}
	for _, gateways := range stages {
		var stage api.RolloutStageInput
		for _, gateway := range strings.Fields(gateways) {
			r := api.RolloutReleaseInput{Signed: f.release(bundle.Release{Gateway: gateway, Bundle: f.two, Predecessor: f.one, Revision: 2})}
			if undo {
				r.Undo = f.release(bundle.Release{Gateway: gateway, Bundle: f.one, Predecessor: f.two, Revision: 3})
			}
			stage.Releases = append(stage.Releases, r)
		}
		in.Stages = append(in.Stages, stage)
	}
	return in
}

func (f *fleet) step() {
	f.t.Helper()
	if err := f.server.stepRollouts(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) rollout() api.Rollout {
	f.t.Helper()
	return into[api.Rollout](f.t, f.want(f.do(f.token(api.RoleViewer), "GET /v1/rollouts/r1", nil), http.StatusOK, ""))
}

func (f *fleet) live(gateway string) api.Release {
	f.t.Helper()
	return into[api.Release](f.t, f.want(f.do(f.token(api.RoleViewer), "GET /v1/gateways/"+gateway+"/release", nil), http.StatusOK, ""))
}

func TestRolloutGoesStageByStage(t *testing.T) {
	f := newFleet(t)
	author := f.token(api.RoleAuthor)
	in := f.stages(false, "a", "b c")
	f.want(f.do(author, "PUT /v1/rollouts/r1", in), http.StatusCreated, "")
	// The request may be repeated, but not with something else in it.
	f.want(f.do(author, "PUT /v1/rollouts/r1", in), http.StatusOK, "")
	in.Observe = "2m"
	f.want(f.do(author, "PUT /v1/rollouts/r1", in), http.StatusConflict, api.CodeExists)
	f.want(f.do(author, "PUT /v1/rollouts/r2", f.stages(false, "c")), http.StatusConflict, api.CodeExists)

	if a, b := f.live("a"), f.live("b"); a.Revision != 2 || a.Run != "https://ci/7" || a.Commit != "abc123" || b.Revision != 1 {
		t.Fatalf("a has %+v, b %+v", a, b)
	}
	f.step()
	if r := f.rollout(); r.Stage != 0 || r.Stages[0].Enforced != nil {
		t.Fatalf("before a acknowledges: %+v", r)
	}
	f.beat("a", 2, f.two, "", api.Counts{Statements: 1000, Denied: 400})
	f.step()
	if r := f.rollout(); r.Stage != 0 || r.Stages[0].Enforced == nil || r.Stages[0].Statements != 0 {
		t.Fatalf("after a acknowledged: %+v", r)
	}
	// It is watched for a minute; what it had counted before does not matter.
	f.clock.Advance(59 * time.Second)
	f.beat("a", 2, f.two, "", api.Counts{Statements: 1200, Denied: 410, Failed: 10})
	f.step()
	if r := f.rollout(); r.Stage != 0 || r.Stages[0].Statements != 200 || r.Stages[0].Errors != 20 {
		t.Fatalf("while a is watched: %+v", r)
	}
	f.clock.Advance(2 * time.Second)
	f.step()
	if r := f.rollout(); r.Stage != 0 {
		t.Fatal("a was judged by an old report")
	}
	f.beat("a", 2, f.two, "", api.Counts{Statements: 1201, Denied: 410, Failed: 10})
	f.step()
	if r := f.rollout(); r.Stage != 1 || r.Stages[0].Proven == nil || f.live("b").Revision != 2 || f.live("c").Revision != 2 {
		t.Fatalf("after a has proven itself: %+v", r)
	}
	for _, gateway := range []string{"b", "c"} {
		f.beat(gateway, 2, f.two, "", api.Counts{Statements: 1000, Denied: 400})
	}
	f.step()
	f.clock.Advance(time.Minute)
	for _, gateway := range []string{"b", "c"} {
		f.beat(gateway, 2, f.two, "", api.Counts{Statements: 1000, Denied: 400})
	}
	f.step()
	if r := f.rollout(); r.Status != api.RolloutDone {
		t.Fatalf("at the end: %+v", r)
	}
	f.want(f.do(author, "DELETE /v1/rollouts/r1", nil), http.StatusConflict, api.CodeDecided)
	list := into[api.RolloutList](t, f.do(author, "GET /v1/rollouts", nil)).Rollouts
	if len(list) != 1 || list[0].ID != "r1" {
		t.Errorf("listed are %+v", list)
	}
	var actions []string
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if strings.HasPrefix(e.Action, "rollout.") || e.Action == "release.publish" && strings.HasSuffix(e.Target, "revision 2") {
			actions = append(actions, e.Action+" "+e.Target)
		}
	}
	want := "rollout.start r1, release.publish a revision 2, rollout.stage r1, release.publish b revision 2, release.publish c revision 2, rollout.done r1"
	if got := strings.Join(actions, ", "); got != want {
		t.Errorf("recorded is %s, want %s", got, want)
	}
}

// TestRolloutCountsEveryInstance: a gateway may run in several processes. A
// stage is enforced when each that reports enforces it, and at least as many as
// are wanted; it has proven itself by what all of them count; and one that does
// not take it stops the rollout.
func TestRolloutCountsEveryInstance(t *testing.T) {
	start := func(t *testing.T, min int) (f *fleet, beats func(behind ...string)) {
		t.Helper()
		f = newFleet(t)
		for _, instance := range []string{"i2", "i3"} {
			f.beatOf("a", instance, 1, f.one, "", api.Counts{Statements: 1000, Denied: 400})
		}
		in := f.stages(true, "a", "b c")
		in.MinInstances = min
		f.want(f.do(f.token(api.RoleAuthor), "PUT /v1/rollouts/r1", in), http.StatusCreated, "")
		return f, func(behind ...string) {
			t.Helper()
			for _, instance := range []string{"i1", "i2", "i3"} {
				revision, digest := uint64(2), f.two
				if slices.Contains(behind, instance) {
					revision, digest = 1, f.one
				}
				f.beatOf("a", instance, revision, digest, "", api.Counts{Statements: 1000, Denied: 400})
			}
			f.step()
		}
	}
	t.Run("each must acknowledge", func(t *testing.T) {
		f, beats := start(t, 3)
		beats("i3")
		if r := f.rollout(); r.Stages[0].Enforced != nil {
			t.Fatalf("one of three is behind: %+v", r)
		}
		beats()
		if r := f.rollout(); r.Stages[0].Enforced == nil || r.Stages[0].Releases[0].Gateway != "a" {
			t.Fatalf("all three enforce it: %+v", r)
		}
	})
	t.Run("as many as are wanted", func(t *testing.T) {
		f, beats := start(t, 4)
		beats()
		f.clock.Advance(5 * time.Minute)
		beats()
		if r := f.rollout(); r.Status != api.RolloutStopped || !strings.Contains(r.Reason, `3 of at least 4 instances of gateway "a"`) {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("one in which too much fails", func(t *testing.T) {
		f, beats := start(t, 1)
		beats()
		f.beatOf("a", "i2", 2, f.two, "", api.Counts{Statements: 1010, Denied: 402})
		f.step()
		if r := f.rollout(); r.Status != api.RolloutStopped || !strings.Contains(r.Reason, "were denied or failed") || f.live("a").Bundle != f.one {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("one that does not take it", func(t *testing.T) {
		f, beats := start(t, 1)
		f.clock.Advance(time.Second)
		f.beatOf("a", "i3", 1, f.one, "compile: unknown function", api.Counts{})
		f.beatOf("a", "i2", 2, f.two, "", api.Counts{})
		f.step()
		beats()
		if r := f.rollout(); r.Status != api.RolloutStopped || !strings.Contains(r.Reason, `instance "i3" of gateway "a" does not take it`) {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("one that is old news", func(t *testing.T) {
		f, beats := start(t, 1)
		beats("i3")
		f.clock.Advance(59 * time.Second)
		f.beatOf("a", "i1", 2, f.two, "", api.Counts{})
		f.step()
		if r := f.rollout(); r.Stages[0].Enforced != nil {
			t.Fatalf("i3 reported a minute ago: %+v", r)
		}
		f.clock.Advance(2 * time.Second) // i3 has gone
		f.beatOf("a", "i1", 2, f.two, "", api.Counts{})
		f.step()
		if r := f.rollout(); r.Stages[0].Enforced == nil {
			t.Fatalf("the instance that is left enforces it: %+v", r)
		}
	})
}

// TestRolloutStops has each way in which a stage fails.
func TestRolloutStops(t *testing.T) {
	for name, tt := range map[string]struct {
		happens func(f *fleet)
		reason  string
		undone  bool
	}{
		"too many errors": {func(f *fleet) {
			f.beat("a", 2, f.two, "", api.Counts{Statements: 1010, Denied: 402})
		}, "of 10 statements 2 were denied or failed", true},
		"a bundle that does not compile there": {func(f *fleet) {
			f.clock.Advance(time.Second)
			f.beat("a", 1, f.one, "compile: unknown function", api.Counts{})
		}, `instance "i1" of gateway "a" does not take it: compile: unknown function`, true},
		"no acknowledgement in time": {func(f *fleet) {
			f.clock.Advance(5 * time.Minute)
			f.beat("a", 1, f.one, "", api.Counts{})
		}, "within 5m0s", true},
		"nobody reports": {func(f *fleet) { f.clock.Advance(6 * time.Minute) }, "0 of at least 1 instances", true},
		"another publisher": {func(f *fleet) {
			signed := f.release(bundle.Release{Gateway: "a", Bundle: f.one, Predecessor: f.two, Revision: 9})
			f.want(f.do(f.token(api.RoleAuthor), "POST /v1/gateways/a/releases", signed, "If-Match", etag(f.two)), http.StatusCreated, "")
		}, `somebody else has released revision 9 to gateway "a"`, false},
		"by hand": {func(f *fleet) {
			f.want(f.do(f.token(api.RoleAuthor), "DELETE /v1/rollouts/r1", nil), http.StatusOK, "")
		}, `stopped by "author"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			f.want(f.do(f.token(api.RoleAuthor), "PUT /v1/rollouts/r1", f.stages(true, "a", "b c")), http.StatusCreated, "")
			tt.happens(f)
			f.step()
			r := f.rollout()
			if r.Status != api.RolloutStopped || !strings.Contains(r.Reason, tt.reason) {
				t.Fatalf("%+v, want it stopped because %q", r, tt.reason)
			}
			a := f.live("a")
			if r.Stages[0].Releases[0].Undone != tt.undone || (a.Revision == 3 && a.Bundle == f.one) != tt.undone {
				t.Errorf("a runs revision %d, undone %v", a.Revision, r.Stages[0].Releases[0].Undone)
			}
			if f.live("b").Revision != 1 || f.live("c").Revision != 1 {
				t.Error("a later stage went live")
			}
			f.step()
		})
	}
}

// TestRolloutStagesAreWhole has the second of two releases of a stage refused:
// the first does not go live either.
func TestRolloutStagesAreWhole(t *testing.T) {
	f := newFleet(t)
	author := f.token(api.RoleAuthor)
	overtake := func(gateway string, status int, code string) {
		t.Helper()
		signed := f.release(bundle.Release{Gateway: gateway, Bundle: f.two, Predecessor: f.one, Revision: 5})
		f.want(f.do(author, "POST /v1/gateways/"+gateway+"/releases", signed, "If-Match", etag(f.one)), status, code)
	}
	overtake("b", http.StatusCreated, "")
	f.want(f.do(author, "PUT /v1/rollouts/r0", f.stages(false, "a b")), http.StatusPreconditionFailed, api.CodeChanged)
	if f.live("a").Revision != 1 {
		t.Error("half a stage went live")
	}
	in := f.stages(false, "a", "c")
	in.Observe = "0s"
	f.want(f.do(author, "PUT /v1/rollouts/r1", in), http.StatusCreated, "")
	overtake("c", http.StatusCreated, "")
	f.beat("a", 2, f.two, "", api.Counts{Statements: 1000, Denied: 400})
	f.step()
	f.clock.Advance(time.Second)
	f.beat("a", 2, f.two, "", api.Counts{Statements: 1000, Denied: 400})
	f.step()
	r := f.rollout()
	if r.Status != api.RolloutStopped || r.Stage != 0 || !strings.Contains(r.Reason, `publish revision 2 of gateway "c"`) || f.live("c").Revision != 5 {
		t.Errorf("%+v", r)
	}
}

func TestRolloutRefuses(t *testing.T) {
	f := newFleet(t)
	author := f.token(api.RoleAuthor)
	unstored, _ := f.bundleOf("unstored")
	for name, tt := range map[string]struct {
		change func(in *api.RolloutInput)
		status int
	}{
		"no stage":       {func(in *api.RolloutInput) { in.Stages = nil }, 422},
		"an empty stage": {func(in *api.RolloutInput) { in.Stages[0].Releases = nil }, 422},
		"a gateway twice": {func(in *api.RolloutInput) {
			in.Stages[1].Releases[0] = in.Stages[0].Releases[0]
		}, 422},
		"bytes that are no release": {func(in *api.RolloutInput) { in.Stages[0].Releases[0].Signed = []byte("{}") }, 422},
		"an undo of something else": {func(in *api.RolloutInput) {
			in.Stages[0].Releases[0].Undo = in.Stages[0].Releases[0].Signed
		}, 422},
		"an undo for another gateway": {func(in *api.RolloutInput) {
			in.Stages[0].Releases[0].Undo = in.Stages[1].Releases[0].Signed
		}, 422},
		"a rate above 1": {func(in *api.RolloutInput) { in.MaxErrorRate = 1.5 }, 422},
		"a bad duration": {func(in *api.RolloutInput) { in.Observe = "soon" }, 422},
		"a bad timeout":  {func(in *api.RolloutInput) { in.Timeout = "-1s" }, 422},
		"a long commit":  {func(in *api.RolloutInput) { in.Commit = strings.Repeat("x", 300) }, 422},
		"a bundle that is not stored": {func(in *api.RolloutInput) {
			in.Stages[0].Releases[0].Signed = f.release(bundle.Release{Gateway: "a", Bundle: unstored, Predecessor: f.one, Revision: 2})
		}, 422},
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			in := f.stages(false, "a", "b")
			tt.change(&in)
			f.want(f.do(author, "PUT /v1/rollouts/bad", in), tt.status, api.CodeInvalid)
		})
	}
	f.t = t
	f.want(f.do(author, "PUT /v1/rollouts/bad", "{"), http.StatusBadRequest, api.CodeInvalid)
	f.want(f.do(f.token(api.RoleViewer), "PUT /v1/rollouts/bad", f.stages(false, "a")), http.StatusForbidden, api.CodeForbidden)
	f.want(f.do(f.token(api.RoleApprover), "GET /v1/rollouts", nil), http.StatusForbidden, api.CodeForbidden)
	f.want(f.do(f.token(api.RoleApprover), "GET /v1/rollouts/bad", nil), http.StatusForbidden, api.CodeForbidden)
	f.want(f.do(f.token(api.RoleViewer), "DELETE /v1/rollouts/bad", nil), http.StatusForbidden, api.CodeForbidden)
	f.want(f.do(author, "GET /v1/rollouts/bad", nil), http.StatusNotFound, api.CodeNotFound)
	f.want(f.do(author, "DELETE /v1/rollouts/bad", nil), http.StatusNotFound, api.CodeNotFound)
	f.want(f.do(author, "GET /v1/rollouts/bad?after=x", nil), http.StatusUnprocessableEntity, api.CodeInvalid)
	f.want(f.do(author, "GET /v1/rollouts?limit=0", nil), http.StatusUnprocessableEntity, api.CodeInvalid)
}

// TestScopedRoles lets an author for gateway a do what is a's and nothing else.
func TestScopedRoles(t *testing.T) {
	f := newFleet(t)
	mine, viewer := f.token(api.ScopedRole(api.RoleAuthor, "a")), f.token(api.ScopedRole(api.RoleViewer, "a"))
	next := func(gateway string) []byte {
		return f.release(bundle.Release{Gateway: gateway, Bundle: f.two, Predecessor: f.one, Revision: 2})
	}
	three, sealed := f.bundleOf("three")
	definition := api.ObjectInput{Definition: []byte(`{"upstream":{"host":"db"}}`)}
	f.want(f.do(mine, "POST /v1/gateways/b/releases", next("b"), "If-Match", etag(f.one)), http.StatusForbidden, api.CodeForbidden)
	f.want(f.do(mine, "POST /v1/gateways/a/releases", next("a"), "If-Match", etag(f.one)), http.StatusCreated, "")
	f.want(f.do(viewer, "POST /v1/gateways/a/releases", next("a"), "If-Match", etag(f.two)), http.StatusForbidden, api.CodeForbidden)
	f.want(f.do(viewer, "GET /v1/gateways/a/releases", nil), http.StatusOK, "")
	f.want(f.do(viewer, "GET /v1/gateways/b/releases", nil), http.StatusForbidden, api.CodeForbidden)
	f.want(f.do(viewer, "GET /v1/gateways/b/instances", nil), http.StatusForbidden, api.CodeForbidden)
	if r := f.do(mine, "PUT /v1/objects/gateway/b", definition, "If-None-Match", "*"); r.status != http.StatusForbidden {
		t.Errorf("the draft of another gateway: %d %s", r.status, r.body)
	}
	if r := f.do(mine, "DELETE /v1/objects/gateway/b", nil); r.status != http.StatusForbidden {
		t.Errorf("delete the draft of another gateway: %d %s", r.status, r.body)
	}
	identity := api.ObjectInput{Definition: []byte(`{"kind":"human","when":"true"}`)}
	f.want(f.do(mine, "PUT /v1/objects/identity/ana", identity, "If-None-Match", "*"), http.StatusCreated, "")
	f.want(f.do(viewer, "GET /v1/objects/identity/ana", nil), http.StatusOK, "")
	f.want(f.do(viewer, "PUT /v1/objects/identity/ana", identity, "If-Match", etag("1")), http.StatusForbidden, api.CodeForbidden)
	f.want(f.do(mine, "PUT /v1/bundles/"+three, sealed), http.StatusCreated, "")
	f.want(f.do(mine, "GET /v1/bundles/"+three, nil), http.StatusOK, "")
	f.want(f.do(viewer, "GET /v1/bundles/"+f.two, nil), http.StatusOK, "")
	f.want(f.do(viewer, "GET /v1/bundles/"+three, nil), http.StatusNotFound, api.CodeNotFound)
	f.want(f.do(mine, "DELETE /v1/bundles/"+three, nil), http.StatusForbidden, api.CodeForbidden)
	f.want(f.do(mine, "GET /v1/tokens", nil), http.StatusForbidden, api.CodeForbidden)
	list := into[api.GatewayList](t, f.want(f.do(viewer, "GET /v1/gateways", nil), http.StatusOK, "")).Gateways
	if len(list) != 1 || list[0].Name != "a" {
		t.Errorf("gateways %+v", list)
	}
	// A rollout is for whoever may release to all of its gateways.
	f.want(f.do(mine, "PUT /v1/rollouts/r1", f.stages(false, "b")), http.StatusForbidden, api.CodeForbidden)
	f.want(f.do(f.token(api.RoleAuthor), "PUT /v1/rollouts/r1", f.stages(false, "b")), http.StatusCreated, "")
	f.want(f.do(mine, "GET /v1/rollouts/r1", nil), http.StatusNotFound, api.CodeNotFound)
	f.want(f.do(mine, "DELETE /v1/rollouts/r1", nil), http.StatusNotFound, api.CodeNotFound)
	if list := into[api.RolloutList](t, f.do(mine, "GET /v1/rollouts", nil)).Rollouts; len(list) != 0 {
		t.Errorf("rollouts %+v", list)
	}
}

// TestCertificates lets in whoever shows a certificate that the listener has
// verified and the operator knows; a token outweighs it.
func TestCertificates(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.CertificateRoles = map[string][]api.Role{"spiffe://corp/ci": {api.RoleAuthor}, "backup": {api.RoleViewer}}
	})
	ci, err := url.Parse("spiffe://corp/ci")
	if err != nil {
		t.Fatal(err)
	}
	call := func(cert *x509.Certificate, token string) (*caller, error) {
		r := httptest.NewRequest(http.MethodGet, "/v1/whoami", nil)
		if cert != nil {
			r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert}}}
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return b.server.authenticate(r)
	}
	byURI := &x509.Certificate{URIs: []*url.URL{ci}, Subject: pkix.Name{CommonName: "backup"}}
	if c, err := call(byURI, ""); err != nil || c.Name != "spiffe://corp/ci" || c.Kind != api.CallerCertificate || !c.Has(api.RoleAuthor) || c.voter != nil {
		t.Errorf("by URI: %+v, %v", c, err)
	}
	if c, err := call(&x509.Certificate{Subject: pkix.Name{CommonName: "backup"}}, ""); err != nil || !c.Has(api.RoleViewer) || c.Has(api.RoleAuthor) {
		t.Errorf("by common name: %+v, %v", c, err)
	}
	var refused *refusal
	if _, err := call(&x509.Certificate{Subject: pkix.Name{CommonName: "stranger"}}, ""); !errors.As(err, &refused) || refused.ErrorBody.Error.Status != http.StatusUnauthorized {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := call(nil, ""); !errors.As(err, &refused) {
		t.Errorf("nobody: %v", err)
	}
	page := httptest.NewRequest(http.MethodPost, "/v1/tokens", nil)
	page.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{byURI}}}
	page.Header.Set("Sec-Fetch-Site", "cross-site")
	if _, err := b.server.authenticate(page); !errors.As(err, &refused) || refused.ErrorBody.Error.Status != http.StatusForbidden {
		t.Errorf("a browser: %v", err)
	}
	if c, err := call(byURI, b.token(api.RoleAuditor)); err != nil || c.Kind != api.CallerToken {
		t.Errorf("with a token besides: %+v, %v", c, err)
	}
	if _, err := call(byURI, "pst_wrong"); !errors.As(err, &refused) {
		t.Errorf("with a wrong token besides: %v", err)
	}
}
