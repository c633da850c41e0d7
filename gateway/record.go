package gateway

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhq/postern/gateway/approve"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/metrics"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/policylang"
)

// record returns a record with what is known of the session under a view.
func (s *session) record(kind evidence.Kind, v *view) *evidence.Record {
	r := &evidence.Record{
		Time: s.server.cfg.Clock(), Kind: kind,
		AuthMethod: s.method, ApplicationName: s.info.ApplicationName, ClientAddr: s.info.ClientAddr.String(),
		Gateway: s.info.Gateway, Database: s.info.Database, Role: s.info.Role, Session: s.info.ID,
	}
	if v == nil {
		return r
	}
	if s.upstream != nil {
		r.Server = s.upstream.Server
	} else { // where the login would have led first
		r.Server = v.policy.Program.Gateway().Upstream.Servers()[0].String()
	}
	r.Identity, r.Issuer, r.Subject, r.Groups = v.subject.Name, v.subject.Issuer, v.subject.ID, v.subject.Groups
	if v.subject.Actor != nil {
		r.Actor = v.subject.Actor.Name
	}
	r.Bundle = v.policy.Program.Digest()
	return r
}

// append writes a record, as durable as d says.
func (s *session) append(r *evidence.Record, d evidence.Durability) error {
	if _, err := s.server.cfg.Journal.Append(r, d); err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelError, "write evidence", slog.Any("error", err))
		return refusal.New(refusal.EvidenceUnavailable, "evidence cannot be written, so nothing is executed")
	}
	return nil
}

func (g *guard) sessionStart() error {
	if err := g.append(g.record(evidence.KindSessionStart, g.view.Load()), evidence.Process); err != nil {
		return err
	}
	return g.recordSigns(g.info.ID)
}

// sessionEnd records why a session ended, and how many statements it had.
func (g *guard) sessionEnd(why error) error {
	r := g.record(evidence.KindSessionEnd, g.view.Load())
	r.StmtNo = uint64(g.number)
	r.Outcome = evidence.OutcomeCompleted
	var refused *refusal.Refusal
	switch {
	case errors.As(why, &refused):
		r.Outcome, r.Reason, r.SQLState = evidence.OutcomeCancelled, string(refused.Code), refused.SQLSTATE
	case why != nil:
		r.Outcome = evidence.OutcomeUnknown
	}
	return g.append(r, evidence.Process)
}

// loginRefused records that a verified token did not get in, and what was
// suspicious about it. There is no session that the records could be of.
func (s *session) loginRefused(why error) {
	_ = s.recordSigns("") // here and below: the login is refused either way
	r := s.record(evidence.KindDenied, s.view.Load())
	r.Session = ""
	r.Command, r.Effect, r.Outcome = "LOGIN", policylang.EffectDeny, evidence.OutcomeRefused
	var refused *refusal.Refusal
	if errors.As(why, &refused) {
		r.SQLState, r.Reason = refused.SQLSTATE, string(refused.Code)
	}
	r.Issuer, r.Subject = claimText(s.claims, "iss"), claimText(s.claims, "sub")
	_ = s.append(r, evidence.Process)
}

func claimText(claims map[string]any, name string) string {
	text, _ := claims[name].(string)
	return text
}

// nextNumber numbers a statement of the session.
func (g *guard) nextNumber() int64 {
	g.number++
	return g.number
}

// denied records that a text was refused, and returns what the client is told.
func (g *guard) denied(x *execution, ask *relay.Ask, why *refusal.Refusal) *refusal.Refusal {
	r := g.textRecord(evidence.KindDenied, x, ask.Text)
	r.StmtNo = uint64(g.nextNumber())
	r.Effect, r.Outcome, r.SQLState, r.Reason = policylang.EffectDeny, evidence.OutcomeRefused, why.SQLSTATE, string(why.Code)
	if x != nil && x.approval.id != "" {
		r.Approval = x.approval.id
	}
	r.TraceID = g.trace(r, r.Time)
	if err := g.append(r, evidence.Process); err != nil {
		var unavailable *refusal.Refusal
		if errors.As(err, &unavailable) {
			return unavailable
		}
	}
	g.server.cfg.Metrics.Refused(why.Code)
	g.server.cfg.Metrics.Statement(r.Class, metrics.StatementDenied)
	g.log.LogAttrs(context.Background(), slog.LevelInfo, "statement refused",
		slog.String("code", string(why.Code)), slog.String("command", r.Command), slog.Any("rules", r.Rules))
	return why
}

