package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/approve"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/policylang"
)

// approval is what let a held text pass.
type approval struct {
	id        string
	binding   string // of what was approved
	groups    []string
	approvers []string
	waited    time.Duration
}

// covers reports whether an approval answers what is held now.
func (a approval) covers(req *approve.Request) bool {
	return a.id != "" && a.binding == req.Binding() && slices.Equal(a.groups, groupNames(req.Groups))
}

// hold waits until the text is approved, if any of its statements is held.
func (g *guard) hold(ctx context.Context, x *execution, ask *relay.Ask) *refusal.Refusal {
	req := g.approvalRequest(x)
	if req == nil {
		return nil
	}
	if bound := boundExecution(ask); bound != nil && bound.approval.covers(req) {
		x.approval = bound.approval
		return nil
	}
	defer relay.Slow(ctx)()
	if r := g.recordHeld(x, req, ask.Text); r != nil {
		return r
	}
	began := g.server.cfg.Clock()
	outcome, r := g.ask(ctx, req, ask.CanWait && x.holdMode() == "wait")
	if err := g.recordApproval(x, req, outcome, ask.Text); err != nil {
		return err
	}
	if r != nil {
		return r
	}
	// The policy and the database may have changed meanwhile: what was approved
	// is decided again as it now stands.
	g.server.catalogs.Invalidate(g.info.Database)
	again, r := g.consider(ctx, ask)
	if r != nil {
		return r
	}
	granted := approval{
		id: outcome.ID, binding: req.Binding(), groups: groupNames(req.Groups),
		approvers: outcome.Approvers, waited: g.server.cfg.Clock().Sub(began),
	}
	if now := g.approvalRequest(again); now != nil && !granted.covers(now) {
		what := "what the statement's names stand for"
		if now.Bundle != req.Bundle {
			what = "the policy"
		}
		return refusal.New(refusal.ApprovalExpired, "%s changed while the statement was held", what).WithHint("Run the statement again.")
	}
	*x = *again
	x.approval = granted
	return nil
}

// boundExecution returns what was permitted at Bind for an Execute.
func boundExecution(ask *relay.Ask) *execution {
	if ask.Permit == nil {
		return nil
	}
	x, _ := ask.Permit.Data.(*execution)
	return x
}

func (x *execution) holdMode() string {
	for _, s := range x.statements {
		if s.decision.Effect == policylang.EffectHold && s.decision.HoldMode == "retry" {
			return "retry"
		}
	}
	return "wait"
}

// approvalRequest returns what must be approved before x may run; nil if
// nothing.
func (g *guard) approvalRequest(x *execution) *approve.Request {
	policy := x.view.policy.Program.Policy()
	req := &approve.Request{
		Gateway: g.info.Gateway, Session: g.info.ID, Subject: x.view.subject, Database: g.info.Database, Role: g.info.Role,
		ClientAddr: g.info.ClientAddr.String(), Application: g.info.ApplicationName, Reason: g.info.Reason,
		SQL: x.sql, SearchPath: strings.Join(g.env.SearchPath, ","), Bundle: x.view.policy.Program.Digest(),
	}
	if x.bound != nil {
		for i, v := range x.bound.Values {
			req.Params = append(req.Params, approve.Param{Value: v, Binary: formatOf(x.bound.Formats, i) == 1})
		}
	}
	var messages []string
	for _, s := range x.statements {
		if s.decision.Effect != policylang.EffectHold || s.facts.Transaction {
			continue
		}
		for _, name := range s.decision.ApprovalGroups {
			if group, ok := policy.ApprovalGroup(name); ok && !slices.Contains(groupNames(req.Groups), name) {
				req.Groups = append(req.Groups, *group)
			}
		}
		req.Rules = append(req.Rules, s.decision.Rules...)
		if m := s.decision.Message; m != "" && !slices.Contains(messages, m) {
			messages = append(messages, m)
		}
		req.Resolved = append(req.Resolved, standsFor(s.facts, g.env.SearchPath, x.catalog)...)
	}
	if len(req.Rules) == 0 {
		return nil
	}
	slices.Sort(req.Rules)
	req.Rules = slices.Compact(req.Rules)
	req.Message = strings.Join(messages, " ")
	return req
}

