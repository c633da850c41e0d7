package relay

import (
	"errors"
	"fmt"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// upstreamLoop reads what the server answers. It owns its fields and the
// queue's entries, and writes to the client.
type upstreamLoop struct {
	*Session
	lane
	in  *frames
	out []byte // to be written to the client before passed

	passed  []byte // bytes of the buffer, one after the other, that pass as they are
	partial bool   // passed ends within a message
	done    bool   // an outcome was reported since the last flush
	discard bool   // the rest of a message in pieces is dropped
	tag     string // the last command tag
}

func newUpstreamLoop(s *Session) *upstreamLoop {
	u := &upstreamLoop{Session: s}
	u.in = newFrames(s.cfg.Upstream, s.cfg.Limits.MaxRow, u.streams)
	return u
}

// streams says which messages need not be read whole: rows and COPY data that
// nobody rewrites or drops.
func (u *upstreamLoop) streams(typ byte) bool {
	if typ != 'D' && typ != 'd' {
		return false
	}
	e := u.queue.first()
	if e != nil && e.permit != nil && e.permit.Copy != nil {
		return false
	}
	return e != nil && e.rewriter == nil && !e.hidden && (e.permit == nil || e.planned || !e.permit.Fenced)
}

// run reads until the session ends, whose reason it returns, or a step is over.
func (u *upstreamLoop) run() error {
	for {
		for {
			p, ok, err := u.in.next()
			if err != nil {
				if errors.Is(err, errTooLarge) {
					err = refusal.New(refusal.MessageTooLarge, "the database sent a row that cannot be masked: %v", err)
				}
				return errors.Join(u.flush(), fmt.Errorf("read upstream: %w", err))
			}
			if !ok {
				break
			}
			if err := u.handle(p); err != nil {
				return errors.Join(u.flush(), err)
			}
		}
		if err := u.flush(); err != nil {
			return err
		}
		switch err := u.fill(u.in, &u.out); {
		case err == nil:
		case errors.Is(err, errNothingYet):
			return err
		default:
			return lostBy(err, errUpstreamLeft)
		}
	}
}

// flush makes outcomes durable and then releases the bytes of the response.
func (u *upstreamLoop) flush() error {
	if len(u.out) == 0 && len(u.passed) == 0 {
		return nil
	}
	if e := u.queue.first(); e != nil && e.permit != nil && !e.running && e.rows > 0 {
		e.running = true
		u.cfg.Guard.Finished(e.permit, Outcome{Index: e.index, Kind: OutcomeRunning, Rows: e.rows, Bytes: e.bytes})
		u.done = true
	}
	if u.done {
		u.done = false
		if err := u.cfg.Guard.Flush(); err != nil {
			return refusal.New(refusal.EvidenceUnavailable, "evidence cannot be written")
		}
	}
	b := u.passed
	if len(u.out) > 0 {
		u.out = append(u.out, u.passed...)
		b = u.out
	}
	err := u.client.write(b, u.partial)
	u.await(u.clientSocket, &u.client.writes)
	u.passed = nil
	if cap(u.out) > maxIdleBuffer {
		u.out = nil
	} else {
		u.out = u.out[:0]
	}
	return err
}

// pass releases a piece as it is. Pieces that follow each other in the buffer
// are written together.
func (u *upstreamLoop) pass(p piece) {
	u.partial = !p.last
	if n := len(u.passed); n > 0 {
		if cap(u.passed)-n >= len(p.data) && &u.passed[:n+1][n] == &p.data[0] {
			u.passed = u.passed[:n+len(p.data)]
			return
		}
		u.out = append(u.out, u.passed...)
	}
	u.passed = p.data
}

// replace releases bytes of our own.
func (u *upstreamLoop) replace(b []byte) {
	u.partial = false
	u.out = append(append(u.out, u.passed...), b...)
	u.passed = nil
}

func (u *upstreamLoop) handle(p piece) error {
	if !p.first {
		if !u.discard {
			u.pass(p)
		}
		return nil
	}
	u.discard = false
	switch p.typ { // may come at any time
	case 'N':
		return u.notice(p)
	case 'A':
		return u.notification(p)
	case 'S':
		return u.parameterStatus(p)
	}
	e := u.queue.first()
	if e == nil {
		if p.typ == 'E' { // the server says why it closes the connection
			u.pass(p)
			return nil
		}
		return fmt.Errorf("the upstream sent a message of type %q that answers nothing", p.typ)
	}
	switch p.typ {
	case 'E':
		return u.errorResponse(e, p)
	case 'Z':
		return u.ready(e, p)
	}
	if e.silenced {
		return u.silently(e, p)
	}
	switch e.kind {
	case entryParse:
		return u.answer(e, p, '1')
	case entryBind:
		return u.answer(e, p, '2')
	case entryClose:
		return u.answer(e, p, '3')
	case entryDescribeStatement, entryDescribePortal:
		return u.description(e, p)
	case entryCheck:
		return u.checking(e, p)
	case entryExecute, entryQuery, entryFunction:
		return u.execution(e, p)
	case entrySync:
	}
	return u.unexpected(e, p)
}

func (u *upstreamLoop) unexpected(e *entry, p piece) error {
	return fmt.Errorf("the upstream sent a message of type %q in answer to message kind %d", p.typ, e.kind)
}

// answer deals with a message that has one answer.
func (u *upstreamLoop) answer(e *entry, p piece, want byte) error {
	if p.typ != want {
		return u.unexpected(e, p)
	}
	if !e.hidden {
		u.pass(p)
	}
	u.queue.pop()
	return nil
}

func (u *upstreamLoop) description(e *entry, p piece) error {
	switch p.typ {
	case 't':
		if !e.hidden {
			u.pass(p)
		}
		return nil
	case 'T':
		fields, err := e.memo().read(p.body())
		if err != nil {
			return err
		}
		if e.prepared != nil {
			e.prepared.fields.Store(fields)
		}
		if e.portal != nil {
			e.portal.fields.Store(fields)
		}
	case 'n':
	default:
		return u.unexpected(e, p)
	}
	if !e.hidden {
		u.pass(p)
	}
	u.queue.pop()
	return nil
}

// execution deals with the responses to a Query, Execute or FunctionCall, but
// for errors and ReadyForQuery.
func (u *upstreamLoop) execution(e *entry, p piece) error {
	switch p.typ {
	case 'T':
		return u.rowDescription(e, p)
	case 'D':
		return u.row(e, p)
	case 'd':
		return u.copyData(e, p)
	case 'C', 'I', 's':
		return u.completed(e, p)
	case 'G':
		if !e.copyIn {
			return fmt.Errorf("the upstream asks for COPY data that the statement does not announce")
		}
		u.pass(p)
		u.queue.setCopying(copyActive)
		return nil
	case 'H':
		if e.permit != nil && e.permit.Fenced && !e.permit.CopyOut {
			return refusal.New(refusal.MaskBreach, "a COPY out came without a plan")
		}
		u.pass(p)
		return nil
	case 'c', 'V':
		u.pass(p)
		return nil
	}
	return u.unexpected(e, p)
}