// textRecord describes a whole text: the union of what was considered of it.
func (g *guard) textRecord(kind evidence.Kind, x *execution, text *relay.Text) *evidence.Record {
	v := g.view.Load()
	if x != nil && x.view != nil {
		v = x.view
	}
	r := g.record(kind, v)
	r.SQL = text.SQL
	if x == nil {
		return r
	}
	r.Params = params(x.bound)
	for i := range x.statements {
		c := &x.statements[i]
		describe(r, c)
		if c.decision != nil && c.decision.Effect != policylang.EffectAllow {
			r.Rules = append(r.Rules, c.decision.Rules...) // those that stand in the way
		}
	}
	if len(x.statements) == 0 && len(text.Statements) > 0 {
		if k, ok := text.Statements[0].Data.(*known); ok {
			describe(r, &considered{known: k, facts: k.facts})
		}
	}
	slices.Sort(r.Rules)
	r.Rules = slices.Compact(r.Rules)
	return r
}

// describe adds what a statement does to a record.
func describe(r *evidence.Record, c *considered) {
	f := c.facts
	if r.Command == "" {
		r.Command, r.Class, r.Shape, r.Fingerprint = f.Command, f.Class, f.Shape, f.Fingerprint
	}
	if f.Opaque {
		r.Parse = "opaque"
	}
	for _, rel := range f.Relations {
		name := rel.Name
		if rel.Schema != "" {
			name = rel.Schema + "." + rel.Name
		}
		at := evidence.Relation{Name: name, Verb: rel.Verb}
		if !slices.ContainsFunc(r.Relations, func(o evidence.Relation) bool { return o.Name == at.Name && o.Verb == at.Verb }) {
			r.Relations = append(r.Relations, at)
		}
	}
	for _, fn := range f.Functions {
		if !slices.Contains(r.Functions, fn) {
			r.Functions = append(r.Functions, fn)
		}
	}
}

func params(b *relay.Bound) []evidence.Param { return appendParams(nil, b) }

func appendParams(out []evidence.Param, b *relay.Bound) []evidence.Param {
	if b == nil {
		return out
	}
	for i, v := range b.Values {
		out = append(out, evidence.Param{Value: v, Binary: formatOf(b.Formats, i) == 1})
	}
	return out
}

// statementRecord describes one permitted statement.
func (g *guard) statementRecord(x *execution, c *considered) *evidence.Record {
	r := g.record(evidence.KindStatement, x.view)
	describe(r, c)
	r.StmtNo = uint64(c.number)
	r.SQL, r.Params = x.sql, params(x.bound)
	if c.statement != nil && len(x.statements) > 1 {
		r.SQL = c.statement.Text
	}
	r.Effect, r.Approval, r.HeldUS = policylang.EffectAllow, x.approval.id, x.approval.waited.Microseconds()
	r.Approvers = x.approval.approvers
	if c.decision != nil {
		r.Rules = c.decision.Rules
		for _, o := range c.decision.Observed {
			r.Observed = append(r.Observed, evidence.Observation{Rule: o.Rule, Effect: o.Effect})
		}
	}
	r.Reason = g.info.Reason
	return r
}

// recordIntent numbers the statements that are about to run, and records
// before they are forwarded those that must be: held ones, and those that
// change the schema or roles.
func (g *guard) recordIntent(ctx context.Context, x *execution) *refusal.Refusal {
	for i := range x.statements {
		c := &x.statements[i]
		c.number = g.nextNumber()
		if x.approval.id == "" && c.facts.Class != policylang.ClassDDL && c.facts.Class != policylang.ClassRole {
			continue
		}
		r := g.statementRecord(x, c)
		r.Outcome = evidence.OutcomeStarted
		back := relay.Slow(ctx) // it waits for the disk
		err := g.append(r, evidence.Intent)
		back()
		if err != nil {
			return refusal.New(refusal.EvidenceUnavailable, "evidence cannot be written, so nothing is executed")
		}
	}
	return nil
}

// recordHeld records that a text begins to wait.
func (g *guard) recordHeld(x *execution, req *approve.Request, text *relay.Text) *refusal.Refusal {
	r := g.textRecord(evidence.KindHeld, x, text)
	r.Effect, r.Rules = policylang.EffectHold, req.Rules
	r.StmtNo = uint64(g.number + 1) // it becomes the next statement, permitted or refused
	if g.append(r, evidence.Intent) != nil {
		return refusal.New(refusal.EvidenceUnavailable, "evidence cannot be written, so nothing is executed")
	}
	return nil
}

