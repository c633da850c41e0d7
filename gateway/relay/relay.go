// Package relay moves PostgreSQL protocol messages between a client and an
// upstream server and asks a [Guard] before anything is executed.
//
// A session is two loops. The client loop reads what the client sends, walks
// the message headers, asks the guard about each text, Bind and execution, and
// writes what may pass upstream; it owns the names of prepared statements and
// portals. The upstream loop reads the server's responses, pairs each with the
// message it answers through a queue of expectations, rewrites rows where the
// guard planned it, reports outcomes, and writes to the client.
//
// # Denial keeps the connection
//
// A refused message is replaced, in its place, by one that PostgreSQL itself
// rejects, and the paired ErrorResponse is replaced by the refusal: so the
// transaction status, the order of responses and skipping until Sync are the
// server's own. A refused Query or FunctionCall becomes the Query
//
//	SELECT "postern: denied ID"
//
// a refused Parse keeps its statement name with that text, and a refused Bind
// or Execute becomes a Parse of the reserved statement name "_postern_denied".
// Only an ERROR of SQLSTATE 42703 that answers such a message is replaced.
// Client names that start with "_postern" are refused.
//
// # What is never guessed
//
// A name that was changed in an earlier, unanswered batch is not used until
// the server has said whether the change took place. While a COPY FROM STDIN
// is expected, nothing is forwarded until the server says whether it wants
// data; in that state it gets data and nothing else. A response that pairs with
// nothing ends the session.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posternhq/postern/gateway/internal/netloop"
	"github.com/posternhq/postern/gateway/internal/refusal"
)

// Upstream is an authenticated server connection.
type Upstream interface {
	net.Conn
	// Cancel asks the server to cancel what the connection is doing.
	Cancel(ctx context.Context) error
}

// Limits bound one session. Zero fields take the defaults.
type Limits struct {
	MaxMessage int           // bytes of one client message that must be read whole; 64 MiB
	MaxRow     int           // bytes of one row that must be rewritten; 64 MiB
	Idle       time.Duration // longest time without a client message; 0 is unlimited
}

func (l Limits) withDefaults() Limits {
	const defaultMessage = 64 << 20
	if l.MaxMessage <= 0 {
		l.MaxMessage = defaultMessage
	}
	if l.MaxRow <= 0 {
		l.MaxRow = defaultMessage
	}
	return l
}

// Config says what a session connects and who guards it.
type Config struct {
	Client   net.Conn
	Upstream Upstream
	Guard    Guard
	Loops    *netloop.Loops // serve the session, if both connections are netloop's; else it has two goroutines
	Limits   Limits
	Logger   *slog.Logger
}

// Session is one client's connection through the gateway.
type Session struct {
	cfg    Config
	client *clientWriter // both loops write through it
	sent   writes        // to the upstream
	queue  *queue        // expectations; both loops

	cancels cancels // the gateway's own

	status atomic.Uint32 // transaction status of the last ReadyForQuery: 'I', 'T' or 'E'

	checkLost atomic.Bool // the server has forgotten the prepared statement of checks

	deciding atomic.Uint32 // whether the client loop is deciding, and a cancel request came meanwhile

	holdMu   sync.Mutex
	stopHold context.CancelCauseFunc // guarded by holdMu; nil unless a statement is held

	end   context.CancelCauseFunc // ends the session with a cause; guarded by holdMu, nil before Run
	ended *refusal.Refusal        // by End, before Run; guarded by holdMu

	running sync.WaitGroup // the two loops

	clientSocket, upstreamSocket *netloop.Conn // given to an event loop; nil without one
}

// errClientLeft ends a session whose client said goodbye or closed.
var errClientLeft = errors.New("the client left")

// errSessionOver is what a loop returns when it stops because the session has
// ended for another reason.
var errSessionOver = errors.New("the session is over")

// errUpstreamLeft ends a session whose server closed the connection.
var errUpstreamLeft = errors.New("the upstream closed the connection")

// errCancelled ends a hold by a cancel request.
var errCancelled = errors.New("cancelled by the client")

// New returns a session over two connections that are authenticated and idle.
func New(cfg Config) *Session {
	cfg.Limits = cfg.Limits.withDefaults()
	s := &Session{cfg: cfg, client: &clientWriter{conn: cfg.Client}, queue: newQueue()}
	s.cancels.none.L = &s.cancels.mu
	s.status.Store('I')
	return s
}

// Run is [Session.Start] for who waits until the session has ended.
func (s *Session) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	s.Start(ctx, func(why error) { ended <- why })
	return <-ended
}

// Start relays until either side leaves, the context ends or the session is
// ended by [Session.End]. Then it closes both connections, leaves no goroutine
// behind and calls ended, in a goroutine of its own, with the reason: nil if the
// client left.
func (s *Session) Start(ctx context.Context, ended func(why error)) {
	ctx, end := context.WithCancelCause(ctx)
	s.holdMu.Lock()
	s.end = end
	over := s.ended
	s.holdMu.Unlock()
	if over != nil {
		end(over)
	}
	s.start(ctx, end)
	context.AfterFunc(ctx, func() { ended(s.finish(context.Cause(ctx))) })
}

