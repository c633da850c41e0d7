package control

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
)

var errDisk = errors.New("no space left on disk")

func failingAudit(context.Context, Event) error { return errDisk }

// TestRoles calls every operation as every role. Admitted means anything but
// 401 and 403: the requests are otherwise poor.
func TestRoles(t *testing.T) {
	b := newBench(t)
	all := map[string]string{"nobody": "", "a subject": "oidc-ana", "gateway:gw": b.token(api.GatewayRole("gw")), "gateway:other": b.token(api.GatewayRole("other"))}
	for _, r := range api.Roles() {
		all[string(r)] = b.token(r)
	}
	readers, authors := "viewer author auditor admin", "author admin"
	for target, admitted := range map[string]string{
		"GET /healthz":    "*",
		"GET /readyz":     "*",
		"GET /v1/version": "*",
		"GET /v1/whoami":  "viewer author approver auditor admin gateway:gw gateway:other a subject",

		"GET /v1/objects/identity":      readers,
		"GET /v1/objects/identity/x":    readers,
		"PUT /v1/objects/identity/x":    authors,
		"DELETE /v1/objects/identity/x": authors,
		"GET /v1/bundles":               readers,
		"GET /v1/bundles/sha256:0":      readers + " gateway:gw gateway:other", // which then see their own
		"PUT /v1/bundles/sha256:0":      authors,
		"DELETE /v1/bundles/sha256:0":   authors,

		"GET /v1/gateways":                    readers,
		"GET /v1/gateways/gw/release":         readers + " gateway:gw",
		"GET /v1/gateways/gw/releases":        readers + " gateway:gw",
		"POST /v1/gateways/gw/releases":       authors,
		"GET /v1/gateways/gw/instances":       readers + " gateway:gw",
		"POST /v1/gateways/gw/instances/i1":   "gateway:gw",
		"DELETE /v1/gateways/gw/instances/i1": "gateway:gw",
		"POST /v1/gateways/gw/approvals":      "gateway:gw",
		"POST /v1/gateways/gw/grants":         "gateway:gw",
		"GET /v1/gateways/gw/revocations":     "auditor admin gateway:gw",
		"POST /v1/revocations":                "admin",

		// Admitted to look; TestWhoSeesApprovals and TestWhoMayApprove say more.
		"GET /v1/approvals": "viewer author approver auditor admin gateway:gw gateway:other a subject",

		"POST /v1/enrolments": "admin",

		"GET /v1/tokens":         "admin",
		"POST /v1/tokens":        "admin",
		"DELETE /v1/tokens/t_no": "admin",
	} {
		for role, token := range all {
			want := admitted == "*" || strings.Contains(" "+admitted+" ", " "+role+" ")
			r := b.do(token, target, nil)
			got := r.status != http.StatusUnauthorized && r.status != http.StatusForbidden
			if got != want {
				t.Errorf("%s as %s: admitted %v, want %v: %d %s", target, role, got, want, r.status, r.body)
			}
			if role == "nobody" && !want && (r.status != http.StatusUnauthorized || r.header.Get("WWW-Authenticate") == "") {
				t.Errorf("%s as nobody: %d, WWW-Authenticate %q", target, r.status, r.header.Get("WWW-Authenticate"))
			}
		}
	}
}

