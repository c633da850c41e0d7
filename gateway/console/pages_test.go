package console

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/control"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/api"
)

// inline is what the content security policy would refuse.
var inline = regexp.MustCompile(`<script[^>]*>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:`)

// token returns an API token of the roles.
func (s *site) token(name string, roles ...api.Role) string {
	s.t.Helper()
	secret, err := s.control.MintToken(s.t.Context(), name, roles, time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	return secret
}

func TestPages(t *testing.T) {
	s := newSite(t)
	s.publish("ana", "the first <b>policy</b>", 1)
	id := s.hold("delete from orders -- <script>alert(1)</script> \u202e")
	s.records = []evidence.Record{
		{Seq: 7, Time: time.Now(), Kind: evidence.KindStatement, Identity: "ana", Gateway: "orders", Shape: "select email from customers", Effect: "allow", Rules: []string{"engineers_read"}, Masked: []string{"email"}, Rows: 3, DurationUS: 900, Outcome: evidence.OutcomeCompleted},
		{Seq: 6, Time: time.Now(), Kind: evidence.KindSessionStart, Identity: "ana", Actor: "robot", Command: "login", Redacted: true},
	}
	olga := s.browser().signIn("oidc-olga")
	for path, texts := range map[string][]string{
		"/":                         {"Waiting for approval", "delete from orders", "dba</bdi> 0 of 2", "enforcing", "/gateways/orders", ">14<"},
		"/gateways/orders":          {"the first &lt;b&gt;policy&lt;/b&gt;", "gw-a", "2 days ago", "release-2026", "0123456789ab<", "https://ci.example/7"},
		"/approvals":                {"delete from orders", `class="pill pending"`, "&lt;script&gt;", "U&#43;202E</mark>"},
		"/approvals?status=":        {"delete from orders"},
		"/approvals?status=refused": {"None."},
		"/approvals/" + id:          {"ana</bdi> asks to run", "load test of last night", "unfiltered_writes", "load<mark", "NULL", "You are not a member"},
		"/evidence?text=email":      {"select email from customers", "masked: email", "3 rows, 900 µs", "robot", "redacted", "2 records"},
	} {
		p := olga.get(path).want(t, http.StatusOK, texts...)
		if m := inline.FindString(p.body); m != "" {
			t.Errorf("%s has %q inline", path, m)
		}
		if !strings.Contains(p.header.Get("Content-Security-Policy"), "default-src 'none'") || p.header.Get("Cache-Control") != "no-store" || p.header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s has the headers %v", path, p.header)
		}
	}
	if len(s.searches) != 1 || s.searches[0] != "olga email" {
		t.Errorf("searched %v", s.searches)
	}
	for path, status := range map[string]int{
		"/nowhere": 404, "/gateways/nowhere": 404, "/approvals/a_0": 404, "/approvals?status=lost": 404,
		"/evidence?kind=lost": 404, "/evidence?within=ages": 404, "/assets/nothing.css": 404,
	} {
		olga.get(path).want(t, status)
	}

	// Who has no role sees what concerns them.
	ben := s.browser().signIn("oidc-ben")
	if p := ben.get("/"); p.status != http.StatusSeeOther || p.header.Get("Location") != "/approvals" {
		t.Errorf("ben's start: %d to %s", p.status, p.header.Get("Location"))
	}
	ben.get("/approvals").want(t, http.StatusOK, "delete from orders")
	ben.get("/gateways/orders").want(t, http.StatusForbidden)
	ben.get("/evidence").want(t, http.StatusForbidden)
	s.browser().signIn("oidc-eve").get("/approvals").want(t, http.StatusOK, "Nothing waits for you")
	s.browser().signIn("oidc-ana").get("/approvals/"+id).want(t, http.StatusOK, "your own statement")
	s.browser().signIn(s.token("viewer", api.RoleViewer)).get("/").want(t, http.StatusOK, "Nothing waits", "orders")
	s.browser().signIn(s.token("audit", api.RoleAuditor)).get("/approvals/"+id).want(t, http.StatusOK, "approves for nobody")
	s.rollOut()
	s.browser().signIn(s.token("orders viewer", api.ScopedRole(api.RoleViewer, "orders"))).get("/gateways/orders").want(t, http.StatusOK, "spring", "stopped by")
}