// finish ends what a session that is over has running.
func (s *Session) finish(cause error) error {
	s.say(cause)
	_ = s.cfg.Upstream.Close()
	_ = s.cfg.Client.Close()
	s.queue.close()
	s.running.Wait()
	if s.clientSocket != nil {
		s.clientSocket.Release()
		s.upstreamSocket.Release()
	}
	s.abandon()
	if errors.Is(cause, errClientLeft) {
		return nil
	}
	return cause
}

// say tells the client why its session ends, if that is the gateway's doing,
// and cancels what is still running.
func (s *Session) say(cause error) {
	var r *refusal.Refusal
	if errors.As(cause, &r) {
		_ = s.cfg.Client.SetWriteDeadline(time.Now().Add(time.Second))
		s.client.last(r.AppendFatal(nil))
		if s.clientSocket != nil && r.Code == refusal.MessageTooLarge { // it may be sending the rest
			s.clientSocket.Discard(time.Second)
		}
	}
	if s.queue.busy() {
		ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
		defer stop()
		_ = s.cfg.Upstream.Cancel(ctx)
	}
}

// abandon reports the executions whose outcome will never be known.
func (s *Session) abandon() {
	for _, e := range s.queue.takeIgnored() {
		s.cfg.Guard.Finished(e.permit, Outcome{Kind: OutcomeSkipped})
	}
	for _, e := range s.queue.drain() {
		if e.permit != nil && !e.finished {
			s.cfg.Guard.Finished(e.permit, Outcome{Index: e.index, Kind: OutcomeLost, Rows: e.rows, Bytes: e.bytes})
		}
	}
	if err := s.cfg.Guard.Flush(); err != nil {
		s.cfg.Logger.LogAttrs(context.Background(), slog.LevelError, "record the end of a session", slog.Any("error", err))
	}
}

// End ends the session with a FATAL refusal. It returns at once and may be
// called from any goroutine, also before Run.
func (s *Session) End(r *refusal.Refusal) {
	s.holdMu.Lock()
	end := s.end
	s.ended = r
	s.holdMu.Unlock()
	if end != nil {
		end(r)
	}
}

// Idle reports whether nothing runs and no transaction is open.
func (s *Session) Idle() bool { return s.status.Load() == 'I' && !s.queue.busy() }

// Writes returns how many writes to the client and to the upstream have begun
// and ended: an odd count is within a write.
func (s *Session) Writes() (client, upstream uint64) {
	return s.client.writes.count.Load(), s.sent.count.Load()
}

// writes counts the beginnings and the ends of writes.
type writes struct{ count atomic.Uint64 }

// to writes b.
func (w *writes) to(conn net.Conn, b []byte) error {
	w.count.Add(1)
	_, err := conn.Write(b)
	w.count.Add(1)
	return err
}

// States of Session.deciding.
const (
	decidingNothing uint32 = iota
	decidingNow
	decidingCancelled
)

// Cancel does what a client's cancel request asks for: it ends a hold, refuses
// what is being decided, or cancels upstream. It may be called from any goroutine.
func (s *Session) Cancel(ctx context.Context) error {
	s.holdMu.Lock()
	stop := s.stopHold
	s.holdMu.Unlock()
	if stop != nil {
		stop(errCancelled)
		return nil
	}
	// What is being decided has not come to the server, which would ignore a
	// request that comes before it. What was sent ahead of it may be a Bind that
	// takes long.
	running := s.queue.lastOf(entryExecute, entryQuery, entryFunction) != nil
	if !running && s.deciding.CompareAndSwap(decidingNow, decidingCancelled) && !s.queue.busy() {
		return nil
	}
	return s.cfg.Upstream.Cancel(ctx)
}

// Notice sends the client a NoticeResponse of severity NOTICE. The guard calls
// it while it holds a statement.
func (s *Session) Notice(message, hint string) {
	s.client.between(appendNotice(nil, message, hint))
}

// clientWriter writes to the client from both loops, whole messages at a time.
type clientWriter struct {
	mu      sync.Mutex
	conn    net.Conn
	writes  writes
	partial bool // a message has been written in part
	ended   bool
}

// write writes b; partial says that its last message goes on in the next
// write.
func (w *clientWriter) write(b []byte, partial bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return net.ErrClosed
	}
	w.partial = partial
	if err := w.writes.to(w.conn, b); err != nil {
		return fmt.Errorf("write to the client: %w: %w", errClientLeft, err)
	}
	return nil
}

// between writes a message of our own unless another one is half written.
func (w *clientWriter) between(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended && !w.partial {
		_ = w.writes.to(w.conn, b) // a lost client is noticed by its read loop
	}
}

// last is between for the connection's last message. It does not wait for a
// write that hangs.
func (w *clientWriter) last(b []byte) {
	if !w.mu.TryLock() {
		time.Sleep(10 * time.Millisecond)
		if !w.mu.TryLock() {
			return
		}
	}
	defer w.mu.Unlock()
	if !w.ended && !w.partial {
		_, _ = w.conn.Write(b)
	}
	w.ended = true
}

// lostBy turns a read error into the reason for a session's end.
func lostBy(err error, eof error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return eof
	}
	return fmt.Errorf("%w: %w", eof, err)
}
