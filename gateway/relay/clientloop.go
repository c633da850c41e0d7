package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// clientLoop reads what the client sends. It owns all its fields, writes
// upstream alone, and waits only for the server's answers and the guard.
type clientLoop struct {
	*Session
	lane
	in         *frames
	out        []byte // decided and not yet written upstream
	statements *names[prepared]
	portals    *names[portal]
	own        *names[prepared] // the gateway's own prepared statements
	batch      uint64           // counts Sync, Query and FunctionCall
	unsynced   bool             // extended-query messages were forwarded since the last Sync: the server may be skipping to the next
	exited     bool             // … and among them may be the end of a failed transaction
	asked      *entry           // what the next ReadyForQuery answers, if nothing was sent behind it; else nil
	inCopy     *entry           // the entry that COPY data belongs to
	waits      bool             // for the next message, until the deadline that was set
	leftAhead  error            // what ended the client's stream while it was watched during a hold
	heldCause  error            // what else than a cancel request ended the last hold

	ask     Ask     // that the guard is answering
	entries []entry // to be used
}

func newClientLoop(s *Session) *clientLoop {
	c := &clientLoop{Session: s}
	c.in = newFrames(s.cfg.Client, s.cfg.Limits.MaxMessage, func(typ byte) bool { return typ == 'd' })
	c.in.most = largest
	c.statements = newNames[prepared](s.queue, c.flush)
	c.portals = newNames[portal](s.queue, c.flush)
	c.own = newNames[prepared](s.queue, c.flush)
	return c
}

// run reads until the session ends, whose reason it returns, or a step is over.
func (c *clientLoop) run(ctx context.Context) error {
	for {
		for {
			p, ok, err := c.in.next()
			if err != nil {
				return c.protocolError(err)
			}
			if !ok {
				break
			}
			if err := c.handle(ctx, p); err != nil {
				return err
			}
		}
		if err := c.flush(); err != nil {
			return err
		}
		if err := c.read(); err != nil {
			return err
		}
	}
}

func (c *clientLoop) protocolError(err error) error {
	if errors.Is(err, errTooLarge) {
		return refusal.New(refusal.MessageTooLarge, "%v", err)
	}
	return refusal.New(refusal.Protocol, "%v", err)
}

func (c *clientLoop) read() error {
	if c.leftAhead != nil {
		return c.leftAhead
	}
	if c.cfg.Limits.Idle > 0 && !c.waits {
		c.waits = true
		if err := c.cfg.Client.SetReadDeadline(time.Now().Add(c.cfg.Limits.Idle)); err != nil {
			return fmt.Errorf("set the client's deadline: %w", err)
		}
	}
	err := c.fill(c.in, &c.out)
	if errors.Is(err, errNothingYet) {
		return err
	}
	c.waits = false
	if err == nil {
		return nil
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		if c.queue.busy() {
			return nil // it waits for an answer
		}
		return refusal.New(refusal.IdleTimeout, "the session was idle for longer than %v", c.cfg.Limits.Idle)
	}
	return lostBy(err, errClientLeft)
}

// flush writes upstream what has been decided.
func (c *clientLoop) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	err := c.sent.to(c.cfg.Upstream, c.out)
	if cap(c.out) > maxIdleBuffer {
		c.out = nil
	} else {
		c.out = c.out[:0]
	}
	if err != nil {
		return fmt.Errorf("write upstream: %w: %w", errUpstreamLeft, err)
	}
	c.await(c.upstreamSocket, &c.sent)
	return nil
}

