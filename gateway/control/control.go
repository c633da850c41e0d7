// Package control is the control plane: an HTTP API over a store of drafts,
// signed bundles, releases, approvals and API tokens. It stores and serves what
// others sign and decides about no statement that runs: it holds no signing
// key, and gateways verify every release themselves. It does say what a policy
// would decide, for publishers that have no SQL parser. Package api has the
// API's types, docs/api.yaml its description.
//
// Most callers need [New], [Server.Handler] under a TLS listener of theirs,
// [Server.Drain] registered with http.Server.RegisterOnShutdown, and
// [Server.Close] when that server has shut down. On a new store
// [Server.Bootstrap] mints the first administrator's token.
//
// Several servers may run on one PostgreSQL. Each writing transaction is
// serialised by the store, so that two who publish at once get one release and
// one refusal. What is written is recorded by [Config.Audit] before it is
// committed: if it cannot be recorded, it is not done.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/posternhq/postern/gateway/control/internal/store"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/metrics"
	"github.com/posternhq/postern/policylang"
)

// Config says how a control plane works. Store must be set.
type Config struct {
	// Store is postgres://…, or the path of an SQLite file, which is made.
	Store string
	// BundleDir is a directory for sealed bundles. If it is empty they are
	// kept in the store, as replicas need that share no disk.
	BundleDir string
	// Version is the program's, as GET /v1/version says it.
	Version string
	// PublicURL is where people reach the console, without a final slash: the
	// start of an approval's URL. It may be empty.
	PublicURL string
	// Identify verifies an OpenID Connect token and says whose it is. Without
	// it only API tokens are accepted. Its errors are logged and never sent.
	Identify func(ctx context.Context, token string) (*policylang.Subject, error)
	// GroupRoles gives roles to identified subjects by their groups. Without
	// it they only see and decide the approvals that concern them.
	GroupRoles map[string][]api.Role
	// CertificateRoles gives roles to client certificates that the listener has
	// verified, by their first URI or else their common name.
	CertificateRoles map[string][]api.Role
	// Audit records what is about to be done; its error prevents it. It is
	// called inside a transaction and should be quick.
	Audit func(context.Context, Event) error
	// Retention is how long an approval is kept after it expired, with its
	// statement; 30 days unless set.
	Retention time.Duration
	// Limits bounds how fast callers may call; the zero Limits is sensible.
	Limits  Limits
	Metrics *metrics.Control // counted nowhere unless set
	Logger  *slog.Logger     // slog.Default unless set
	Clock   func() time.Time // time.Now unless set
}

// Event is something that changes the control plane's state.
type Event struct {
	Time     time.Time
	Caller   string        // who does it
	Action   string        // "release.publish", "approval.approve", "token.create" …
	Target   string        // what it is done to: a name, a digest, an id
	Gateway  string        // if it concerns one
	Bundle   string        // if it concerns one
	Reason   string        // as the caller gave it
	Approval *api.Approval // as it will be, for actions on approvals
}

// Server is a control plane. It is safe for concurrent use.
type Server struct {
	config  Config
	store   *store.Store
	log     *slog.Logger
	now     func() time.Time
	callers *limiter // by caller
	knocks  *limiter // failed authentications, by address

	open  context.Context // ended by Drain: what waits answers
	drain context.CancelFunc
	loops sync.WaitGroup // what runs until then

	deciding chan struct{} // holds one: whoever decides

	pruneMu   sync.Mutex
	pruneNext time.Time
}

