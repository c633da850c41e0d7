package policylang_test

import (
	"slices"
	"testing"

	"github.com/posternhq/postern/policylang"
)

func TestStrictest(t *testing.T) {
	of := func(k policylang.TransformKind) policylang.Transform { return policylang.Transform{Kind: k} }
	redact := of(policylang.TransformRedact)
	tests := []struct{ a, b, want policylang.Transform }{
		{of(policylang.TransformNull), redact, of(policylang.TransformNull)},
		{redact, of(policylang.TransformHash), redact},
		{of(policylang.TransformHash), of(policylang.TransformToken), of(policylang.TransformHash)},
		{of(policylang.TransformToken), of(policylang.TransformTruncate), of(policylang.TransformToken)},
		{of(policylang.TransformRound), of(policylang.TransformPartial), of(policylang.TransformRound)},
		{of(policylang.TransformRound), of(policylang.TransformTruncate), redact},
		{policylang.Transform{Kind: policylang.TransformPartial, KeepLast: 4}, policylang.Transform{Kind: policylang.TransformPartial, KeepLast: 2}, redact},
		{policylang.Transform{Kind: policylang.TransformPartial, KeepLast: 4}, policylang.Transform{Kind: policylang.TransformPartial, KeepLast: 4}, policylang.Transform{Kind: policylang.TransformPartial, KeepLast: 4}},
		{policylang.Transform{Kind: policylang.TransformNull, Digits: 1}, of(policylang.TransformNull), of(policylang.TransformNull)},
		{of("unknown"), of(policylang.TransformHash), of("unknown")},
		{of("unknown"), of("other"), redact},
	}
	for _, tt := range tests {
		if got := policylang.Strictest(tt.a, tt.b); got != tt.want {
			t.Errorf("Strictest(%v, %v) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
		if got := policylang.Strictest(tt.b, tt.a); got != tt.want {
			t.Errorf("Strictest(%v, %v) = %v, want %v", tt.b, tt.a, got, tt.want)
		}
	}
}

// TestStrictestOfThree combines three masks of one column in every order, and
// wants none of them to make the result less strict than it is without.
func TestStrictestOfThree(t *testing.T) {
	var all []policylang.Transform
	for _, k := range policylang.TransformKinds() {
		all = append(all, policylang.Transform{Kind: k}, policylang.Transform{Kind: k, KeepFirst: 1})
	}
	for _, a := range all {
		for _, b := range all {
			for _, c := range all {
				want := policylang.Strictest(a, b, c)
				for _, order := range [][]policylang.Transform{{a, c, b}, {b, a, c}, {b, c, a}, {c, a, b}, {c, b, a}, {a, b, c, a, b, c}} {
					if got := policylang.Strictest(order...); got != want {
						t.Errorf("Strictest%v = %v, want %v as in another order", order, got, want)
					}
				}
				if strictness(want) < strictness(policylang.Strictest(a, b)) {
					t.Errorf("with %v, %v and %v become less strict: %v", c, a, b, want)
				}
			}
		}
	}
	if got := policylang.Strictest(); got.Kind != policylang.TransformRedact {
		t.Errorf("Strictest() = %v", got)
	}
}

func strictness(t policylang.Transform) int {
	kinds := policylang.TransformKinds()
	return len(kinds) - slices.Index(kinds, t.Kind)
}

func TestMaskSetKey(t *testing.T) {
	mask := policylang.Mask{Policy: "pii", Columns: []string{"a.b.c"}, Transform: policylang.Transform{Kind: policylang.TransformHash}}
	other := mask
	other.Predicates = policylang.KnobAllow
	empty, one, same, two := policylang.NewMaskSet(nil), policylang.NewMaskSet([]policylang.Mask{mask}), policylang.NewMaskSet([]policylang.Mask{mask}), policylang.NewMaskSet([]policylang.Mask{other})
	if empty.Key != "" || one.Key == "" || one.Key != same.Key || one.Key == two.Key {
		t.Errorf("keys %q, %q, %q, %q", empty.Key, one.Key, same.Key, two.Key)
	}
}

func TestZeroDecisionDenies(t *testing.T) {
	var d policylang.Decision
	if d.Allowed() {
		t.Error("the zero Decision allows")
	}
	for _, e := range []policylang.Effect{policylang.EffectDeny, policylang.EffectHold, policylang.EffectLimit, "other"} {
		if d := (policylang.Decision{Effect: e}); d.Allowed() {
			t.Errorf("effect %q allows", e)
		}
	}
}
