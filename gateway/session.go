package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/accept"
	"github.com/posternhq/postern/gateway/internal/metrics"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/internal/sockets"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/policylang/statement"
)

// session is one client's session.
type session struct {
	server *Server
	info   *policylang.Session
	claims map[string]any // verified at login; identities are matched against them again when the policy changes
	method string
	since  time.Time // of the login

	client     net.Conn
	secretSize int // of the cancel key that the client takes, in bytes
	upstream   *upstream.Conn

	key       cancelKey
	countedAs string // the identity whose session it is in the registry
	relay     *relay.Session
	view      atomic.Pointer[view] // how the policy in force sees this session
	log       *slog.Logger
	seen      lookedAt
}

// view is a policy together with what it makes of one session.
type view struct {
	policy    *livepolicy.Policy
	subject   *policylang.Subject
	signs     []string // of impersonation
	evaluator *compile.Evaluator
}

// admit is the life of a connection until it is a session: accept,
// authenticate, connect upstream. Without a session, the outcome is empty if the
// connection did not become a cancel request either, and the error says why.
func (s *Server) admit(ctx context.Context, conn net.Conn, nth int, log *slog.Logger) (live *session, outcome string, err error) {
	if err := conn.SetDeadline(time.Now().Add(s.cfg.Limits.LoginTimeout)); err != nil {
		return nil, "", err
	}
	if err := sockets.Tune(conn); err != nil {
		return nil, "", err
	}
	client, cancel, err := accept.Handshake(conn, s.cfg.Accept)
	switch {
	case err != nil:
		return nil, "", s.inTime(conn, err)
	case cancel != nil:
		return nil, metrics.ConnectionCancel, s.cancel(ctx, cancel)
	case nth > s.cfg.Limits.Connections:
		return nil, "", refuse(client.Conn, refusal.New(refusal.TooManyConnections, "the gateway has %d connections already", nth-1))
	case client.Startup.Replication != "":
		return nil, "", refuse(client.Conn, refusal.New(refusal.Replication, "replication connections do not pass the gateway"))
	}
	if r := checkStartup(&client.Startup); r != nil {
		return nil, "", refuse(client.Conn, r)
	}
	policy := s.cfg.Live.Current()
	if policy == nil {
		return nil, "", refuse(client.Conn, refusal.New(refusal.NoPolicy, "the gateway %q has no verified policy yet", s.cfg.Name))
	}
	login, cancelLogin := context.WithTimeout(ctx, s.cfg.Limits.LoginTimeout)
	defer cancelLogin()

	live = &session{server: s, since: s.cfg.Clock(), log: log, info: s.sessionInfo(client, conn), client: client.Conn, secretSize: client.Startup.SecretSize()}
	if err := live.authenticate(login, client, policy); err != nil {
		return nil, "", refuse(client.Conn, s.inTime(client.Conn, err))
	}
	if r := s.sessions.room(live.view.Load().subject.Name, s.cfg.Limits.IdentityConnections); r != nil {
		return nil, "", live.turnAway(r)
	}
	if live.upstream, err = live.connect(login, client, policy); err != nil {
		return nil, "", live.turnAway(s.inTime(client.Conn, err))
	}
	return live, "", nil
}

// inTime returns err, or, if that is because the time to log in is over, the
// refusal that says so, for which it lets the connection write once more.
func (s *Server) inTime(conn net.Conn, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second)) // the connection ends either way
	return refusal.New(refusal.LoginTimeout, "the login took longer than %v", s.cfg.Limits.LoginTimeout)
}

// refuse tells a client that has not been let in why, and returns the reason.
func refuse(conn net.Conn, err error) error {
	var r *refusal.Refusal
	if errors.As(err, &r) {
		_, _ = conn.Write(r.AppendFatal(nil)) // the connection ends either way
	}
	return err
}

// checkStartup refuses startup options that would change who the session is
// or how text is read. What it passes over is not sent upstream.
func checkStartup(s *accept.Startup) *refusal.Refusal {
	if v, ok := s.Parameters["client_encoding"]; ok {
		if r := checkSetting("client_encoding", v); r != nil {
			return r
		}
	}
	for name, value := range startupOptions(s.Options) {
		if name == optionAuth || name == optionGrant {
			continue // the gateway's own: see login.go
		}
		if r := checkSetting(name, value); r != nil {
			return r
		}
	}
	return nil
}