func TestDecide(t *testing.T) {
	s := newSite(t)
	id := s.hold("delete from orders")
	ben, chloe := s.browser().signIn("oidc-ben"), s.browser().signIn("oidc-chloe")
	path := "/approvals/" + id
	form := ben.get(path).want(t, http.StatusOK, "Approve</button>").form(t)

	for name, p := range map[string]page{
		"no form token":        ben.post(path, url.Values{"verdict": {"approve"}}),
		"another's form token": chloe.post(path, url.Values{"verdict": {"approve"}, "form": {form}}),
		"another site":         ben.post(path, url.Values{"verdict": {"approve"}, "form": {form}}, "Origin", "https://evil.example"),
		"a cross-site fetch":   ben.post(path, url.Values{"verdict": {"approve"}, "form": {form}}, "Sec-Fetch-Site", "cross-site"),
	} {
		if p.status != http.StatusForbidden {
			t.Errorf("%s: %d", name, p.status)
		}
	}
	ben.post(path, url.Values{"form": {form}}).want(t, http.StatusBadRequest)
	ben.get(path).want(t, http.StatusOK, "0 of 2 needed")

	decide := func(b *browser, verdict, reason string) page {
		t.Helper()
		return b.post(path, url.Values{"verdict": {verdict}, "reason": {reason}, "form": {b.get(path).form(t)}}, "Origin", s.http.URL)
	}
	if p := decide(ben, "approve", "agreed <b>by phone</b>"); p.status != http.StatusSeeOther || p.header.Get("Location") != path {
		t.Fatalf("ben approves: %d %s", p.status, p.body)
	}
	ben.get(path).want(t, http.StatusOK, "1 of 2 needed", "agreed &lt;b&gt;by phone", "Your vote is counted")
	decide(s.browser().signIn("oidc-ana"), "approve", "").want(t, http.StatusForbidden, "nobody decides about a statement of their own")
	decide(ben, "refuse", "changed my mind").want(t, http.StatusConflict, "you have said otherwise before")
	if got := ben.get(path, "HX-Request", "true"); got.header.Get("HX-Refresh") != "" {
		t.Error("a pending approval is loaded anew")
	}
	if p := decide(chloe, "refuse", "no backup"); p.status != http.StatusSeeOther {
		t.Fatalf("chloe refuses: %d %s", p.status, p.body)
	}
	p := chloe.get(path, "HX-Request", "true").want(t, http.StatusOK, `class="pill refused">refused`, "no backup")
	if p.header.Get("HX-Refresh") != "true" || strings.Contains(p.body, "Approve</button>") {
		t.Error("the form stays on a decided approval")
	}
}

func TestSignIn(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	for path, want := range map[string]string{"/": "/login", "/approvals/a_1?x=1": "/login?next=%2Fapprovals%2Fa_1%3Fx%3D1"} {
		if p := b.get(path); p.status != http.StatusSeeOther || p.header.Get("Location") != want {
			t.Errorf("%s leads to %s", path, p.header.Get("Location"))
		}
	}
	if p := b.get("/approvals", "HX-Request", "true"); p.status != http.StatusUnauthorized || p.header.Get("HX-Redirect") != "/login" {
		t.Errorf("htmx is answered %d, %v", p.status, p.header)
	}
	// A link from elsewhere comes without a SameSite=Strict cookie.
	b.get("/approvals/a_1", "Sec-Fetch-Site", "cross-site").want(t, http.StatusOK, `http-equiv="refresh"`)

	b.get("/login?next=/approvals").want(t, http.StatusOK, `value="/approvals"`)
	b.post("/login", url.Values{"token": {"nonsense"}}).want(t, http.StatusUnauthorized, "not accepted")
	b.post("/login", url.Values{"token": {" "}}).want(t, http.StatusUnprocessableEntity, "not a token")
	b.post("/login", url.Values{"token": {"two words"}}).want(t, http.StatusUnprocessableEntity, "not a token")
	b.post("/login", url.Values{"token": {"oidc-ben"}}, "Sec-Fetch-Site", "cross-site").want(t, http.StatusForbidden)

	for next, want := range map[string]string{
		"/approvals": "/approvals", "": "/", "https://evil.example": "/", "//evil.example": "/", `/\evil.example`: "/", "approvals": "/", "/%2f/evil": "/",
	} {
		p := s.browser().post("/login", url.Values{"token": {"oidc-ben"}, "next": {next}})
		if p.status != http.StatusSeeOther || p.header.Get("Location") != want {
			t.Errorf("next %q leads to %q", next, p.header.Get("Location"))
		}
		cookie := p.header.Get("Set-Cookie")
		for _, attribute := range []string{"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=28800"} {
			if !strings.Contains(cookie, attribute) {
				t.Errorf("the cookie lacks %s: %s", attribute, cookie)
			}
		}
		if strings.Contains(cookie, "oidc-ben") {
			t.Error("the cookie holds the token")
		}
	}
	b.signIn("oidc-ben")
	if p := b.get("/login"); p.status != http.StatusSeeOther {
		t.Errorf("who is signed in is asked again: %d", p.status)
	}
}

