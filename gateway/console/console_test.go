package console

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/approve"
	"github.com/posternhq/postern/gateway/control"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// site is a control plane with its console.
type site struct {
	t        *testing.T
	control  *control.Server
	http     *httptest.Server
	gateway  *controlclient.Client
	author   *controlclient.Client
	searches []string
	records  []evidence.Record
}

// newSite starts a control plane whose people's tokens are "oidc-NAME" and
// whose auditors are in the group auditors, as olga is.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t}
	var err error
	s.control, err = control.New(t.Context(), control.Config{
		Store: filepath.Join(t.TempDir(), "control.db"), Version: "0.1.0", PublicURL: "http://127.0.0.1:8443",
		Logger:     slog.New(slog.DiscardHandler),
		GroupRoles: map[string][]api.Role{"auditors": {api.RoleAuditor}},
		Identify: func(_ context.Context, token string) (*policylang.Subject, error) {
			name, ok := strings.CutPrefix(token, "oidc-")
			if !ok {
				return nil, errors.New("unknown")
			}
			p := &policylang.Subject{Name: name, Issuer: "https://login.example.com", ID: name}
			if name == "olga" {
				p.Groups = []string{"auditors"}
			}
			return p, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := New(Config{API: s.control.Handler(), Sessions: s.control.Sessions(), Evidence: s, Version: "0.1.0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.http = httptest.NewServer(handler)
	t.Cleanup(func() {
		s.control.Drain()
		s.http.Close()
		if err := s.control.Close(); err != nil {
			t.Error(err)
		}
	})
	s.gateway = s.as("gateway orders", api.GatewayRole("orders"))
	s.author = s.as("terraform", api.RoleAuthor)
	return s
}

func (s *site) as(name string, roles ...api.Role) *controlclient.Client {
	s.t.Helper()
	c, err := controlclient.New(controlclient.Config{
		URL: "https://control.internal", Transport: controlclient.InProcess(s.control.As(name, roles...)),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// SearchEvidence is an EvidenceReader of the site's records.
func (s *site) SearchEvidence(_ context.Context, reader string, q EvidenceQuery) ([]evidence.Record, error) {
	s.searches = append(s.searches, reader+" "+q.Text)
	return s.records, nil
}

// hold has ana ask for approval of a statement by a member of dba.
func (s *site) hold(sql string) string {
	s.t.Helper()
	p, err := s.gateway.Broker("orders").Create(s.t.Context(), &approve.Request{
		Gateway: "orders", Session: "s_41c0a1e2b3d4f5a6", Database: "shop", Role: "ana", ClientAddr: "10.1.4.17", Application: "psql",
		Subject: &policylang.Subject{Name: "ana", Identity: "ana", Kind: "human", Issuer: "https://login.example.com", ID: "u-17"},
		Reason:  "Orders from the load test of last night", SQL: sql,
		Groups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"ana", "ben", "chloe"}, Required: 2}},
		Rules:  []string{"unfiltered_writes"}, Message: "An UPDATE or DELETE of everything needs a second pair of eyes.",
		Bundle: "sha256:9f8b1c7d5e3a2b4c6d8e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e",
		Params: []approve.Param{{Value: []byte("load\u200btest")}, {}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return p.ID
}

// publish releases a policy to gateway orders, which two instances enforce.
func (s *site) publish(identity, note string, revision uint64) {
	s.t.Helper()
	key, err := bundle.GenerateKey("release-2026")
	if err != nil {
		s.t.Fatal(err)
	}
	p := &policylang.Policy{Identities: []policylang.Identity{{Name: identity, Kind: "human", When: "true"}}}
	digest, err := p.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	sealed, err := bundle.Seal(p, key)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.author.PutBundle(s.t.Context(), digest, sealed); err != nil {
		s.t.Fatal(err)
	}
	seen := ""
	if live, err := s.author.Live(s.t.Context(), "orders", 0, 0); err != nil {
		s.t.Fatal(err)
	} else if live != nil {
		seen = live.Bundle
	}
	signed, err := bundle.SealRelease(bundle.Release{Gateway: "orders", Bundle: digest, Predecessor: seen, Revision: revision, Time: time.Now(), Note: note}, key)
	if err != nil {
		s.t.Fatal(err)
	}
	from := controlclient.Origin{Run: "https://ci.example/7", Commit: "0123456789abcdef"}
	if _, err := s.author.PublishFrom(s.t.Context(), "orders", signed, seen, from); err != nil {
		s.t.Fatal(err)
	}
	for _, i := range []string{"gw-a", "gw-b"} {
		err := s.gateway.Report(s.t.Context(), "orders", i, api.Heartbeat{Version: "0.1.0", Bundle: digest, Revision: revision, Sessions: 7, StartedAt: time.Now().Add(-50 * time.Hour)})
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// rollOut releases what is live once more, by a rollout that is stopped.
func (s *site) rollOut() {
	s.t.Helper()
	live, err := s.author.Live(s.t.Context(), "orders", 0, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := bundle.GenerateKey("release-2026")
	if err != nil {
		s.t.Fatal(err)
	}
	signed, err := bundle.SealRelease(bundle.Release{
		Gateway: "orders", Bundle: live.Bundle, Predecessor: live.Bundle, Revision: live.Revision + 1, Time: time.Now(), Note: live.Note,
	}, key)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = s.author.StartRollout(s.t.Context(), "spring", api.RolloutInput{Stages: []api.RolloutStageInput{{Releases: []api.RolloutReleaseInput{{Signed: signed}}}}})
	if err == nil {
		_, err = s.author.StopRollout(s.t.Context(), "spring")
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// browser keeps cookies and does not follow redirects by itself.
type browser struct {
	site *site
	http *http.Client
}

func (s *site) browser() *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{site: s, http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// signIn signs in and fails the test if that does not lead to the start.
func (b *browser) signIn(token string) *browser {
	b.site.t.Helper()
	if p := b.post("/login", url.Values{"token": {token}}); p.status != http.StatusSeeOther || p.header.Get("Location") != "/" {
		b.site.t.Fatalf("sign in: %d to %q: %s", p.status, p.header.Get("Location"), p.body)
	}
	return b
}

type page struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(method, path string, form url.Values, headers ...string) page {
	b.site.t.Helper()
	req, err := http.NewRequestWithContext(b.site.t.Context(), method, b.site.http.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.site.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.site.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.site.t.Fatal(err)
	}
	return page{resp.StatusCode, resp.Header, string(data)}
}

func (b *browser) get(path string, headers ...string) page {
	b.site.t.Helper()
	return b.do(http.MethodGet, path, nil, headers...)
}

func (b *browser) post(path string, form url.Values, headers ...string) page {
	b.site.t.Helper()
	return b.do(http.MethodPost, path, form, headers...)
}

var formField = regexp.MustCompile(`name="form" value="([^"]+)"`)

// form returns the token that a page's forms carry.
func (p page) form(t *testing.T) string {
	t.Helper()
	m := formField.FindStringSubmatch(p.body)
	if m == nil {
		t.Fatalf("the page has no form: %s", p.body)
	}
	return m[1]
}

// want checks a page's status and that it has the texts.
func (p page) want(t *testing.T, status int, texts ...string) page {
	t.Helper()
	if p.status != status {
		t.Fatalf("status %d, want %d: %s", p.status, status, p.body)
	}
	for _, text := range texts {
		if !strings.Contains(p.body, text) {
			t.Errorf("the page misses %q: %s", text, p.body)
		}
	}
	return p
}