// handle deals with one message, or a piece of a COPY message.
func (c *clientLoop) handle(ctx context.Context, p piece) error {
	if !p.first {
		return c.copyPiece(p)
	}
	if p.last {
		if err := checkShape(p.typ, p.body()); err != nil {
			return c.protocolError(err)
		}
	}
	if c.inCopy != nil {
		active, open := c.queue.awaitCopy()
		switch {
		case !open:
			return errSessionOver
		case active:
			return c.handleCopy(p)
		}
		c.inCopy = nil
	}
	switch p.typ {
	case 'Q':
		return c.query(ctx, p)
	case 'P':
		return c.parse(ctx, p)
	case 'B':
		return c.bind(ctx, p)
	case 'D':
		return c.describe(p)
	case 'E':
		return c.execute(ctx, p)
	case 'C':
		return c.closeName(p)
	case 'S':
		return c.sync(p)
	case 'H':
		c.out = append(c.out, p.data...)
		return nil
	case 'F':
		return c.function(ctx, p)
	case 'd', 'c', 'f':
		return nil // the server ignores COPY messages outside COPY; so do we
	case 'X':
		c.out = append(c.out, p.data...)
		return errors.Join(errClientLeft, c.flush())
	}
	return refusal.New(refusal.Protocol, "a message of type %q is not allowed here", p.typ)
}

// newEntry returns an entry of the batch. Those of a small batch share memory.
func (c *clientLoop) newEntry(kind entryKind) *entry {
	const few = 4
	if len(c.entries) == 0 {
		c.entries = make([]entry, few)
	}
	e := &c.entries[0]
	c.entries = c.entries[1:]
	e.kind, e.batch = kind, c.batch
	return e
}

// forward queues an entry and passes its message on.
func (c *clientLoop) forward(e *entry, p piece) {
	c.queue.push(e)
	c.out = append(c.out, p.data...)
	c.unsynced, c.asked = true, nil
}

// refuse queues an entry for a message that stands in for a refused one.
func (c *clientLoop) refuse(e *entry, r *refusal.Refusal, standIn func(id string)) {
	id := newDenialID()
	e.refused = withID(r, id)
	c.queue.push(e)
	standIn(id)
	if e.kind == entryParse {
		c.unsynced, c.asked = true, nil
	}
}

// start sets the timer of an execution whose time is limited.
func (c *clientLoop) start(e *entry) {
	if e.permit.Timeout <= 0 {
		return
	}
	e.timer = time.AfterFunc(e.permit.Timeout, func() { c.timeUp(e) })
}

// timeUp cancels an execution again and again until it has ended: the server
// ignores a cancel request that comes before the statement does.
func (c *clientLoop) timeUp(e *entry) {
	c.cancels.begin()
	defer c.cancels.end()
	if !c.queue.markTimedOut(e) {
		return
	}
	c.cancelUpstream()
	time.AfterFunc(time.Second, func() { c.timeUp(e) })
}

// endBatch begins another batch behind a message that ReadyForQuery answers.
func (c *clientLoop) endBatch(by *entry) {
	c.asked, c.exited = by, false
	c.batch++
	const manyPortals = 64
	if len(c.portals.slots) > manyPortals && c.status.Load() == 'I' && !c.queue.busy() {
		// Outside a transaction only cursors WITH HOLD are left.
		c.portals.purge(func(p *portal) bool { return !p.cursor })
	}
}

// canWait reports whether a hold may make the client wait: nothing runs ahead
// and no transaction is open.
func (c *clientLoop) canWait() bool { return c.status.Load() == 'I' && !c.queue.executing() }

// answer asks the guard.
func (c *clientLoop) answer(ctx context.Context, ask Ask) (*Permit, *refusal.Refusal) {
	c.ask = ask
	permit, r := c.cfg.Guard.Decide(ctx, &c.ask)
	c.ask = Ask{}
	return permit, r
}

// decide asks the guard about what is to run.
func (c *clientLoop) decide(ctx context.Context, ask Ask) (*Permit, *refusal.Refusal, error) {
	c.deciding.Store(decidingNow)
	permit, r := c.answer(ctx, ask)
	if c.deciding.Swap(decidingNothing) == decidingCancelled && r == nil {
		if ask.Stage != StageBind {
			c.queue.ignore(permit)
		}
		r = refusal.New(refusal.Cancelled, "canceling statement due to user request")
	}
	switch {
	case c.heldCause != nil:
		return nil, nil, c.heldCause
	case ctx.Err() != nil:
		return nil, nil, context.Cause(ctx)
	}
	if r == nil && permit == nil {
		r = refusal.New(refusal.PolicyDenied, "the statement was not permitted")
	}
	return permit, r, nil
}
