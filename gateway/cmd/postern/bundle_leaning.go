package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// leaning is which way a change moves what is possible. It is told from the
// objects alone: another rule may make a change have no effect.
type leaning string

const (
	leansNowhere leaning = "nowhere" // what is possible stays as it is
	leansNarrow  leaning = "narrows"
	leansWide    leaning = "widens"
	leansEither  leaning = "either" // or it cannot be told
)

func (l leaning) inWords() string {
	switch l {
	case leansNowhere:
		return "changes nobody's access"
	case leansNarrow:
		return "narrows access"
	case leansWide:
		return "may widen access"
	case leansEither:
	}
	return "may narrow or widen access"
}

// and is the leaning of two changes together.
func (l leaning) and(m leaning) leaning {
	switch {
	case l == leansNowhere || l == m:
		return m
	case m == leansNowhere:
		return l
	}
	return leansEither
}

// mirrored is the leaning of the change back.
func (l leaning) mirrored() leaning {
	switch l {
	case leansNarrow:
		return leansWide
	case leansWide:
		return leansNarrow
	case leansNowhere, leansEither:
	}
	return l
}

// addLeaning says which way it leans to add an object.
func addLeaning(o policylang.Object) leaning {
	switch o := o.(type) {
	case *policylang.QueryRule:
		return modeLeaning(o.Mode, grants(o))
	case *policylang.MaskingPolicy:
		return modeLeaning(o.Mode, false)
	case *policylang.Identity:
		return leansWide
	}
	return leansEither
}

func grants(r *policylang.QueryRule) bool { return r.Effect == policylang.EffectAllow }

// modeLeaning is the leaning of a rule or masking policy that comes.
func modeLeaning(m policylang.Mode, grants bool) leaning {
	switch {
	case m == policylang.ModeObserve:
		return leansNowhere
	case grants:
		return leansWide
	}
	return leansNarrow
}

// changeLeaning says which way it leans to change an object. Both are in
// canonical form.
func changeLeaning(before, after policylang.Object) leaning {
	switch b := before.(type) {
	case *policylang.QueryRule:
		if a, ok := after.(*policylang.QueryRule); ok {
			return ruleLeaning(b, a)
		}
	case *policylang.MaskingPolicy:
		if a, ok := after.(*policylang.MaskingPolicy); ok {
			return maskLeaning(b, a)
		}
	case *policylang.ApprovalGroup:
		if a, ok := after.(*policylang.ApprovalGroup); ok {
			return setLeaning(b.Members, a.Members).and(risingLeaning(b.Required, a.Required)).and(durationLeaning(b.ExpiresIn, a.ExpiresIn))
		}
	case *policylang.Identity:
		if a, ok := after.(*policylang.Identity); ok {
			rest := *a
			rest.When = b.When
			return whenLeaning(condition.KindIdentity, b.When, a.When).and(unlessEqual(b, &rest))
		}
	case *policylang.Gateway:
		if a, ok := after.(*policylang.Gateway); ok {
			return gatewayLeaning(b, a)
		}
	}
	return leansEither
}

func ruleLeaning(b, a *policylang.QueryRule) leaning {
	was, is := b.Mode == policylang.ModeObserve, a.Mode == policylang.ModeObserve
	switch {
	case was && is:
		return leansNowhere
	case was:
		return addLeaning(a)
	case is:
		return addLeaning(b).mirrored()
	}
	when := whenLeaning(condition.KindRule, b.When, a.When)
	if b.Effect != a.Effect {
		if when != leansNowhere {
			return leansEither
		}
		return effectLeaning(b.Effect, a.Effect)
	}
	if !grants(a) {
		when = when.mirrored()
	}
	if b.ApprovalGroup != a.ApprovalGroup {
		when = leansEither
	}
	return when.and(ceilingLeaning(b.MaxRows, a.MaxRows)).and(durationLeaning(b.StatementTimeout, a.StatementTimeout)).
		and(flagLeaning(b.ReadOnly, a.ReadOnly)).and(flagLeaning(b.RequireReason, a.RequireReason))
}

// whenLeaning compares conditions that grant: one that matches less narrows.
func whenLeaning(kind condition.Kind, before, after string) leaning {
	if before == after {
		return leansNowhere
	}
	b, _ := condition.Compile(kind, before)
	a, _ := condition.Compile(kind, after)
	if a == nil || b == nil {
		return leansEither
	}
	switch less, more := a.Never() || a.Implies(b), b.Never() || b.Implies(a); {
	case less && more:
		return leansNowhere
	case less:
		return leansNarrow
	case more:
		return leansWide
	}
	return leansEither
}

