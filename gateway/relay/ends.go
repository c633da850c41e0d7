package relay

import (
	"bytes"
	"fmt"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// silently drops what follows an error that stood in for a result.
func (u *upstreamLoop) silently(e *entry, p piece) error {
	u.discard = true
	if p.typ == 'C' || p.typ == 'I' || p.typ == 's' {
		u.report(e, p)
		if e.kind != entryQuery {
			u.queue.pop()
		}
	}
	return nil
}

// completed deals with the end of a statement.
func (u *upstreamLoop) completed(e *entry, p piece) error {
	u.report(e, p)
	switch {
	case e.hidden:
	case e.over:
		u.replace(refusal.New(refusal.RowLimit, "the result has more than the %d rows that a rule allows", e.permit.MaxRows).AppendError(nil))
		u.silence(e)
	default:
		u.pass(p)
	}
	if e.kind == entryQuery {
		u.queue.completeStatement(e)
		e.index++
		e.rows, e.bytes, e.rewriter, e.planned, e.running = 0, 0, nil, false, false
		return nil
	}
	u.stopTimer(e)
	u.queue.pop()
	return nil
}

// silence drops the responses to what was pipelined behind an entry whose end
// the client was told as an error, as the server would have skipped it.
func (u *upstreamLoop) silence(e *entry) {
	u.queue.mu.Lock()
	defer u.queue.mu.Unlock()
	for _, later := range u.queue.entries[u.queue.head:] {
		if later.kind == entrySync || (later.kind == entryQuery && later != e) {
			return
		}
		later.silenced = true
	}
}

// report tells the guard how a statement ended.
func (u *upstreamLoop) report(e *entry, p piece) {
	if e.permit == nil {
		return
	}
	o := Outcome{Index: e.index, Kind: OutcomeDone, Rows: e.rows, Bytes: e.bytes}
	switch p.typ {
	case 'C':
		o.Tag = u.commandTag(bytes.TrimSuffix(p.body(), []byte{0}))
	case 's':
		o.Kind = OutcomeSuspended
	}
	if e.over {
		o.Kind, o.SQLSTATE = OutcomeFailed, "54000"
	}
	e.finished = e.kind != entryQuery
	u.cfg.Guard.Finished(e.permit, o)
	u.done = true
}

// commandTag returns a tag as a string: for the most part the same as the last.
func (u *upstreamLoop) commandTag(tag []byte) string {
	if u.tag != string(tag) {
		u.tag = string(tag)
	}
	return u.tag
}

func (u *upstreamLoop) stopTimer(e *entry) {
	if e.timer != nil {
		e.timer.Stop()
	}
}

// errorResponse pairs an error with the message it answers.
func (u *upstreamLoop) errorResponse(e *entry, p piece) error {
	body := p.body()
	severity := errorField(body, 'V')
	if severity == "" {
		severity = errorField(body, 'S')
	}
	state := errorField(body, 'C')
	if severity == "FATAL" || severity == "PANIC" {
		u.pass(p)
		return nil
	}
	if e.permit != nil && !e.finished {
		u.cfg.Guard.Finished(e.permit, Outcome{Index: e.index, Kind: OutcomeFailed, SQLSTATE: state, Rows: e.rows, Bytes: e.bytes})
		u.done = true
		e.finished = true
	}
	u.stopTimer(e)
	var changed *refusal.Refusal
	if e.kind == entryCheck {
		changed = u.checkFailed(e, state)
	}
	switch {
	case changed != nil:
		u.replace(changed.AppendError(nil))
	case e.hidden && !e.shared, e.silenced:
	case e.refused != nil && state == sqlstateStandIn && severity == "ERROR":
		u.replace(e.refused.AppendError(nil))
	case e.over:
		u.replace(refusal.New(refusal.RowLimit, "the result has more than the %d rows that a rule allows", e.permit.MaxRows).AppendError(nil))
	case u.queue.hasTimedOut(e):
		u.replace(refusal.New(refusal.TimeLimit, "the statement ran longer than the %v that a rule allows", e.permit.Timeout).AppendError(nil))
	case e.permit != nil && e.permit.Tainted:
		u.replace(scrubbed(state).AppendError(nil))
	default:
		u.pass(p)
	}
	switch e.kind {
	case entryQuery, entryFunction, entrySync: // ReadyForQuery follows
		e.over = false
		return nil
	case entryParse, entryBind, entryDescribeStatement, entryDescribePortal, entryExecute, entryClose, entryCheck:
	}
	u.skipped(u.queue.fail())
	return nil
}

// skipped reports the executions that the server ignored behind an error.
func (u *upstreamLoop) skipped(entries []*entry) {
	for _, e := range entries {
		if e.permit != nil {
			u.stopTimer(e)
			u.cfg.Guard.Finished(e.permit, Outcome{Kind: OutcomeSkipped})
			u.done = true
		}
	}
}

// scrubbed stands in for an error whose text may hold protected values. Of its
// SQLSTATE only the class is told: in classes where clients act by the code,
// as the one code that they act by.
func scrubbed(state string) *refusal.Refusal {
	class := "XX000"
	if len(state) == 5 {
		class = state[:2] + "000"
	}
	switch class {
	case "40000":
		class = "40001" // serialization_failure: run the transaction again
	case "57000":
		class = "57014" // query_canceled
	}
	return &refusal.Refusal{
		Code: refusal.Masked, SQLSTATE: class, Message: "the statement failed; the error is hidden because it touches masked data",
		Hint: "The text is kept from you, as the values that it may hold are.",
	}
}

// ready deals with ReadyForQuery.
func (u *upstreamLoop) ready(e *entry, p piece) error {
	if len(p.body()) != 1 {
		return fmt.Errorf("%w: a ReadyForQuery of %d bytes", errFrame, len(p.body()))
	}
	switch e.kind {
	case entrySync:
	case entryQuery, entryFunction:
		u.stopTimer(e)
		if e.kind == entryFunction && e.permit != nil && !e.finished {
			u.cfg.Guard.Finished(e.permit, Outcome{Kind: OutcomeDone, Tag: "FUNCTION CALL"})
			u.done = true
		}
		e.finished = true
	case entryParse, entryBind, entryDescribeStatement, entryDescribePortal, entryExecute, entryClose, entryCheck:
		return u.unexpected(e, p)
	}
	u.skipped(u.queue.takeIgnored())
	u.status.Store(uint32(p.body()[0]))
	if p.body()[0] == 'I' {
		u.cfg.Guard.Settled()
	}
	if !e.hidden {
		u.pass(p)
	}
	u.queue.pop()
	u.cancels.await(&u.lane)
	return nil
}