func TestTokens(t *testing.T) {
	b := newBench(t)
	admin := b.token(api.RoleAdmin)
	created := b.want(b.do(admin, "POST /v1/tokens", api.TokenInput{Name: "ci", Roles: []api.Role{api.RoleViewer, api.RoleAuthor, api.RoleViewer}, ExpiresIn: "1h"}), http.StatusCreated, "")
	token := into[api.TokenCreated](t, created)
	if !strings.HasPrefix(token.Token, api.TokenPrefix) || len(token.Token) < 40 || len(token.Detail.Roles) != 2 || token.Detail.CreatedBy != "admin" {
		t.Errorf("created %+v", token.Detail)
	}
	who := into[api.Caller](t, b.want(b.do(token.Token, "GET /v1/whoami", nil), http.StatusOK, ""))
	if who.Name != "ci" || who.Kind != api.CallerToken || who.Expires == nil {
		t.Errorf("whoami %+v", who)
	}
	b.want(b.do(token.Token+"x", "GET /v1/whoami", nil), http.StatusUnauthorized, api.CodeUnauthenticated)
	list := b.do(admin, "GET /v1/tokens", nil)
	if strings.Contains(string(list.body), token.Token) {
		t.Error("the list shows a secret")
	}
	for _, listed := range into[api.TokenList](t, list).Tokens {
		if listed.ID == token.Detail.ID && (listed.LastUsedAt == nil || !listed.LastUsedAt.Equal(b.clock.Now())) {
			t.Errorf("last used %v", listed.LastUsedAt)
		}
	}
	b.want(b.do(admin, "DELETE /v1/tokens/"+token.Detail.ID, nil), http.StatusNoContent, "")
	b.want(b.do(admin, "DELETE /v1/tokens/"+token.Detail.ID, nil), http.StatusNotFound, api.CodeNotFound)
	b.want(b.do(token.Token, "GET /v1/whoami", nil), http.StatusUnauthorized, api.CodeUnauthenticated)

	brief := into[api.TokenCreated](t, b.do(admin, "POST /v1/tokens", api.TokenInput{Name: "brief", Roles: []api.Role{api.RoleViewer}, ExpiresIn: "1h"}))
	b.want(b.do(brief.Token, "GET /v1/whoami", nil), http.StatusOK, "")
	b.clock.Advance(time.Hour)
	b.want(b.do(brief.Token, "GET /v1/whoami", nil), http.StatusUnauthorized, api.CodeUnauthenticated)

	for name, in := range map[string]api.TokenInput{
		"no name":                        {Roles: []api.Role{api.RoleViewer}},
		"no roles":                       {Name: "x"},
		"an unknown role":                {Name: "x", Roles: []api.Role{"root"}},
		"a gateway without a name":       {Name: "x", Roles: []api.Role{"gateway:"}},
		"an approver without a subject":  {Name: "x", Roles: []api.Role{api.RoleApprover}},
		"a subject that may not approve": {Name: "x", Roles: []api.Role{api.RoleViewer}, Subject: "ben"},
		"a bad expiry":                   {Name: "x", Roles: []api.Role{api.RoleViewer}, ExpiresIn: "soon"},
		"a past expiry":                  {Name: "x", Roles: []api.Role{api.RoleViewer}, ExpiresIn: "-1h"},
	} {
		if r := b.do(admin, "POST /v1/tokens", in); r.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

func TestBootstrap(t *testing.T) {
	b := newBench(t)
	token, err := b.server.Bootstrap(t.Context(), "first", time.Hour, false)
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.do(token, "GET /v1/tokens", nil), http.StatusOK, "")
	if _, err := b.server.Bootstrap(t.Context(), "second", time.Hour, false); !errors.Is(err, ErrBootstrapped) {
		t.Errorf("second bootstrap: %v", err)
	}
	if _, err := b.server.Bootstrap(t.Context(), "second", time.Hour, true); err != nil {
		t.Errorf("bootstrap again: %v", err)
	}
	b.clock.Advance(2 * time.Hour)
	if _, err := b.server.Bootstrap(t.Context(), "third", 0, false); err != nil {
		t.Errorf("bootstrap once all have expired: %v", err)
	}
}

func TestSubjects(t *testing.T) {
	b := newBench(t)
	who := into[api.Caller](t, b.want(b.do("oidc-olga", "GET /v1/whoami", nil), http.StatusOK, ""))
	if who.Kind != api.CallerSubject || who.Subject != "olga" || len(who.Roles) != 1 || who.Roles[0] != api.RoleAuditor {
		t.Errorf("whoami %+v", who)
	}
	// An agent has none of the roles of who it acts for.
	if who := into[api.Caller](t, b.do("oidc-ben-agent", "GET /v1/whoami", nil)); len(who.Roles) != 0 {
		t.Errorf("an agent has the roles %v", who.Roles)
	}
	b.want(b.do("oidc-nobody", "GET /v1/whoami", nil), http.StatusUnauthorized, api.CodeUnauthenticated)
	none := newBench(t, func(c *Config) { c.Identify = nil })
	none.want(none.do("oidc-ana", "GET /v1/whoami", nil), http.StatusUnauthorized, api.CodeUnauthenticated)
}

func TestNothingSecretIsLogged(t *testing.T) {
	b := newBench(t)
	token := b.token(api.RoleAuditor)
	b.do(token, "GET /v1/approvals?status=pending&secret=hunter2", nil)
	b.do("pst_unknown-secret", "GET /v1/whoami", nil)
	b.do("oidc-wrong-secret", "GET /v1/whoami", nil)
	b.ask(asked("n1"))
	b.do(b.token(api.GatewayRole("gw")), "POST /v1/gateways/gw/approvals", `{"sql":"select 'hunter2'"`)
	logs := b.logs.String()
	for _, secret := range []string{token, "hunter2", "unknown-secret", "wrong-secret", "delete from"} {
		if strings.Contains(logs, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if !strings.Contains(logs, `"route":"GET /v1/approvals"`) || !strings.Contains(logs, `"caller":"auditor"`) {
		t.Errorf("the log misses the request: %s", logs)
	}
}

func TestRateLimits(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Limits = Limits{PerCaller: 1, CallerBurst: 3, FailuresPerAddress: 1, FailureBurst: 2}
	})
	viewer := b.token(api.RoleViewer)
	for range 3 {
		b.want(b.do(viewer, "GET /v1/whoami", nil), http.StatusOK, "")
	}
	if r := b.want(b.do(viewer, "GET /v1/whoami", nil), http.StatusTooManyRequests, api.CodeRateLimited); r.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
	}
	b.want(b.do(b.token(api.RoleAuthor), "GET /v1/whoami", nil), http.StatusOK, "") // others go on
	b.clock.Advance(time.Second)
	b.want(b.do(viewer, "GET /v1/whoami", nil), http.StatusOK, "")

	// Guessing is slow, from wherever it comes.
	for range 2 {
		b.want(b.do("pst_guess", "GET /v1/whoami", nil), http.StatusUnauthorized, api.CodeUnauthenticated)
	}
	b.want(b.do("pst_guess", "GET /v1/whoami", nil), http.StatusTooManyRequests, api.CodeRateLimited)
	b.clock.Advance(time.Second)
	b.want(b.do("pst_guess", "GET /v1/whoami", nil), http.StatusUnauthorized, api.CodeUnauthenticated)

	off := newLimiter(-1, 0, time.Now)
	if _, ok := off.take("x", 1); !ok {
		t.Error("a negative rate limits")
	}
}