// recordApproval records what became of the wait.
func (g *guard) recordApproval(x *execution, req *approve.Request, o approve.Outcome, text *relay.Text) *refusal.Refusal {
	r := g.textRecord(evidence.KindApproval, x, text)
	r.Effect, r.Rules = policylang.EffectHold, req.Rules
	r.StmtNo = uint64(g.number + 1)
	r.Approval, r.Approvers, r.Reason = o.ID, o.Approvers, o.Reason
	switch o.Status {
	case approve.Approved:
		r.Outcome = evidence.OutcomeApproved
	case approve.Refused:
		r.Outcome, r.Approvers = evidence.OutcomeRefused, []string{o.RefusedBy}
	case approve.Expired:
		r.Outcome = evidence.OutcomeExpired
	case approve.Withdrawn:
		r.Outcome = evidence.OutcomeWithdrawn
	default: // still pending, or not known
		return nil
	}
	if g.append(r, evidence.Intent) != nil {
		return refusal.New(refusal.EvidenceUnavailable, "evidence cannot be written, so nothing is executed")
	}
	return nil
}

// Finished notes what became of a permitted statement. The upstream loop calls
// it, and Flush before the response is released.
func (g *guard) Finished(p *relay.Permit, o relay.Outcome) {
	x, ok := p.Data.(*execution)
	if !ok || o.Index >= len(x.statements) {
		return
	}
	c := &x.statements[o.Index]
	g.noteOutcome(x, c)
	if o.Kind == relay.OutcomeLost {
		g.Settled()
	}
	r := g.nextPending()
	if s := x.settled; s != nil {
		params := appendParams(r.Params[:0], x.bound)
		*r = s.record
		r.Time, r.StmtNo, r.SQL, r.Params = g.server.cfg.Clock(), uint64(c.number), x.sql, params
	} else {
		*r = *g.statementRecord(x, c)
		r.Masked = maskedNames(c)
	}
	r.Rows, r.Bytes = o.Rows, o.Bytes
	r.DurationUS = max(0, r.Time.Sub(x.started)-x.approval.waited).Microseconds()
	g.count(c, o.Kind, r.DurationUS)
	switch o.Kind {
	case relay.OutcomeDone:
		r.Outcome = evidence.OutcomeCompleted
		if n, ok := affected(o.Tag); ok && r.Rows == 0 {
			r.Rows = n
		}
	case relay.OutcomeSuspended:
		r.Outcome = evidence.OutcomeCompleted
	case relay.OutcomeRunning:
		r.Outcome = evidence.OutcomeStarted
	case relay.OutcomeFailed:
		r.Outcome, r.SQLState = evidence.OutcomeFailed, o.SQLSTATE
		if o.SQLSTATE == "57014" {
			r.Outcome = evidence.OutcomeCancelled
		}
	case relay.OutcomeSkipped:
		r.Outcome = evidence.OutcomeCancelled
		if x.overtaken {
			r.Outcome, r.SQLState = evidence.OutcomeFailed, refusal.New(refusal.SchemaChanged, "").SQLSTATE
		}
	case relay.OutcomeLost:
		r.Outcome = evidence.OutcomeUnknown
	}
	if o.Kind != relay.OutcomeRunning {
		r.TraceID = g.trace(r, x.started)
	}
}

// nextPending returns another pending record, empty but for what Params can
// hold.
func (g *guard) nextPending() *evidence.Record {
	n := len(g.pending)
	if n == cap(g.pending) {
		g.pending = append(g.pending, evidence.Record{})
	} else {
		g.pending = g.pending[:n+1]
	}
	return &g.pending[n]
}

// count counts a statement that has ended.
func (g *guard) count(c *considered, how relay.OutcomeKind, took int64) {
	m := g.server.cfg.Metrics
	switch how {
	case relay.OutcomeRunning:
		return
	case relay.OutcomeDone, relay.OutcomeSuspended:
		m.Statement(c.facts.Class, metrics.StatementCompleted)
	case relay.OutcomeFailed, relay.OutcomeSkipped:
		m.Statement(c.facts.Class, metrics.StatementFailed)
	case relay.OutcomeLost:
		m.Statement(c.facts.Class, metrics.StatementLost)
	}
	m.StatementSeconds.Observe(float64(took) / 1e6)
}

// affected reads the count of rows from a command tag.
func affected(tag string) (int64, bool) {
	i := strings.LastIndexByte(tag, ' ')
	n, err := strconv.ParseInt(tag[i+1:], 10, 64)
	return n, err == nil
}

// Flush writes what Finished noted.
func (g *guard) Flush() error {
	for i := range g.pending {
		if err := g.append(&g.pending[i], evidence.Process); err != nil {
			g.pending = g.pending[i:]
			return err
		}
	}
	const keep = 4
	if cap(g.pending) > keep {
		g.pending = nil
	}
	for i := range g.pending { // no value of a statement is kept
		params := g.pending[i].Params
		clear(params)
		g.pending[i] = evidence.Record{Params: params[:0]}
	}
	g.pending = g.pending[:0]
	return nil
}