// startupOptions reads "-c name=value" and "--name=value" from the options
// parameter, whose spaces and backslashes may be escaped by backslashes.
func startupOptions(options string) map[string]string {
	var words []string
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	for i := 0; i < len(options); i++ {
		switch {
		case options[i] == '\\' && i+1 < len(options):
			i++
			word.WriteByte(options[i])
		case options[i] == ' ' || options[i] == '\t':
			flush()
		default:
			word.WriteByte(options[i])
		}
	}
	flush()
	out := map[string]string{}
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "-c" && i+1 < len(words):
			i++
			w = words[i]
		case strings.HasPrefix(w, "-c"):
			w = w[2:]
		case strings.HasPrefix(w, "--"):
			w = w[2:]
		default:
			w = "unreadable " + w
		}
		name, value, _ := strings.Cut(w, "=")
		out[strings.ToLower(strings.ReplaceAll(name, "-", "_"))] = value
	}
	return out
}

func (s *Server) sessionInfo(client *accept.Client, conn net.Conn) *policylang.Session {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	info := &policylang.Session{
		ID: "s_" + hex.EncodeToString(id[:]), Gateway: s.cfg.Name,
		Database: client.Startup.Database, Role: client.Startup.User,
		ApplicationName: client.Startup.Parameters["application_name"],
		Reason:          startupOptions(client.Startup.Options)[statement.ReasonParameter],
		Started:         s.cfg.Clock(), TLS: client.TLS != nil,
	}
	if addr, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		info.ClientAddr = addr.Addr().Unmap()
	}
	return info
}

// see works out what a policy makes of the session. There is a view beside a
// refusal if it is known who is refused.
func (s *session) see(policy *livepolicy.Policy) (*view, *refusal.Refusal) {
	subject, err := policy.Program.Identify(s.claims, s.server.cfg.Clock())
	switch {
	case errors.Is(err, compile.ErrAmbiguousIdentity):
		return nil, refusal.New(refusal.AmbiguousIdentity, "two identities of the policy match this token")
	case err != nil:
		return nil, refusal.New(refusal.NoIdentity, "no identity of the policy matches this token")
	}
	subject.AuthMethod, subject.AuthTime = s.method, s.since
	info := *s.info
	info.Signs = s.signs(subject)
	v := &view{policy: policy, subject: subject, signs: info.Signs, evaluator: policy.Program.Evaluator(subject, &info)}
	if subject.DatabaseRole != s.info.Role {
		return v, refusal.New(refusal.RoleMismatch, "%q connects as the database role %q, not %q", subject.Name, subject.DatabaseRole, s.info.Role)
	}
	return v, s.revoked(subject)
}

// adopt makes a new policy the session's. A refusal says that the policy has
// no place for it any more.
func (s *session) adopt(policy *livepolicy.Policy) *refusal.Refusal {
	if policy == nil {
		return refusal.New(refusal.NoPolicy, "the policy was withdrawn")
	}
	before := s.view.Load()
	v, r := s.see(policy)
	if r != nil {
		return refusal.New(refusal.IdentityRemoved, "the policy no longer lets %q in", before.subject.Name)
	}
	if v.subject.Name != before.subject.Name {
		return refusal.New(refusal.IdentityRemoved, "the policy now sees %q as somebody else", before.subject.Name)
	}
	if !slices.Contains(policy.Program.Gateway().Upstream.Servers(), s.upstream.Target.Servers()[0]) {
		return refusal.New(refusal.IdentityRemoved, "the policy moved this gateway to another database").WithHint("Connect again.")
	}
	s.view.Store(v)
	return nil
}

// connect logs in upstream as the identity's role.
func (s *session) connect(ctx context.Context, client *accept.Client, policy *livepolicy.Policy) (*upstream.Conn, error) {
	target := &policy.Program.Gateway().Upstream
	up, spare, restock, err := s.server.spares.Dial(ctx, target, s.owner(), upstream.Login{
		Role: s.info.Role, Database: s.info.Database, Parameters: client.Startup.Parameters,
		Session: s.info.ID, Means: s.server.cfg.Upstream,
	})
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "connect upstream", slog.Any("error", err))
		return nil, upstreamRefusal(err, s.info)
	}
	if err := sockets.Tune(up.Conn); err != nil {
		_ = up.Close()
		return nil, err
	}
	s.server.cfg.Metrics.UpstreamLogin(spare)
	restock()
	if !target.SessionTable {
		return up, nil
	}
	if err := upstream.Introduce(ctx, s.server.cfg.Upstream, s.info.Database, up, s.person()); err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "connect upstream", slog.Any("error", err))
		_ = up.Close()
		return nil, refusal.New(refusal.UpstreamUnavailable, "the gateway cannot tell the database who you are").
			WithHint("Tell the owner of the gateway: postern.session in this database needs attention.")
	}
	return up, nil
}

