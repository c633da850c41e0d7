// Package console is the control plane's web pages: what gateways run, what
// waits for approval, and the evidence. [New] makes their handler.
//
// The pages are made on the server and work without JavaScript; with it, htmx
// keeps lists fresh. Everything they need is embedded. The content security
// policy allows nothing from elsewhere and nothing inline.
//
// The console has no authority of its own. Who signs in pastes a token, and
// each page calls the control plane's API with that token and shows what the
// API answers. The token is kept sealed in [Sessions] under a key that only the
// browser's cookie holds, HttpOnly and SameSite=Strict: neither the store nor
// the cookie says anything alone. A request that changes something must come
// from the console's own pages, which its origin and a token in the form show.
package console

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
)

// Config says what the console shows. API must be set.
type Config struct {
	// API is the control plane's, in this process.
	API http.Handler
	// Sessions keeps who is signed in. Unset, they are kept in memory, and are
	// gone with the process.
	Sessions Sessions
	// Evidence is searched by the page of evidence; there is none if it is nil.
	Evidence EvidenceReader
	// PublicURL is where browsers reach the console. If it is https://,
	// cookies are for TLS alone even where TLS ends elsewhere.
	PublicURL string
	Version   string           // of the program, for the page's foot
	Logger    *slog.Logger     // slog.Default unless set
	Clock     func() time.Time // time.Now unless set
}

// Sessions keeps sealed sessions by id until they expire. Load fails if there
// is none.
type Sessions interface {
	Save(ctx context.Context, id string, sealed []byte, expires time.Time) error
	Load(ctx context.Context, id string) ([]byte, error)
	Delete(ctx context.Context, id string) error
}

// EvidenceReader searches the evidence for somebody who may read it. It
// records that it was read, and by whom.
type EvidenceReader interface {
	SearchEvidence(ctx context.Context, reader string, q EvidenceQuery) ([]evidence.Record, error)
}

// EvidenceQuery narrows a search; empty fields do not.
type EvidenceQuery struct {
	Text     string // in the statement's shape or text
	Identity string
	Gateway  string
	Kind     evidence.Kind
	Since    time.Time
	Limit    int // newest records first
}

// server holds what the handlers share.
type server struct {
	config   Config
	sessions Sessions
	log      *slog.Logger
	now      func() time.Time
	pages    map[string]*template.Template
	assets   assetSet
}

// New returns the console's handler, which serves all paths that the API does
// not.
func New(c Config) (http.Handler, error) {
	s := &server{config: c, sessions: c.Sessions, log: c.Logger, now: c.Clock}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.sessions == nil {
		s.sessions = newMemory(s.now)
	}
	var err error
	if s.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("load the console's assets: %w", err)
	}
	if s.pages, err = loadPages(s.functions()); err != nil {
		return nil, fmt.Errorf("load the console's pages: %w", err)
	}
	// Refuses what changes something and comes from another site.
	return s.headers(http.NewCrossOriginProtection().Handler(s.mux())), nil
}

func (s *server) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/{name}", s.asset)
	mux.HandleFunc("GET /login", s.loginPage)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.signedIn(s.logout))
	mux.HandleFunc("GET /{$}", s.signedIn(s.overview))
	mux.HandleFunc("GET /gateways/{gateway}", s.signedIn(s.gateway))
	mux.HandleFunc("GET /approvals", s.signedIn(s.approvals))
	mux.HandleFunc("GET /approvals/{id}", s.signedIn(s.approval))
	mux.HandleFunc("POST /approvals/{id}", s.signedIn(s.decide))
	mux.HandleFunc("GET /evidence", s.signedIn(s.evidence))
	mux.HandleFunc("/", s.signedIn(func(w http.ResponseWriter, r *http.Request, v *visit) error {
		return &api.Error{Status: http.StatusNotFound, Message: "There is no such page."}
	}))
	return mux
}

// headers sets what every answer has.
func (s *server) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if s.secure(r) {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) secure(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(s.config.PublicURL, "https://")
}

// client returns a client of the API with a visitor's token, on behalf of the
// visitor's address.
func (s *server) client(r *http.Request, token string) (*controlclient.Client, error) {
	return controlclient.New(controlclient.Config{
		URL: "https://control.internal", Token: controlclient.StaticToken(token), UserAgent: "postern-console/" + s.config.Version,
		Transport: controlclient.InProcessFor(s.config.API, r.RemoteAddr),
	})
}

// localPath returns where to go after signing in: a path of the console's own.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.Contains(next, `\`) {
		return "/"
	}
	return next
}