// New opens the store. The caller closes the server.
func New(ctx context.Context, c Config) (*Server, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewControl(nil)
	}
	if c.Retention == 0 {
		c.Retention = 30 * 24 * time.Hour
	}
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	st, err := store.Open(ctx, store.Config{URL: c.Store, BundleDir: c.BundleDir, Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	limits := c.Limits.withDefaults()
	open, drain := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{
		config: c, store: st, log: c.Logger, open: open, drain: drain,
		now:      func() time.Time { return store.Now(c.Clock()) },
		deciding: make(chan struct{}, 1),
		callers:  newLimiter(limits.PerCaller, limits.CallerBurst, c.Clock),
		knocks:   newLimiter(limits.FailuresPerAddress, limits.FailureBurst, c.Clock),
	}
	s.loops.Go(func() { s.rolloutLoop(open) })
	return s, nil
}

// Drain lets the requests that wait for news answer at once, now and from now
// on, so that an HTTP server that shuts down need not wait for them.
func (s *Server) Drain() { s.drain() }

// Close drains and closes the store. Requests after it are refused.
func (s *Server) Close() error {
	s.drain()
	s.loops.Wait()
	return s.store.Close()
}

// Sessions returns the store's keeper of console sessions, which replicas
// share.
func (s *Server) Sessions() *store.Sessions { return s.store.Sessions(s.now) }

// Once returns the store's keeper of what is used once, which replicas share.
func (s *Server) Once() *store.Once { return s.store.Once(s.now) }

// Handler serves the API: /v1/, /healthz and /readyz.
func (s *Server) Handler() http.Handler { return s.handler(s.authenticate) }

// As serves the API to callers in this process, all of them under one name and
// roles and without a token: for the gateway that runs in the same process.
// It must not be reachable from outside.
func (s *Server) As(name string, roles ...api.Role) http.Handler {
	c := &caller{Caller: api.Caller{Name: name, Kind: api.CallerToken, Roles: roles, Groups: []string{}}}
	return s.handler(func(*http.Request) (*caller, error) { return c, nil })
}

// ErrBootstrapped says that the store has an administrator's token already.
var ErrBootstrapped = errors.New("the control plane has an administrator's token already")

// Bootstrap mints the first administrator's token, for whoever can reach the
// store itself. Without again it refuses with ErrBootstrapped if there is one
// that has not expired. A ttl of 0 never expires.
func (s *Server) Bootstrap(ctx context.Context, name string, ttl time.Duration, again bool) (token string, err error) {
	tokens, err := s.store.Tokens(ctx)
	if err != nil {
		return "", fmt.Errorf("list tokens: %w", err)
	}
	for _, t := range tokens {
		live := t.ExpiresAt == nil || t.ExpiresAt.After(s.now())
		if live && hasRole(t.Roles, api.RoleAdmin) && !again {
			return "", ErrBootstrapped
		}
	}
	return s.MintToken(ctx, name, []api.Role{api.RoleAdmin}, ttl)
}

// MintToken makes an API token and returns its secret, which is not stored. A
// ttl of 0 never expires.
func (s *Server) MintToken(ctx context.Context, name string, roles []api.Role, ttl time.Duration) (string, error) {
	in := api.TokenInput{Name: name, Roles: roles}
	if ttl != 0 {
		in.ExpiresIn = ttl.String()
	}
	secret, _, err := s.mint(ctx, in, "host")
	return secret, err
}

// audit returns what a store method runs before it commits.
func (s *Server) audit(ctx context.Context, events ...Event) func() error {
	return func() error {
		if s.config.Audit == nil {
			return nil
		}
		for _, e := range events {
			e.Time = s.now()
			if err := s.config.Audit(ctx, e); err != nil {
				return fmt.Errorf("%w: %w", errAudit, err)
			}
		}
		return nil
	}
}

// errAudit says that something was not done because it cannot be recorded.
var errAudit = errors.New("record the event")

// pruneEvery is how often what is long past is removed, when something is
// written anyway.
const pruneEvery = time.Hour

// prune removes what is long past. Its failure harms nobody.
func (s *Server) prune(ctx context.Context) {
	s.pruneMu.Lock()
	due := !s.now().Before(s.pruneNext)
	if due {
		s.pruneNext = s.now().Add(pruneEvery)
	}
	s.pruneMu.Unlock()
	if !due {
		return
	}
	err := errors.Join(
		s.store.ForgetApprovals(ctx, s.now().Add(-s.config.Retention)),
		s.store.ForgetInstances(ctx, s.now().Add(-7*24*time.Hour)),
	)
	if err != nil && ctx.Err() == nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "old records were not removed", slog.Any("error", err))
	}
}
