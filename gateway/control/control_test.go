package control

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// bench is a control plane under test, with a clock of its own.
type bench struct {
	t      *testing.T
	server *Server
	http   *httptest.Server
	logs   *syncBuffer
	clock  *clock
	key    *bundle.PrivateKey

	mu     sync.Mutex
	events []Event
	tokens map[string]string
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// subjects are the people whose OpenID Connect tokens are "oidc-NAME".
var subjects = map[string]*policylang.Subject{
	"ana":   {Name: "ana", Kind: "human", Issuer: "https://idp", ID: "1", Groups: []string{"engineering"}},
	"ben":   {Name: "ben", Kind: "human", Issuer: "https://idp", ID: "2", Groups: []string{"dba"}},
	"chloe": {Name: "chloe", Kind: "human", Issuer: "https://idp", ID: "3", Groups: []string{"dba"}},
	// The same person as ben, by another name.
	"ben2": {Name: "ben2", Kind: "human", Issuer: "https://idp", ID: "2"},
	// An agent that acts for ben.
	"ben-agent": {Name: "ben", Kind: "human", Issuer: "https://idp", ID: "2", Groups: []string{"dba", "auditors"}, Actor: &policylang.Subject{Name: "robot"}},
	"olga":      {Name: "olga", Kind: "human", Issuer: "https://idp", ID: "4", Groups: []string{"auditors"}},
}

func identify(_ context.Context, token string) (*policylang.Subject, error) {
	name, ok := strings.CutPrefix(token, "oidc-")
	if s := subjects[name]; ok && s != nil {
		return s, nil
	}
	return nil, errBadToken
}

func newBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{
		t: t, logs: &syncBuffer{}, tokens: make(map[string]string),
		clock: &clock{now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)},
	}
	var err error
	if b.key, err = bundle.GenerateKey("test"); err != nil {
		t.Fatal(err)
	}
	c := Config{
		Store: filepath.Join(t.TempDir(), "control.db"), Version: "1.2.3", PublicURL: "https://postern.example/",
		Identify: identify, GroupRoles: map[string][]api.Role{"auditors": {api.RoleAuditor}},
		Audit: func(_ context.Context, e Event) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
			return nil
		},
		Logger: slog.New(slog.NewJSONHandler(b.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Clock:  b.clock.Now,
	}
	for _, f := range change {
		f(&c)
	}
	if b.server, err = New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	b.http = httptest.NewServer(observed(b.server.Handler()))
	t.Cleanup(func() {
		b.server.Drain()
		b.http.Close()
		if err := b.server.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// token returns an API token of the roles, made once.
func (b *bench) token(roles ...api.Role) string {
	b.t.Helper()
	b.mu.Lock()
	key := ""
	for _, r := range roles {
		key += string(r) + " "
	}
	secret := b.tokens[key]
	b.mu.Unlock()
	if secret != "" {
		return secret
	}
	in := api.TokenInput{Name: strings.TrimSpace(key), Roles: roles}
	if hasRole(roles, api.RoleApprover) {
		in.Subject = "chloe"
	}
	secret, _, err := b.server.mint(b.t.Context(), in, "test")
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens[key] = secret
	return secret
}

// reply is an answer, read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) code() string {
	var e api.ErrorBody
	_ = json.Unmarshal(r.body, &e)
	return e.Error.Code
}

// answers collects which statuses each route has answered with, for the check
// against the API's description.
var answers = struct {
	sync.Mutex
	statuses map[string]map[int]bool // by pattern
}{statuses: make(map[string]map[int]bool)}

func observed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		h.ServeHTTP(rec, r)
		answers.Lock()
		defer answers.Unlock()
		if answers.statuses[r.Pattern] == nil {
			answers.statuses[r.Pattern] = make(map[int]bool)
		}
		answers.statuses[r.Pattern][rec.status] = true
	})
}

// do calls "METHOD /path" with a token. The body may be nil, bytes or a value
// for JSON; headers are name, value, name, value.
func (b *bench) do(token, target string, body any, headers ...string) reply {
	b.t.Helper()
	return b.doContext(b.t.Context(), token, target, body, headers...)
}

func (b *bench) doContext(ctx context.Context, token, target string, body any, headers ...string) reply {
	b.t.Helper()
	var reader io.Reader
	switch v := body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(v)
	case string:
		reader = strings.NewReader(v)
	default:
		data, err := json.Marshal(v)
		if err != nil {
			b.t.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	method, path, _ := strings.Cut(target, " ")
	req, err := http.NewRequestWithContext(ctx, method, b.http.URL+path, reader)
	if err != nil {
		b.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.http.Client().Do(req)
	if err != nil {
		b.t.Error(err)
		return reply{}
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Error(err)
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: data}
}

// want checks an answer's status and, if code is not empty, its error's code.
func (b *bench) want(r reply, status int, code string) reply {
	b.t.Helper()
	if r.status != status || r.code() != code {
		b.t.Fatalf("status %d, code %q, want %d, %q: %s", r.status, r.code(), status, code, r.body)
	}
	return r
}

func into[T any](t *testing.T, r reply) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("read %s: %v", r.body, err)
	}
	return v
}

// bundleOf seals a policy of one identity.
func (b *bench) bundleOf(identity string) (digest string, sealed []byte) {
	b.t.Helper()
	p := &policylang.Policy{Identities: []policylang.Identity{{Name: identity, Kind: "human", When: "true"}}}
	sealed, err := bundle.Seal(p, b.key)
	if err != nil {
		b.t.Fatal(err)
	}
	if digest, err = p.Digest(); err != nil {
		b.t.Fatal(err)
	}
	return digest, sealed
}

// stored uploads a policy of one identity and returns its digest.
func (b *bench) stored(identity string) string {
	b.t.Helper()
	digest, sealed := b.bundleOf(identity)
	if r := b.do(b.token(api.RoleAuthor), "PUT /v1/bundles/"+digest, sealed); r.status/100 != 2 {
		b.t.Fatalf("upload: %s", r.body)
	}
	return digest
}

func (b *bench) release(r bundle.Release) []byte {
	b.t.Helper()
	if r.Time.IsZero() {
		r.Time = b.clock.Now()
	}
	signed, err := bundle.SealRelease(r, b.key)
	if err != nil {
		b.t.Fatal(err)
	}
	return signed
}

// publish releases a bundle to gateway gw after what is live.
func (b *bench) publish(digest string) api.Release {
	b.t.Helper()
	live, err := b.server.store.Live(b.t.Context(), "gw")
	precondition := []string{"If-None-Match", "*"}
	if err == nil {
		precondition = []string{"If-Match", etag(live.Bundle)}
	}
	signed := b.release(bundle.Release{Gateway: "gw", Bundle: digest, Predecessor: live.Bundle, Revision: live.Revision + 1})
	r := b.do(b.token(api.RoleAuthor), "POST /v1/gateways/gw/releases", signed, precondition...)
	return into[api.ReleaseCreated](b.t, b.want(r, http.StatusCreated, "")).Live
}

func releaseOf(gateway, digest string) bundle.Release {
	return bundle.Release{Gateway: gateway, Bundle: digest, Revision: 1}
}