func TestSignOut(t *testing.T) {
	s := newSite(t)
	b := s.browser().signIn("oidc-ben")
	cookies := b.http.Jar.Cookies(mustParse(t, s.http.URL))
	p := b.post("/logout", url.Values{"form": {b.get("/approvals").form(t)}})
	if p.status != http.StatusSeeOther || !strings.Contains(p.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("signed out: %d, %s", p.status, p.header.Get("Set-Cookie"))
	}
	b.http.Jar.SetCookies(mustParse(t, s.http.URL), cookies)
	if p := b.get("/approvals"); p.status != http.StatusSeeOther {
		t.Errorf("the old cookie still works: %d", p.status)
	}
	for _, value := range []string{"", "x", strings.Repeat("A", 43)} {
		b.http.Jar.SetCookies(mustParse(t, s.http.URL), []*http.Cookie{{Name: plainCookie, Value: value}})
		if p := b.get("/approvals"); p.status != http.StatusSeeOther {
			t.Errorf("cookie %q works: %d", value, p.status)
		}
	}
}

func TestARevokedTokenSignsOut(t *testing.T) {
	s := newSite(t)
	b := s.browser().signIn(s.token("viewer", api.RoleViewer))
	admin := s.as("admin", api.RoleAdmin)
	tokens, err := admin.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.RevokeToken(t.Context(), tokens[0].ID); err != nil {
		t.Fatal(err)
	}
	if p := b.get("/"); p.status != http.StatusSeeOther || !strings.HasPrefix(p.header.Get("Location"), "/login") {
		t.Errorf("a revoked token shows %d", p.status)
	}
}

func TestTheStoreHoldsNoToken(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	var err error
	path := filepath.Join(dir, "control.db")
	server, err := control.New(t.Context(), control.Config{Store: path})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := server.MintToken(t.Context(), "viewer", []api.Role{api.RoleViewer}, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.http.Config.Handler, err = New(Config{API: server.Handler(), Sessions: server.Sessions(), PublicURL: "https://postern.example"})
	if err != nil {
		t.Fatal(err)
	}
	p := s.browser().post("/login", url.Values{"token": {secret}})
	if cookie := p.header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-postern=") || !strings.Contains(cookie, "Secure") {
		t.Errorf("the cookie is %s", cookie)
	}
	if p.header.Get("Strict-Transport-Security") == "" {
		t.Error("no Strict-Transport-Security")
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), strings.TrimPrefix(secret, api.TokenPrefix)) {
			t.Errorf("%s holds the token", f.Name())
		}
	}
}

func TestSessionsInMemory(t *testing.T) {
	now := time.Now()
	m := newMemory(func() time.Time { return now })
	if err := m.Save(t.Context(), "a", []byte("x"), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Load(t.Context(), "a"); err != nil || string(got) != "x" {
		t.Errorf("load %q, %v", got, err)
	}
	now = now.Add(time.Hour)
	if _, err := m.Load(t.Context(), "a"); err == nil {
		t.Error("an expired session is loaded")
	}
	if err := m.Save(t.Context(), "b", nil, now.Add(time.Hour)); err != nil || len(m.kept) != 1 {
		t.Errorf("kept %v, %v", m.kept, err)
	}
	if err := m.Delete(t.Context(), "b"); err != nil || len(m.kept) != 0 {
		t.Errorf("kept %v, %v", m.kept, err)
	}
}

func TestSessionsAreSealed(t *testing.T) {
	one, err := newSessionKey()
	if err != nil {
		t.Fatal(err)
	}
	two, err := newSessionKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := one.seal(session{Token: "secret"})
	if err != nil || strings.Contains(string(sealed), "secret") {
		t.Fatalf("sealed %q, %v", sealed, err)
	}
	if s, err := one.open(sealed); err != nil || s.Token != "secret" {
		t.Errorf("opened %v, %v", s, err)
	}
	if s, err := two.open(sealed); err == nil || s.Token != "" {
		t.Errorf("another key opens it: %v", s)
	}
	if one.id() == two.id() || one.formToken() == one.id() {
		t.Error("derived values are the same")
	}
}

func TestAssets(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	paths := regexp.MustCompile(`/assets/[a-z.]+\?v=[0-9a-f]+`).FindAllString(b.get("/login").body, -1)
	if len(paths) != 3 {
		t.Fatalf("assets %v", paths)
	}
	for _, path := range paths {
		if p := b.get(path).want(t, http.StatusOK); !strings.Contains(p.header.Get("Cache-Control"), "immutable") || p.header.Get("Content-Type") == "" {
			t.Errorf("%s has the headers %v", path, p.header)
		}
	}
	if p := b.get("/assets/console.css").want(t, http.StatusOK); strings.Contains(p.header.Get("Cache-Control"), "immutable") {
		t.Error("an asset without its version is kept for ever")
	}
	b.get("/assets/htmx.LICENSE.txt").want(t, http.StatusOK, "Zero-Clause BSD")
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 µs", 900 * time.Microsecond: "900 µs", 4 * time.Millisecond: "4 ms", 59 * time.Second: "59 s",
		59*time.Second + 600*time.Millisecond: "1 min", 14*time.Minute + 55*time.Second: "15 min", 90 * time.Minute: "2 h", 50 * time.Hour: "2 days",
	} {
		if got := duration(d); got != want {
			t.Errorf("%s is shown as %q, want %q", d, got, want)
		}
	}
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