func effectLeaning(before, after policylang.Effect) leaning {
	strictness := []policylang.Effect{policylang.EffectAllow, policylang.EffectHold, policylang.EffectDeny}
	from, to := slices.Index(strictness, before), slices.Index(strictness, after)
	if from < 0 || to < 0 {
		return leansEither
	}
	return risingLeaning(from, to)
}

func maskLeaning(b, a *policylang.MaskingPolicy) leaning {
	was, is := b.Mode == policylang.ModeObserve, a.Mode == policylang.ModeObserve
	switch {
	case was && is:
		return leansNowhere
	case was:
		return leansNarrow
	case is:
		return leansWide
	}
	l := whenLeaning(condition.KindMask, cmp.Or(b.Unless, "false"), cmp.Or(a.Unless, "false"))
	l = l.and(setLeaning(b.Columns, a.Columns).mirrored()).and(setLeaning(b.Detect, a.Detect).mirrored())
	for _, knob := range [][2]policylang.Knob{{b.Predicates, a.Predicates}, {b.Order, a.Order}, {b.Group, a.Group}, {b.Count, a.Count}} {
		l = l.and(knobLeaning(knob[0], knob[1]))
	}
	return l.and(transformLeaning(b, a))
}

func knobLeaning(before, after policylang.Knob) leaning {
	order := []policylang.Knob{policylang.KnobAllow, policylang.KnobEquality, policylang.KnobDeny}
	return risingLeaning(slices.Index(order, before), slices.Index(order, after))
}

// transformLeaning compares what a masked value still shows.
func transformLeaning(b, a *policylang.MaskingPolicy) leaning {
	if b.Transform == a.Transform {
		if b.Format != a.Format || b.Unit != a.Unit || b.Digits != a.Digits {
			return leansEither
		}
		return risingLeaning(b.KeepFirst, a.KeepFirst).and(risingLeaning(b.KeepLast, a.KeepLast)).mirrored()
	}
	stricter := policylang.Strictest(policylang.Transform{Kind: b.Transform}, policylang.Transform{Kind: a.Transform}).Kind
	switch stricter {
	case a.Transform:
		return leansNarrow
	case b.Transform:
		return leansWide
	default:
		return leansEither // truncate and round
	}
}

func gatewayLeaning(b, a *policylang.Gateway) leaning {
	rest := *a
	rest.DefaultEffect, rest.Unparsed = b.DefaultEffect, b.Unparsed
	return effectLeaning(b.DefaultEffect, a.DefaultEffect).
		and(effectLeaning(policylang.Effect(b.Unparsed), policylang.Effect(a.Unparsed))).
		and(unlessEqual(b, &rest))
}

// unlessEqual leans either way if the objects differ.
func unlessEqual(before, after policylang.Object) leaning {
	if changes, err := attributeChanges(before, after); err != nil || len(changes) > 0 {
		return leansEither
	}
	return leansNowhere
}

// setLeaning compares sets of which each element makes something possible.
func setLeaning(before, after []string) leaning {
	l := leansNowhere
	if slices.ContainsFunc(after, func(s string) bool { return !slices.Contains(before, s) }) {
		l = leansWide
	}
	if slices.ContainsFunc(before, func(s string) bool { return !slices.Contains(after, s) }) {
		l = l.and(leansNarrow)
	}
	return l
}

// risingLeaning compares numbers of which the greater is the stricter.
func risingLeaning[T cmp.Ordered](before, after T) leaning {
	switch {
	case after > before:
		return leansNarrow
	case after < before:
		return leansWide
	}
	return leansNowhere
}

// ceilingLeaning compares upper limits, of which 0 is none.
func ceilingLeaning(before, after int64) leaning {
	switch {
	case before == after:
		return leansNowhere
	case before == 0:
		return leansNarrow
	case after == 0:
		return leansWide
	}
	return risingLeaning(after, before)
}

func durationLeaning(before, after string) leaning {
	b, errB := time.ParseDuration(cmp.Or(before, "0"))
	a, errA := time.ParseDuration(cmp.Or(after, "0"))
	if errB != nil || errA != nil {
		return leansEither
	}
	return ceilingLeaning(int64(b), int64(a))
}

// flagLeaning compares demands.
func flagLeaning(before, after bool) leaning {
	switch {
	case before == after:
		return leansNowhere
	case after:
		return leansNarrow
	}
	return leansWide
}