func TestLimiterForgets(t *testing.T) {
	now := time.Now()
	l := newLimiter(1, 1, func() time.Time { return now })
	for i := range maxBuckets + 10 {
		l.take(strings.Repeat("x", i%100)+string(rune(i)), 1)
	}
	if len(l.buckets) > maxBuckets {
		t.Errorf("%d buckets are kept", len(l.buckets))
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	b := newBench(t)
	b.want(b.do("", "GET /v2/objects", nil), http.StatusNotFound, api.CodeNoSuchPath)
	r := b.want(b.do("", "PATCH /v1/objects/identity/x", nil), http.StatusMethodNotAllowed, api.CodeMethodNotAllowed)
	if !strings.Contains(r.header.Get("Allow"), "PUT") {
		t.Errorf("Allow %q", r.header.Get("Allow"))
	}
	if r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", r.header.Get("Cache-Control"))
	}
}

func TestARestartForgetsNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "deep", "control.db")
	inDir := func(c *Config) { c.Store, c.BundleDir = path, filepath.Join(dir, "bundles") }
	b := newBench(t, inDir)
	author, gateway := b.token(api.RoleAuthor), b.token(api.GatewayRole("gw"))
	digest := b.stored("one")
	live := b.publish(digest)
	b.want(b.do(author, "PUT /v1/objects/identity/ana", anaBody, "If-None-Match", "*"), http.StatusCreated, "")
	id := b.ask(asked("n1"))
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+id+"/approve", api.VoteInput{}), http.StatusOK, "")
	b.want(b.do(gateway, "POST /v1/gateways/gw/instances/i1", api.Heartbeat{Version: "1", Revision: 1, StartedAt: b.clock.Now()}), http.StatusNoContent, "")
	before := []reply{
		b.do(author, "GET /v1/objects/identity/ana", nil), b.do(author, "GET /v1/gateways/gw/release", nil),
		b.do(author, "GET /v1/gateways", nil), b.do(author, "GET /v1/gateways/gw/instances", nil),
		b.do(gateway, "GET /v1/bundles/"+digest, nil), b.do("oidc-ben", "GET /v1/approvals/"+id, nil),
	}
	b.http.Close()
	if err := b.server.Close(); err != nil {
		t.Fatal(err)
	}

	again := newBench(t, inDir)
	after := []reply{
		again.do(author, "GET /v1/objects/identity/ana", nil), again.do(author, "GET /v1/gateways/gw/release", nil),
		again.do(author, "GET /v1/gateways", nil), again.do(author, "GET /v1/gateways/gw/instances", nil),
		again.do(gateway, "GET /v1/bundles/"+digest, nil), again.do("oidc-ben", "GET /v1/approvals/"+id, nil),
	}
	for i := range before {
		if before[i].status != http.StatusOK || string(before[i].body) != string(after[i].body) {
			t.Errorf("before: %d %s\nafter: %d %s", before[i].status, before[i].body, after[i].status, after[i].body)
		}
	}
	if live.Revision != 1 {
		t.Errorf("live %+v", live)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the store's file has mode %s", info.Mode())
	}
}