func formatOf(formats []int16, i int) int16 {
	switch {
	case len(formats) == 1:
		return formats[0]
	case i < len(formats):
		return formats[i]
	}
	return 0
}

func groupNames(groups []policylang.ApprovalGroup) []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.Name)
	}
	slices.Sort(names)
	return names
}

// ask asks for approval: by waiting if the client can wait, else by refusing
// until the same statement comes again.
func (g *guard) ask(ctx context.Context, req *approve.Request, wait bool) (approve.Outcome, *refusal.Refusal) {
	if !wait {
		return g.askForRetry(ctx, req)
	}
	ctx, stop := relay.Watch(ctx)
	defer stop()
	began := time.Now()
	g.server.cfg.Metrics.HeldStatements.Inc()
	defer func() {
		g.server.cfg.Metrics.HeldStatements.Dec()
		g.server.cfg.Metrics.HoldSeconds.Observe(time.Since(began).Seconds())
	}()
	outcome, err := approve.Hold(ctx, g.server.cfg.Approvals, req, func(p approve.Pending) {
		g.log.LogAttrs(ctx, slog.LevelInfo, "statement held", slog.String("approval", p.ID), slog.Any("rules", req.Rules))
		message := fmt.Sprintf("postern: waiting for approval %s by %s (rule %s)", p.ID, list(groupNames(req.Groups)), list(req.Rules))
		if req.Message != "" {
			message += ": " + req.Message
		}
		hint := fmt.Sprintf("Until %s. Cancel to withdraw.", p.Expires.Format(time.TimeOnly+" MST"))
		if p.URL != "" {
			hint = "Approve at " + p.URL + ". " + hint
		}
		g.relay.Notice(message, hint)
	})
	if err != nil {
		g.log.LogAttrs(ctx, slog.LevelError, "hold a statement", slog.Any("error", err))
		return outcome, refusal.New(refusal.ApprovalUnavailable, "this statement needs approval, and approvals are not available")
	}
	return outcome, refusedBy(outcome)
}

func (g *guard) askForRetry(ctx context.Context, req *approve.Request) (approve.Outcome, *refusal.Refusal) {
	outcome, ok, err := approve.Granted(ctx, g.server.cfg.Approvals, req)
	if ok && err == nil {
		return outcome, nil
	}
	var pending approve.Pending
	if err == nil {
		pending, err = approve.Ask(ctx, g.server.cfg.Approvals, req)
	}
	if err != nil {
		g.log.LogAttrs(ctx, slog.LevelError, "ask for approval", slog.Any("error", err))
		if errors.Is(err, approve.ErrUnavailable) {
			return outcome, refusal.New(refusal.ApprovalUnavailable, "this statement needs approval, and approvals are not available")
		}
		return outcome, refusal.New(refusal.ApprovalRefused, "this statement needs approval, which could not be asked for")
	}
	r := refusal.New(refusal.ApprovalRequired, "this statement needs approval %s by %s (rule %s)", pending.ID, list(groupNames(req.Groups)), list(req.Rules))
	if pending.URL != "" {
		r.Hint = fmt.Sprintf("Approve at %s until %s, then run the same statement again.", pending.URL, pending.Expires.Format(time.TimeOnly+" MST"))
	}
	return approve.Outcome{ID: pending.ID}, r
}

func refusedBy(o approve.Outcome) *refusal.Refusal {
	switch o.Status {
	case approve.Approved:
		return nil
	case approve.Refused:
		r := refusal.New(refusal.ApprovalRefused, "%s refused approval %s", o.RefusedBy, o.ID)
		if o.Reason != "" {
			r.Message += ": " + o.Reason
		}
		return r
	case approve.Expired:
		return refusal.New(refusal.ApprovalExpired, "nobody approved %s in time", o.ID)
	case approve.Withdrawn:
		return refusal.New(refusal.ApprovalWithdrawn, "canceling statement due to user request").WithHint("Approval %s was withdrawn.", o.ID)
	}
	return refusal.New(refusal.ApprovalRefused, "approval %s ended in an unknown way", o.ID)
}