// owner is whoever a spare connection is for: the session's subject as the
// policy sees it, and whoever acts for it.
func (s *session) owner() string {
	v := s.view.Load()
	owner := []string{v.policy.Program.Digest()}
	for party := v.subject; party != nil; party = party.Actor {
		owner = append(owner, party.Name, party.Issuer, party.ID)
	}
	return fmt.Sprintf("%q", owner)
}

// person is who the database is told is behind the session.
func (s *session) person() upstream.Person {
	subject := s.view.Load().subject
	p := upstream.Person{Identity: subject.Name, Session: s.info.ID}
	if subject.Actor != nil {
		p.Actor = subject.Actor.Name
	}
	return p
}

// leave takes back what the database was told. What is left behind by a
// gateway that could not is of no use: it names a process of the server's that
// has ended.
func (s *session) leave() {
	if !s.upstream.Target.SessionTable {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := upstream.Forget(ctx, s.server.cfg.Upstream, s.info.Database, s.upstream, s.person()); err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "leave the upstream", slog.Any("error", err))
	}
}

const leaveTimeout = 5 * time.Second

// start relays the session from its first ReadyForQuery to its end, of which
// ended is told. No goroutine waits for that meanwhile.
func (s *session) start(ctx context.Context, ended func(error)) {
	g := newGuard(s, s.upstream.SearchPath)
	s.relay = relay.New(relay.Config{
		Client: s.client, Upstream: s.upstream, Guard: g, Loops: s.server.loops, Logger: s.log,
		Limits: relay.Limits{MaxMessage: s.server.cfg.Limits.Message, Idle: s.server.cfg.Limits.Idle},
	})
	if err := s.register(g); err != nil {
		_ = s.upstream.Close()
		s.leave()
		ended(err)
		return
	}
	s.server.cfg.Metrics.Sessions.Inc()
	over := func(why error) {
		err := errors.Join(why, g.sessionEnd(why))
		s.server.cfg.Metrics.Sessions.Dec()
		s.server.sessions.remove(s)
		s.leave()
		ended(err)
	}
	if err := s.greet(); err != nil {
		_ = s.upstream.Close()
		over(err)
		return
	}
	ttl := time.AfterFunc(s.server.cfg.Limits.SessionTTL, func() {
		s.relay.End(refusal.New(refusal.SessionExpired, "the session reached its longest time of %v", s.server.cfg.Limits.SessionTTL))
	})
	s.relay.Start(ctx, func(why error) {
		ttl.Stop()
		over(why)
	})
}

// register makes the session one of the server's, which the client is told if
// it fails, and records its start.
func (s *session) register(g *guard) error {
	r := s.server.sessions.add(s, s.view.Load().subject.Name, s.secretSize, s.server.cfg.Limits.IdentityConnections, s.server.cfg.Peers.number)
	if r != nil {
		return s.turnAway(r)
	}
	if err := g.sessionStart(); err != nil {
		s.server.sessions.remove(s)
		s.log.LogAttrs(context.Background(), slog.LevelError, "record the start of a session", slog.Any("error", err))
		return refuse(s.client, refusal.New(refusal.EvidenceUnavailable, "evidence cannot be written"))
	}
	return nil
}

// greet lets the client in, unless a policy or a revocation that came between
// login and registration, and has not looked at this session, says otherwise.
func (s *session) greet() error {
	if now := s.server.cfg.Live.Current(); now != s.view.Load().policy {
		if r := s.adopt(now); r != nil {
			return refuse(s.client, r)
		}
	}
	if r := s.revoked(s.view.Load().subject); r != nil {
		return refuse(s.client, r)
	}
	if err := accept.Greet(s.client, s.upstream.Parameters, s.key.pid, s.key.secret); err != nil {
		return err
	}
	return s.client.SetDeadline(time.Time{})
}

// upstreamRefusal tells the client why there is no database behind the
// gateway, as far as that is safe to tell.
func upstreamRefusal(err error, info *policylang.Session) *refusal.Refusal {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return refusal.New(refusal.UpstreamUnavailable, "the gateway cannot connect to the database")
	}
	const unknownDatabase, tooManyConnections, startingUp = "3D000", "53300", "57P03"
	switch pg.Code {
	case unknownDatabase:
		r := refusal.New(refusal.UpstreamUnavailable, "database %q does not exist", info.Database)
		r.SQLSTATE, r.Hint = pg.Code, ""
		return r
	case tooManyConnections, startingUp:
		return refusal.New(refusal.UpstreamUnavailable, "the database takes no connection now: %s", pg.Message)
	}
	return refusal.New(refusal.UpstreamUnavailable, "the database does not let the gateway in as %q", info.Role).
		WithHint("Tell the owner of the gateway: its upstream credentials or pg_hba.conf need attention.")
}
