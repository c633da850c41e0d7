// Package gateway enforces a policy on PostgreSQL traffic. A [Server] accepts
// clients, authenticates them, connects each to the upstream and relays its
// session, asking the live policy before anything is executed; session.go is
// that pipeline as one readable function.
//
// It fails closed: each early return has refused the client or the statement.
// What cannot be parsed, proven or recorded is refused, never forwarded.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/accept"
	"github.com/posternhq/postern/gateway/approve"
	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/catalog"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/metrics"
	"github.com/posternhq/postern/gateway/internal/netloop"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/internal/tracing"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/policylang/statement"
)

// Config is what a server needs. Name, Accept, Live, Authenticator and Journal
// are required.
type Config struct {
	Name          string // the gateway's name in the policy
	Accept        accept.Config
	Live          *livepolicy.Live
	Authenticator *authenticate.Authenticator
	Journal       *evidence.Journal
	Login         Login
	CINetworks    []netip.Prefix // of jobs: a person's session from there is suspicious
	Upstream      upstream.Means
	Approvals     Approvals  // nil: statements that a rule holds are refused
	MaskKeys      *mask.Keys // nil: the transforms hash and token redact
	Limits        Limits
	Peers         Peers            // gateways that share an address with this one
	Metrics       *metrics.Gateway // counted nowhere if nil
	Tracer        *tracing.Tracer  // no spans if nil
	Logger        *slog.Logger     // slog.Default if nil
	Clock         func() time.Time // time.Now if nil
}

// Approvals is the part of the control plane that holding needs.
type Approvals interface {
	approve.Broker
	approve.Grants
}

// statementCacheSize is how many texts' facts a server keeps.
const statementCacheSize = 10_000

// Server is a gateway. Make one with New.
type Server struct {
	cfg         Config
	statements  *statement.Cache
	catalogs    *catalog.Store
	protections protections
	detections  detections
	lookups     lookups
	sessions    registry
	spares      *upstream.Spares
	sightings   sightings
	revoked     atomic.Pointer[revocations]
	connected   atomic.Int64
	loops       *netloop.Loops // of Serve
	decided     atomic.Uint64  // questions of sessions that were decided
}

// New returns a server that is not listening yet.
func New(cfg Config) *Server {
	cfg.Limits, cfg.Login = cfg.Limits.withDefaults(), cfg.Login.withDefaults()
	if cfg.Accept.ClientCAs == nil {
		cfg.Accept.ClientCAs = cfg.Authenticator.ClientCAs()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Metrics == nil {
		cfg.Metrics = metrics.NewGateway(nil)
	}
	if cfg.Approvals == nil {
		cfg.Approvals = noApprovals{approve.Unavailable("this gateway has no control plane")}
	}
	s := &Server{cfg: cfg, statements: statement.NewCache(statementCacheSize, cfg.Limits.Statement)}
	s.catalogs = catalog.NewStore(s.catalogConnection)
	if age := cfg.Limits.CatalogAge; age > 0 {
		s.catalogs.MaxAge = age
	}
	s.spares = upstream.NewSpares(cfg.Limits.Spares, cfg.Logger, func(n int) { cfg.Metrics.UpstreamSpares.Add(float64(n)) })
	return s
}

type noApprovals struct{ approve.Broker }

func (noApprovals) Use(context.Context, *approve.Request) (approve.Outcome, bool, error) {
	return approve.Outcome{}, false, nil
}

// Serve accepts clients until ctx ends. Then it lets nobody in, ends idle
// sessions at once and busy ones when they become idle or [Limits].Drain is
// over, and returns when all have ended. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer s.catalogs.Close()
	defer s.spares.Close()
	unsubscribe := s.cfg.Live.Subscribe(s.policyChanged)
	defer unsubscribe()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	loops, err := netloop.Start()
	if err != nil {
		return err
	}
	s.loops = loops
	// Sessions outlive ctx: they are drained, and end by themselves.
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	var sessions, watch sync.WaitGroup
	watch.Go(func() { s.stuckLoop(running) })
	giveHeapRoom()
	watch.Go(func() { s.giveBackLoop(running) })
	defer func() {
		sessions.Wait()
		loops.Close()
		end()
		watch.Wait()
	}()
	if s.cfg.Live.Current() == nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the gateway has no verified policy and refuses every client until one is released")
	}
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			s.drain()
			return nil
		case err != nil && errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept: %w", err)
		case err != nil: // out of descriptors, or a client that left at once
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "accept a client", slog.Any("error", err))
			time.Sleep(50 * time.Millisecond)
			continue
		}
		sessions.Add(1)
		go s.serve(running, netloop.Wrap(conn), sessions.Done)
	}
}

// serve is one connection, from accept to close; gone is called then. Once it is
// a session, it has no goroutine.
func (s *Server) serve(ctx context.Context, conn net.Conn, gone func()) {
	n := s.connected.Add(1)
	log := s.cfg.Logger.With(slog.String("client", conn.RemoteAddr().String()))
	end := func(outcome string, err error) {
		s.ended(log, outcome, err)
		_ = conn.Close() // the outcome is known
		s.connected.Add(-1)
		gone()
	}
	live, outcome, err := s.admit(ctx, conn, int(n), log)
	if live == nil {
		end(outcome, err)
		return
	}
	live.start(ctx, func(err error) { end(metrics.ConnectionSession, err) })
}

// ended counts and logs how a connection ended.
func (s *Server) ended(log *slog.Logger, outcome string, err error) {
	ctx := context.Background()
	var r *refusal.Refusal
	refused := errors.As(err, &r)
	if refused {
		s.cfg.Metrics.Refused(r.Code)
		if r.Code == refusal.MaskBreach {
			s.cfg.Metrics.MaskBreaches.Inc()
		}
	}
	switch {
	case outcome != "":
	case refused:
		outcome = metrics.ConnectionRefused
	case errors.Is(err, accept.ErrProbe):
		outcome = metrics.ConnectionProbe
	default:
		outcome = metrics.ConnectionBroken
	}
	s.cfg.Metrics.Connection(outcome)
	switch {
	case err == nil, errors.Is(err, accept.ErrProbe):
	case refused:
		log.LogAttrs(ctx, slog.LevelInfo, "the client was refused or its session ended", slog.String("code", string(r.Code)), slog.String("reason", r.Message))
	default:
		log.LogAttrs(ctx, slog.LevelInfo, "the connection ended", slog.Any("error", err))
	}
}

// Sessions returns how many sessions are live.
func (s *Server) Sessions() int { return len(s.sessions.all()) }

// policyChanged looks at every live session again under a new policy.
func (s *Server) policyChanged(_, now *livepolicy.Policy) {
	s.spares.Drop()
	for _, live := range s.sessions.all() {
		if r := live.adopt(now); r != nil {
			live.relay.End(r)
		}
	}
}

// catalogConnection connects the catalog's reader to a database.
func (s *Server) catalogConnection(ctx context.Context, database string) (*pgconn.PgConn, error) {
	policy := s.cfg.Live.Current()
	if policy == nil {
		return nil, errors.New("there is no policy to say where the database is")
	}
	target := &policy.Program.Gateway().Upstream
	return upstream.Connect(ctx, target, upstream.Login{Role: target.CatalogRole, Database: database, Means: s.cfg.Upstream})
}

var _ relay.Guard = (*guard)(nil)
