package relay

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgproto3/v2"

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

func (u *upstreamLoop) rowDescription(e *entry, p piece) error {
	fields, err := e.memo().read(p.body())
	if err != nil {
		return err
	}
	if err := u.plan(e, *fields); err != nil {
		return err
	}
	if !e.hidden {
		u.pass(p)
	}
	return nil
}

func (u *upstreamLoop) plan(e *entry, fields []Field) error {
	if e.permit == nil {
		return nil
	}
	rewriter, r := u.cfg.Guard.Columns(e.permit, e.index, fields)
	if r != nil {
		return r
	}
	e.rewriter, e.planned = rewriter, true
	return nil
}

// planPortal plans the rows of an Execute, whose columns were described
// before.
func (u *upstreamLoop) planPortal(e *entry) error {
	if e.planned || e.portal == nil || e.permit == nil || !e.permit.Fenced {
		return nil
	}
	fields := e.portal.fields.Load()
	if fields == nil {
		described := e.portal.prepared.fields.Load()
		if described == nil {
			return refusal.New(refusal.MaskBreach, "a row came before its columns were described")
		}
		withFormats, err := applyFormats(*described, e.portal.formats)
		if err != nil {
			return err
		}
		fields = &withFormats
	}
	return u.plan(e, *fields)
}

// applyFormats gives a statement's columns the formats that a Bind asked for.
func applyFormats(fields []Field, formats []int16) ([]Field, error) {
	out := make([]Field, len(fields))
	copy(out, fields)
	for i := range out {
		switch {
		case len(formats) == 0:
			out[i].Format = 0
		case len(formats) == 1:
			out[i].Format = formats[0]
		case i < len(formats):
			out[i].Format = formats[i]
		default:
			return nil, refusal.New(refusal.MaskBreach, "a result has more columns than formats")
		}
	}
	return out, nil
}

func (u *upstreamLoop) row(e *entry, p piece) error {
	if e.collect != nil {
		row, err := decodeRow(p.body())
		*e.collect = append(*e.collect, row)
		return err
	}
	e.rows++
	e.bytes += int64(len(p.data))
	if e.over {
		u.discard = true
		return nil
	}
	if e.permit != nil && e.permit.MaxRows > 0 && e.rows > e.permit.MaxRows {
		return u.tooManyRows(e)
	}
	if err := u.planPortal(e); err != nil {
		return err
	}
	if e.permit != nil && e.permit.Fenced && !e.planned {
		return refusal.New(refusal.MaskBreach, "a row came without a plan")
	}
	if e.rewriter == nil {
		u.pass(p)
		return nil
	}
	return u.rewrite(e, p)
}

func (u *upstreamLoop) rewrite(e *entry, p piece) error {
	u.out = append(u.out, u.passed...)
	u.passed = nil
	u.partial = false
	at := len(u.out) + 1
	u.out = append(u.out, 'D', 0, 0, 0, 0)
	out, err := e.rewriter.AppendRow(u.out, p.body())
	if err != nil {
		u.out = u.out[:at-1]
		return refusal.New(refusal.MaskBreach, "a row does not have the shape that was described")
	}
	putLength(out, at)
	u.out = out
	return nil
}

// tooManyRows stops the statement: the rest of its rows are dropped and an
// error takes the place of its end.
func (u *upstreamLoop) tooManyRows(e *entry) error {
	e.over = true
	u.discard = true
	u.cancels.begin()
	go func() {
		defer u.cancels.end()
		u.cancelUpstream()
	}()
	return nil
}

func (u *upstreamLoop) copyData(e *entry, p piece) error {
	if e.permit != nil && e.permit.Fenced && !e.permit.CopyOut {
		return refusal.New(refusal.MaskBreach, "COPY data came without a plan")
	}
	e.rows++
	e.bytes += int64(len(p.data))
	if e.permit != nil && e.permit.Copy != nil {
		return u.rewriteCopy(e.permit.Copy, p)
	}
	u.pass(p)
	return nil
}

func (u *upstreamLoop) rewriteCopy(c CopyRewriter, p piece) error {
	u.out = append(u.out, u.passed...)
	u.passed = nil
	u.partial = false
	at := len(u.out) + 1
	u.out = append(u.out, 'd', 0, 0, 0, 0)
	out, err := c.Append(u.out, p.body())
	if err != nil {
		u.out = u.out[:at-1]
		return refusal.New(refusal.MaskBreach, "copied data does not have the shape that was foreseen")
	}
	putLength(out, at)
	u.out = out
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

// notice passes a NoticeResponse on, but for a statement that may print
// protected values.
func (u *upstreamLoop) notice(p piece) error {
	if e := u.queue.first(); e != nil && (e.hidden || e.silenced || (e.permit != nil && e.permit.Tainted)) {
		return nil
	}
	u.pass(p)
	return nil
}

// notification passes a NotificationResponse on, without its payload if the
// guard says so.
func (u *upstreamLoop) notification(p piece) error {
	if u.cfg.Guard.Payloads() {
		u.pass(p)
		return nil
	}
	var msg pgproto3.NotificationResponse
	if err := msg.Decode(p.body()); err != nil {
		return fmt.Errorf("read a NotificationResponse: %w", err)
	}
	msg.Payload = ""
	b, err := msg.Encode(nil)
	if err != nil {
		return fmt.Errorf("write a NotificationResponse: %w", err)
	}
	u.replace(b)
	return nil
}

// parameterStatus ends the session if the server no longer is who the guard
// thinks, or reads text in another way than the guard does.
func (u *upstreamLoop) parameterStatus(p piece) error {
	var msg pgproto3.ParameterStatus
	if err := msg.Decode(p.body()); err != nil {
		return fmt.Errorf("read a ParameterStatus: %w", err)
	}
	switch {
	case msg.Name == "client_encoding" && msg.Value != "UTF8",
		msg.Name == "standard_conforming_strings" && msg.Value != "on":
		return refusal.New(refusal.SettingRefused, "the parameter %s must not change through the gateway", msg.Name)
	case msg.Name == "session_authorization", msg.Name == "is_superuser":
		return refusal.New(refusal.SettingRefused, "the session's user changed")
	}
	if strings.HasPrefix(msg.Name, "postern.") {
		return nil
	}
	u.pass(p)
	return nil
}