func TestGatewaysAndInstances(t *testing.T) {
	b := newBench(t)
	viewer, gateway := b.token(api.RoleViewer), b.token(api.GatewayRole("gw"))
	b.want(b.do(b.token(api.RoleAuthor), "PUT /v1/objects/gateway/drafted", `{"definition":{}}`, "If-None-Match", "*"), http.StatusCreated, "")
	b.publish(b.stored("one"))
	started := b.clock.Now().Add(-time.Hour)
	for _, i := range []string{"i2", "i1", "i1"} {
		b.want(b.do(gateway, "POST /v1/gateways/gw/instances/"+i, api.Heartbeat{Version: "1", Bundle: "sha256:1", Revision: 1, Sessions: 3, StartedAt: started}), http.StatusNoContent, "")
	}
	b.want(b.do(gateway, "POST /v1/gateways/gw/instances/i1", api.Heartbeat{Sessions: -1}), http.StatusUnprocessableEntity, api.CodeInvalid)
	instances := into[api.InstanceList](t, b.do(viewer, "GET /v1/gateways/gw/instances", nil)).Instances
	if len(instances) != 2 || instances[0].Instance != "i1" || instances[0].Sessions != 3 || !instances[0].StartedAt.Equal(started) || !instances[0].SeenAt.Equal(b.clock.Now()) {
		t.Errorf("instances %+v", instances)
	}
	gateways := into[api.GatewayList](t, b.do(viewer, "GET /v1/gateways", nil)).Gateways
	if len(gateways) != 2 || gateways[0].Name != "drafted" || gateways[0].Live != nil || gateways[1].Live == nil || gateways[1].Instances != 2 {
		t.Errorf("gateways %+v", gateways)
	}
	// One that has ended is listed no more; only its own gateway says so.
	b.want(b.do(viewer, "DELETE /v1/gateways/gw/instances/i2", nil), http.StatusForbidden, api.CodeForbidden)
	b.want(b.do(b.token(api.GatewayRole("other")), "DELETE /v1/gateways/gw/instances/i2", nil), http.StatusForbidden, api.CodeForbidden)
	for range 2 {
		b.want(b.do(gateway, "DELETE /v1/gateways/gw/instances/i2", nil), http.StatusNoContent, "")
	}
	if left := into[api.InstanceList](t, b.do(viewer, "GET /v1/gateways/gw/instances", nil)).Instances; len(left) != 1 || left[0].Instance != "i1" {
		t.Errorf("instances %+v after one has ended", left)
	}
	b.clock.Advance(2 * time.Minute)
	if gateways := into[api.GatewayList](t, b.do(viewer, "GET /v1/gateways", nil)).Gateways; gateways[1].Instances != 0 {
		t.Errorf("silent instances count: %+v", gateways)
	}
	b.clock.Advance(25 * time.Hour)
	if instances := into[api.InstanceList](t, b.do(viewer, "GET /v1/gateways/gw/instances", nil)).Instances; len(instances) != 0 {
		t.Errorf("dead instances are listed: %+v", instances)
	}
}

