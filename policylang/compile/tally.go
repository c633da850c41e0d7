package compile

import (
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// tally collects matches and makes the decision of them.
type tally struct {
	fallback policylang.Effect
	denies   []match
	holds    []match
	allows   []match
	limits   policylang.Limits
	errors   []policylang.RuleError
	observed []policylang.Observation
}

// add counts a rule whose condition is not false. Rules come in order of name.
func (t *tally) add(m match) {
	if m.value == condition.Error {
		t.errors = append(t.errors, policylang.RuleError{Rule: m.Name, Err: m.err.Error()})
	}
	if !m.counts(m.value) {
		return
	}
	if m.Mode == policylang.ModeObserve {
		t.observed = append(t.observed, policylang.Observation{Rule: m.Name, Effect: m.Effect})
		return
	}
	switch m.Effect {
	case policylang.EffectDeny:
		t.denies = append(t.denies, m)
	case policylang.EffectHold:
		t.holds = append(t.holds, m)
	case policylang.EffectAllow:
		t.allows = append(t.allows, m)
	case policylang.EffectLimit:
		rules := append(t.limits.Rules, m.Name)
		t.limits = strictestLimits(t.limits, policylang.Limits{
			MaxRows: m.MaxRows, StatementTimeout: m.timeout, ReadOnly: m.ReadOnly, RequireReason: m.RequireReason,
		})
		t.limits.Rules = rules
	default:
		t.denies = append(t.denies, m) // no effect of ours: fail closed
	}
}

func (t *tally) decision() *policylang.Decision {
	d := &policylang.Decision{Limits: t.limits, Errors: t.errors, Observed: t.observed}
	switch {
	case len(t.denies) > 0:
		d.Effect = policylang.EffectDeny
		t.blame(d, t.denies)
	case len(t.holds) > 0:
		d.Effect = policylang.EffectHold
		t.blame(d, t.holds)
		hold(d, t.holds)
	case len(t.allows) > 0:
		d.Effect = policylang.EffectAllow
		d.Rules = names(t.allows)
	default:
		d.ByDefault = true
		d.Effect = t.fallback
		if d.Effect != policylang.EffectAllow {
			d.Effect = policylang.EffectDeny
		}
	}
	return d
}

// blame names the rules that decided, and says why to the client.
func (t *tally) blame(d *policylang.Decision, by []match) {
	d.Rules = names(by)
	var messages []string
	certain := false
	for _, m := range by {
		certain = certain || m.value == condition.True
		if m.Message != "" && !slices.Contains(messages, m.Message) {
			messages = append(messages, m.Message)
		}
	}
	if !certain {
		messages = append(messages, doubt(by))
	}
	d.Message = strings.Join(messages, " ")
}

// doubt says that no rule matched for certain.
func doubt(by []match) string {
	if slices.ContainsFunc(by, func(m match) bool { return m.value == condition.Unknown }) {
		return "It could not be ruled out that the statement does this, since not everything in it can be read or resolved."
	}
	return "The rule could not be evaluated, so it was taken to match."
}

func hold(d *policylang.Decision, by []match) {
	d.HoldMode = holdWait
	for _, m := range by {
		d.ApprovalGroups = append(d.ApprovalGroups, m.ApprovalGroup)
		if m.HoldMode == holdRetry {
			d.HoldMode = holdRetry
		}
	}
	d.ApprovalGroups = sortedSet(d.ApprovalGroups)
}

// The hold modes.
const (
	holdWait  = "wait"
	holdRetry = "retry"
)

func names(by []match) []string {
	out := make([]string, len(by))
	for i, m := range by {
		out[i] = m.Name
	}
	return out
}

// strictestLimits combines limits but for their rules.
func strictestLimits(a, b policylang.Limits) policylang.Limits {
	return policylang.Limits{
		MaxRows:          leastSet(a.MaxRows, b.MaxRows),
		StatementTimeout: time.Duration(leastSet(int64(a.StatementTimeout), int64(b.StatementTimeout))),
		ReadOnly:         a.ReadOnly || b.ReadOnly,
		RequireReason:    a.RequireReason || b.RequireReason,
	}
}

// leastSet is the lesser of two limits of which zero means none.
func leastSet(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// combine makes one decision of those for a person and for the agent that acts
// for it: the stricter effect wins, limits are the strictest.
func combine(a, b *policylang.Decision) *policylang.Decision {
	d := &policylang.Decision{
		Effect:   stricter(a.Effect, b.Effect),
		Limits:   strictestLimits(a.Limits, b.Limits),
		Errors:   union(a.Errors, b.Errors, func(e policylang.RuleError) string { return e.Rule + "\x00" + e.Err }),
		Observed: union(a.Observed, b.Observed, func(o policylang.Observation) string { return o.Rule }),
	}
	for _, side := range []*policylang.Decision{a, b} {
		if side.Effect != d.Effect {
			continue
		}
		d.Rules = append(d.Rules, side.Rules...)
		d.ApprovalGroups = append(d.ApprovalGroups, side.ApprovalGroups...)
		if d.HoldMode != holdRetry {
			d.HoldMode = side.HoldMode
		}
		if !strings.Contains(d.Message, side.Message) {
			d.Message = strings.TrimSpace(d.Message + " " + side.Message)
		}
	}
	d.Limits.Rules = sortedSet(slices.Concat(a.Limits.Rules, b.Limits.Rules))
	d.Rules = sortedSet(d.Rules)
	d.ApprovalGroups = sortedSet(d.ApprovalGroups)
	d.ByDefault = len(d.Rules) == 0
	return d
}

func stricter(a, b policylang.Effect) policylang.Effect {
	for _, e := range []policylang.Effect{policylang.EffectDeny, policylang.EffectHold} {
		if a == e || b == e {
			return e
		}
	}
	return policylang.EffectAllow
}

// union merges two lists in order of their keys.
func union[T any](a, b []T, key func(T) string) []T {
	if len(b) == 0 {
		return a
	}
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(x, y T) int { return strings.Compare(key(x), key(y)) })
	return slices.CompactFunc(all, func(x, y T) bool { return key(x) == key(y) })
}
