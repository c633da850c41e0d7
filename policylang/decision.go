package policylang

import (
	"encoding/json"
	"fmt"
	"time"
)

// Effect is what a rule does, or what a decision says. The zero Effect is
// EffectDeny's meaning in a Decision and "unset" in a policy.
type Effect string

// The effects. EffectLimit belongs to rules alone.
const (
	EffectDeny  Effect = "deny"
	EffectHold  Effect = "hold"
	EffectAllow Effect = "allow"
	EffectLimit Effect = "limit"
)

// Request asks whether one statement may run.
type Request struct {
	Subject *Subject
	Session *Session
	Facts   *Facts
	Now     time.Time
}

// Decision answers a Request. The zero Decision denies.
type Decision struct {
	Effect    Effect   `json:"effect"`               // EffectAllow, EffectDeny or EffectHold; anything else denies
	Rules     []string `json:"rules,omitempty"`      // rules that decided, sorted; empty when ByDefault
	ByDefault bool     `json:"by_default,omitempty"` // no rule matched: the gateway's default_effect
	Message   string   `json:"message,omitempty"`    // of the deciding rules, for the client

	ApprovalGroups []string `json:"approval_groups,omitempty"` // for EffectHold: each must approve; sorted
	HoldMode       string   `json:"hold_mode,omitempty"`       // for EffectHold: "wait", or "retry" if any matching rule says so

	Limits   Limits        `json:"limits"`
	Errors   []RuleError   `json:"errors,omitempty"` // conditions that failed at run time, and how each was counted
	Observed []Observation `json:"observed,omitempty"`
}

// Allowed reports whether the statement may run at once.
func (d *Decision) Allowed() bool { return d.Effect == EffectAllow }

// Limits are obligations, combined to the strictest. The zero Limits sets none.
type Limits struct {
	MaxRows          int64         `json:"max_rows,omitempty"`          // 0: none
	StatementTimeout time.Duration `json:"statement_timeout,omitempty"` // 0: none
	ReadOnly         bool          `json:"read_only,omitempty"`
	RequireReason    bool          `json:"require_reason,omitempty"`
	Rules            []string      `json:"rules,omitempty"` // the limit rules that matched, sorted
}

// RuleError is a condition that failed at run time. It counted as a match for
// deny, hold, limit and masks and as no match for allow and unless.
type RuleError struct {
	Rule string `json:"rule"`
	Err  string `json:"error"` // never holds a value of the statement
}

// Observation is what a rule in observe mode would have done.
type Observation struct {
	Rule   string `json:"rule"`
	Effect Effect `json:"effect"`
}

// TransformKind names how a masked value is changed.
type TransformKind string

// The transforms, strictest first: null > redact > hash > token >
// truncate/round > partial.
const (
	TransformNull     TransformKind = "null"
	TransformRedact   TransformKind = "redact"
	TransformHash     TransformKind = "hash"
	TransformToken    TransformKind = "token"
	TransformTruncate TransformKind = "truncate"
	TransformRound    TransformKind = "round"
	TransformPartial  TransformKind = "partial"
)

// TransformKinds lists the transforms, strictest first.
func TransformKinds() []TransformKind {
	return []TransformKind{
		TransformNull, TransformRedact, TransformHash, TransformToken,
		TransformTruncate, TransformRound, TransformPartial,
	}
}

func (k TransformKind) rank() int {
	switch k {
	case TransformNull:
		return 6
	case TransformRedact:
		return 5
	case TransformHash:
		return 4
	case TransformToken:
		return 3
	case TransformTruncate, TransformRound:
		return 2
	case TransformPartial:
		return 1
	}
	return 5 // unknown: as redact
}

// Transform is a mask's change of a value, with its parameters; those that do
// not belong to Kind are zero. Transforms are comparable.
type Transform struct {
	Kind      TransformKind `json:"kind"`
	KeepFirst int           `json:"keep_first,omitempty"`
	KeepLast  int           `json:"keep_last,omitempty"`
	Format    string        `json:"format,omitempty"`
	Unit      string        `json:"unit,omitempty"`
	Digits    int           `json:"digits,omitempty"`
}

// Strictest combines all the transforms of one column, in any order: the
// strictest kind wins, and the same kind (or two of equal rank) with different
// parameters counts as redact. One more transform never makes the result less
// strict. That holds only if they are combined all at once, not two by two: a
// partial and a hash give the hash, and the partial is forgotten that would
// have clashed with a third. Without transforms it returns redact.
func Strictest(transforms ...Transform) Transform {
	best := Transform{Kind: TransformRedact}
	for i, t := range transforms {
		if i == 0 || t.Kind.rank() > best.Kind.rank() {
			best = t
		}
	}
	for i, t := range transforms {
		for _, u := range transforms[:i] {
			if t == u || t.Kind.rank() != u.Kind.rank() {
				continue
			}
			if best.Kind.rank() <= TransformRedact.rank() {
				return Transform{Kind: TransformRedact}
			}
			best = Transform{Kind: best.Kind}
		}
	}
	return best
}

// Mask is one masking policy as it applies to a session.
type Mask struct {
	Policy     string    `json:"policy"`           // the masking policy's name
	Columns    []string  `json:"columns"`          // globs "schema.table.column"
	Detect     []string  `json:"detect,omitempty"` // see MaskingPolicy
	Transform  Transform `json:"transform"`
	Predicates Knob      `json:"predicates"`
	Order      Knob      `json:"order"`
	Group      Knob      `json:"group"`
	Count      Knob      `json:"count"`
	Observe    bool      `json:"observe,omitempty"` // record, do not mask
}

// MaskSet is the masks that apply to a session, immutable. Key is equal for
// equal sets under one policy, so that analyses can be cached by it; the empty
// set's Key is "".
type MaskSet struct {
	Key   string `json:"key"`
	Masks []Mask `json:"masks"`
}

// NewMaskSet returns the set of masks, with its key.
func NewMaskSet(masks []Mask) *MaskSet {
	if len(masks) == 0 {
		return &MaskSet{}
	}
	data, err := json.Marshal(masks)
	if err != nil {
		panic(fmt.Sprintf("encode masks: %v", err)) // strings, ints and bools only: cannot fail
	}
	return &MaskSet{Key: DigestBytes(data), Masks: masks}
}
