package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
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

// copyPiece deals with the rest of a COPY data message.
func (c *clientLoop) copyPiece(p piece) error {
	if c.inCopy == nil {
		return nil // the rest of an ignored message
	}
	c.out = append(c.out, p.data...)
	return c.flush()
}

// handleCopy deals with a message while the server reads COPY data.
func (c *clientLoop) handleCopy(p piece) error {
	switch p.typ {
	case 'd':
		c.out = append(c.out, p.data...)
		if len(c.out) >= maxIdleBuffer {
			return c.flush()
		}
		return nil
	case 'S', 'H':
		return nil // the server swallows them
	case 'c', 'f':
		c.queue.setCopying(copyAwaited)
		c.out = append(c.out, p.data...)
		if c.inCopy.kind == entryExecute {
			c.out = appendEmpty(c.out, 'H') // else the answer waits for the next Sync
		}
		return c.flush()
	case 'X':
		c.out = append(c.out, p.data...)
		return errors.Join(errClientLeft, c.flush())
	}
	return refusal.New(refusal.Protocol, "a message of type %q is not allowed during COPY FROM STDIN", p.typ)
}

func (c *clientLoop) query(ctx context.Context, p piece) error {
	sql, err := onlyString(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	e := c.newEntry(entryQuery)
	text, r := c.cfg.Guard.Read(sql)
	if r == nil {
		r, err = c.decideQuery(ctx, e, text)
		if err != nil {
			return err
		}
	}
	if r != nil {
		c.refuse(e, r, func(id string) { c.out = appendDeniedQuery(c.out, id) })
		c.endBatch(e)
		return nil
	}
	c.start(e)
	c.queue.push(e)
	c.out = append(c.out, p.data...)
	c.endBatch(e)
	return c.expectCopy(e)
}

func (c *clientLoop) decideQuery(ctx context.Context, e *entry, text *Text) (*refusal.Refusal, error) {
	targets, effects, err := c.resolve(text)
	if err != nil {
		return nil, err
	}
	if r := reservedIn(text); r != nil {
		return r, nil
	}
	ask := Ask{Stage: StageQuery, Text: text, Targets: targets, CanWait: c.canWait()}
	permit, r, err := c.decide(ctx, ask)
	if r != nil || err != nil {
		return r, err
	}
	e.permit = permit
	e.copyIn = copiesIn(targets)
	for _, apply := range effects {
		apply(e)
	}
	return nil, nil
}

func (c *clientLoop) parse(ctx context.Context, p piece) error {
	msg, err := decodeParse(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	e := c.newEntry(entryParse)
	unnamed := msg.name == ""
	text, r := c.readForParse(ctx, msg)
	if r != nil {
		c.refuse(e, r, func(id string) { c.out = appendDeniedParse(c.out, msg.name, id) })
		if unnamed { // the server forgets the unnamed statement even so
			c.statements.change("", change[prepared]{entry: e, always: true})
		}
		return nil
	}
	c.statements.change(msg.name, change[prepared]{entry: e, value: &prepared{text: text}, always: unnamed})
	c.forward(e, p)
	return nil
}

// readForParse reads a Parse's text and refuses what no parameters could
// allow.
func (c *clientLoop) readForParse(ctx context.Context, msg parseMessage) (*Text, *refusal.Refusal) {
	if r := reservedName(msg.name); r != nil {
		return nil, r
	}
	text, r := c.cfg.Guard.Read(msg.query)
	if r != nil {
		return nil, r
	}
	if r := reservedIn(text); r != nil {
		return nil, r
	}
	_, r = c.answer(ctx, Ask{Stage: StageParse, Text: text, Targets: text.Statements, Types: msg.types})
	return text, r
}

func (c *clientLoop) bind(ctx context.Context, p piece) error {
	msg, err := decodeBind(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	e := c.newEntry(entryBind)
	bound, r, err := c.decideBind(ctx, &msg)
	if err != nil {
		return err
	}
	if r != nil {
		e.kind = entryParse // the stand-in
		c.refuse(e, r, func(id string) { c.out = appendDeniedParse(c.out, deniedStatement, id) })
		return nil
	}
	name := c.portals.name(msg.name)
	c.portals.change(name, change[portal]{entry: e, value: bound, always: name == ""})
	c.forward(e, p)
	return nil
}

func (c *clientLoop) decideBind(ctx context.Context, msg *bindMessage) (*portal, *refusal.Refusal, error) {
	if r := reservedName(c.portals.name(msg.name)); r != nil {
		return nil, r, nil
	}
	stmt, err := c.statements.lookup(c.statements.name(msg.statement), c.batch)
	if err != nil {
		return nil, nil, err
	}
	if stmt == nil {
		stmt = &prepared{text: &Text{Statements: []*Statement{c.cfg.Guard.Unknown("EXECUTE")}}}
	}
	targets, _, err := c.resolve(stmt.text)
	if err != nil {
		return nil, nil, err
	}
	ask := Ask{
		Stage: StageBind, Text: stmt.text, Targets: targets, Bound: msg.portal.bound, CanWait: c.canWait(), CanCheck: canCheck(stmt.text, targets),
	}
	permit, r, err := c.decide(ctx, ask)
	if r != nil || err != nil {
		return nil, r, err
	}
	msg.portal.prepared, msg.portal.permit = stmt, permit
	return msg.portal, nil, nil
}

func (c *clientLoop) describe(p piece) error {
	kind, name, err := decodeNamed(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	var e *entry
	switch kind {
	case 'S':
		stmt, err := c.statements.lookup(c.statements.name(name), c.batch)
		if err != nil {
			return err
		}
		e = c.newEntry(entryDescribeStatement)
		e.prepared = stmt
	case 'P':
		pt, err := c.portals.lookup(c.portals.name(name), c.batch)
		if err != nil {
			return err
		}
		e = c.newEntry(entryDescribePortal)
		e.portal = pt
	default:
		return refusal.New(refusal.Protocol, "a Describe names neither a statement nor a portal")
	}
	c.forward(e, p)
	return nil
}

func (c *clientLoop) execute(ctx context.Context, p piece) error {
	name, err := decodeExecute(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	portalName := c.portals.name(name)
	if err := c.refresh(ctx); err != nil {
		return err
	}
	e := c.newEntry(entryExecute)
	pt, err := c.portals.lookup(portalName, c.batch)
	if err != nil {
		return err
	}
	if pt == nil {
		pt = &portal{prepared: &prepared{text: &Text{Statements: []*Statement{c.cfg.Guard.Unknown("FETCH")}}}}
	}
	targets, effects, err := c.resolve(pt.prepared.text)
	if err != nil {
		return err
	}
	ask := Ask{
		Stage: StageExecute, Text: pt.prepared.text, Targets: targets, Bound: pt.bound, Permit: pt.permit, CanWait: c.canWait(),
		CanCheck: canCheck(pt.prepared.text, targets),
	}
	permit, r, err := c.decide(ctx, ask)
	if err != nil {
		return err
	}
	if r != nil {
		e.kind = entryParse // the stand-in
		c.refuse(e, r, func(id string) { c.out = appendDeniedParse(c.out, deniedStatement, id) })
		return nil
	}
	e.permit, e.portal, e.copyIn = permit, pt, copiesIn(targets)
	c.describeFirst(pt, permit, portalName)
	if err := c.check(permit); err != nil {
		return err
	}
	for _, apply := range effects {
		apply(e)
	}
	c.start(e)
	c.forward(e, p)
	c.exited = c.exited || slices.ContainsFunc(targets, func(s *Statement) bool { return s.Exits })
	return c.expectCopy(e)
}

// describeFirst makes sure that the columns of a fenced portal are known
// before its rows come, by a Describe of our own if the client sent none.
func (c *clientLoop) describeFirst(pt *portal, permit *Permit, name string) {
	if !permit.Fenced || pt.fields.Load() != nil || pt.prepared.fields.Load() != nil {
		return
	}
	e := &entry{kind: entryDescribePortal, batch: c.batch, portal: pt, hidden: true, shared: true}
	c.queue.push(e)
	at := len(c.out) + 1
	c.out = append(c.out, 'D', 0, 0, 0, 0, 'P')
	c.out = append(append(c.out, name...), 0)
	putLength(c.out, at)
}

func (c *clientLoop) closeName(p piece) error {
	kind, name, err := decodeNamed(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	e := c.newEntry(entryClose)
	switch kind {
	case 'S':
		c.statements.change(c.statements.name(name), change[prepared]{entry: e})
	case 'P':
		c.portals.change(c.portals.name(name), change[portal]{entry: e})
	default:
		return refusal.New(refusal.Protocol, "a Close names neither a statement nor a portal")
	}
	c.forward(e, p)
	return nil
}

func (c *clientLoop) sync(p piece) error {
	e := c.newEntry(entrySync)
	c.queue.push(e)
	c.out = append(c.out, p.data...)
	c.endBatch(e)
	c.unsynced = false
	return nil
}

func (c *clientLoop) function(ctx context.Context, p piece) error {
	bound, err := decodeFunctionCall(p.body())
	if err != nil {
		return c.protocolError(err)
	}
	e := c.newEntry(entryFunction)
	stmt := c.cfg.Guard.Unknown("FUNCTION CALL")
	ask := Ask{
		Stage: StageFunction, Text: &Text{Statements: []*Statement{stmt}}, Targets: []*Statement{stmt},
		Bound: bound, CanWait: c.canWait(),
	}
	permit, r, err := c.decide(ctx, ask)
	if err != nil {
		return err
	}
	if r != nil {
		e.kind = entryQuery // the stand-in
		c.refuse(e, r, func(id string) { c.out = appendDeniedQuery(c.out, id) })
	} else {
		e.permit = permit
		c.start(e)
		c.queue.push(e)
		c.out = append(c.out, p.data...)
	}
	c.endBatch(e)
	return nil
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

// expectCopy stops reading until the server has said whether it wants data.
func (c *clientLoop) expectCopy(e *entry) error {
	if !e.copyIn {
		return nil
	}
	c.inCopy = e
	return c.flush()
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

// onlyString reads the one string that makes up a body.
func onlyString(body []byte) (string, error) {
	i := bytes.IndexByte(body, 0)
	if i != len(body)-1 {
		return "", fmt.Errorf("%w: a text is not ended by its only zero byte", errFrame)
	}
	return string(body[:i]), nil
}

func reservedName(name string) *refusal.Refusal {
	if strings.HasPrefix(name, reservedPrefix) {
		return refusal.New(refusal.ReservedName, "names that start with %q are the gateway's", reservedPrefix)
	}
	return nil
}

func reservedIn(text *Text) *refusal.Refusal {
	for _, s := range text.Statements {
		if s.Effect == EffectNone {
			continue
		}
		if r := reservedName(s.Name); r != nil {
			return r
		}
	}
	return nil
}

// canCheck reports whether a text is one statement that runs nothing but itself
// and copies nothing in.
func canCheck(text *Text, targets []*Statement) bool {
	return len(targets) == 1 && targets[0] == text.Statements[0] && targets[0].Effect == EffectNone && !targets[0].CopyIn
}

func copiesIn(targets []*Statement) bool {
	for _, t := range targets {
		if t.CopyIn {
			return true
		}
	}
	return false
}