func TestInProcessCallers(t *testing.T) {
	b := newBench(t)
	h := b.server.As("gateway gw", api.GatewayRole("gw"))
	for target, want := range map[string]int{"/v1/whoami": http.StatusOK, "/v1/tokens": http.StatusForbidden} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
		if w.Code != want {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestAStoreThatFails(t *testing.T) {
	b := newBench(t)
	viewer := b.token(api.RoleViewer)
	b.want(b.do("", "GET /readyz", nil), http.StatusOK, "")
	if err := b.server.store.Close(); err != nil {
		t.Fatal(err)
	}
	b.want(b.do("", "GET /readyz", nil), http.StatusServiceUnavailable, api.CodeUnavailable)
	b.want(b.do("", "GET /healthz", nil), http.StatusOK, "")
	b.want(b.do(viewer, "GET /v1/bundles", nil), http.StatusServiceUnavailable, api.CodeUnavailable)
}

func TestAPanicIsAnswered(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Identify = func(context.Context, string) (*policylang.Subject, error) { panic("the secret is hunter2") }
	})
	r := b.want(b.do("oidc-ana", "GET /v1/whoami", nil), http.StatusInternalServerError, api.CodeInternal)
	if strings.Contains(string(r.body)+b.logs.String(), "hunter2") {
		t.Error("the panic's value was shown")
	}
	b.want(b.do("", "GET /healthz", nil), http.StatusOK, "")
}

func TestConfigIsChecked(t *testing.T) {
	for _, store := range []string{"", "mysql://x", "postgres://user:hunter2@[::1"} {
		_, err := New(t.Context(), Config{Store: store})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("store %q: %v", store, err)
		}
	}
	if _, err := New(t.Context(), Config{Store: filepath.Join(t.TempDir(), "x.db"), BundleDir: "/dev/null/x"}); err == nil {
		t.Error("a bundle directory that cannot be is accepted")
	}
}

// TestAStolenStoreHoldsNoToken reads the store's files as a thief would: no
// token is in them, and what is there in its place is none.
func TestAStolenStoreHoldsNoToken(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, func(c *Config) { c.Store = filepath.Join(dir, "control.db") })
	secret := b.token(api.RoleAdmin)
	b.want(b.do(secret, "GET /v1/tokens", nil), http.StatusOK, "")
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, %v", files, err)
	}
	hash, seen := hashToken(secret), false
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(strings.TrimPrefix(secret, api.TokenPrefix))) {
			t.Errorf("%s holds the token", name)
		}
		seen = seen || bytes.Contains(data, []byte(hash))
	}
	if !seen {
		t.Error("no file holds the token's hash: these are not the store's files")
	}
	for _, stolen := range []string{hash, api.TokenPrefix + hash} {
		b.want(b.do(stolen, "GET /v1/tokens", nil), http.StatusUnauthorized, api.CodeUnauthenticated)
	}
}
