package policylang

import (
	"fmt"
	"time"
)

// longestStatement bounds a rule's statement_timeout.
const longestStatement = 24 * time.Hour

func (c checker) queryRule(r *QueryRule, p *Policy) {
	c.required("when", r.When, `Say which statements the rule is about. For all of them, write when = "true".`)
	known := r.Effect != "" && enumeration(c, "effect", r.Effect, EffectAllow, EffectDeny, EffectHold, EffectLimit)
	if r.Effect == "" {
		c.add("effect", "effect is missing", `Set effect = "allow", "deny", "hold" or "limit".`)
	}
	enumeration(c, "mode", r.Mode, ModeEnforce, ModeObserve)
	if known {
		c.message(r)
		c.approval(r, p)
		c.limits(r)
	}
}

func (c checker) message(r *QueryRule) {
	refuses := r.Effect == EffectDeny || r.Effect == EffectHold
	c.unused(r.Message != "" && !refuses, "message", where(r.Effect), `A message is shown when effect is "deny" or "hold".`)
}

func (c checker) approval(r *QueryRule, p *Policy) {
	if r.Effect != EffectHold {
		const advice = `It belongs to effect = "hold".`
		c.unused(r.ApprovalGroup != "", "approval_group", where(r.Effect), advice)
		c.unused(r.HoldMode != "", "hold_mode", where(r.Effect), advice)
		return
	}
	enumeration(c, "hold_mode", r.HoldMode, "wait", "retry")
	if !c.required("approval_group", r.ApprovalGroup, "Say who approves what this rule holds.") {
		return
	}
	c.reference("approval_group", "approval group", r.ApprovalGroup, objectNames(p.ApprovalGroups))
}

func (c checker) limits(r *QueryRule) {
	if r.Effect != EffectLimit {
		const advice = `It belongs to a rule of its own with effect = "limit", which grants nothing and narrows what others grant.`
		c.unused(r.MaxRows != 0, "max_rows", where(r.Effect), advice)
		c.unused(r.StatementTimeout != "", "statement_timeout", where(r.Effect), advice)
		c.unused(r.ReadOnly, "read_only", where(r.Effect), advice)
		c.unused(r.RequireReason, "require_reason", where(r.Effect), advice)
		return
	}
	if r.MaxRows < 0 {
		c.add("max_rows", fmt.Sprintf("max_rows cannot be %d", r.MaxRows), "Give a positive number of rows.")
	}
	c.duration("statement_timeout", r.StatementTimeout, longestStatement)
	if r.MaxRows == 0 && r.StatementTimeout == "" && !r.ReadOnly && !r.RequireReason {
		c.add("effect", "the rule limits nothing", "Set max_rows, statement_timeout, read_only or require_reason.")
	}
}

func where(e Effect) string { return fmt.Sprintf("where effect is %q", string(e)) }
