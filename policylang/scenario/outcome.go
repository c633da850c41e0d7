package scenario

import (
	"slices"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
)

// Outcome is what happens to a request.
type Outcome struct {
	Subject        string            `json:"subject,omitempty"`
	Identity       string            `json:"identity,omitempty"` // the object that the subject is of
	Effect         policylang.Effect `json:"effect"`
	ByDefault      bool              `json:"by_default,omitempty"`
	Rules          []string          `json:"rules,omitempty"` // those that decided
	Message        string            `json:"message,omitempty"`
	Hint           string            `json:"hint,omitempty"`
	Refused        string            `json:"refused,omitempty"`  // code, where something else than a rule refuses
	Position       int               `json:"position,omitempty"` // of the refusal in the statement, in characters from 1
	ApprovalGroups []string          `json:"approval_groups,omitempty"`
	HoldMode       string            `json:"hold_mode,omitempty"`
	Columns        []Column          `json:"columns,omitempty"`    // of the rows, if masks apply
	Unfollowed     bool              `json:"unfollowed,omitempty"` // masks apply, but without a schema it is not known to what
	Unread         []string          `json:"unread,omitempty"`     // what in the statement says not what it does: a function that is not known, dynamic SQL
	Observed       []string          `json:"observed,omitempty"`
	Errors         []string          `json:"errors,omitempty"` // conditions that failed

	MaxRows          int64         `json:"max_rows,omitempty"`
	StatementTimeout time.Duration `json:"statement_timeout,omitempty"` // nanoseconds
	ReadOnly         bool          `json:"read_only,omitempty"`
	RequireReason    bool          `json:"require_reason,omitempty"`

	// Explanations says why, one for each statement of the text.
	Explanations []compile.Explanation `json:"-"`

	decision *policylang.Decision
}

// Column is a column of a statement's rows, as the client sees it.
type Column struct {
	Name      string   `json:"name"`
	Action    string   `json:"action"` // "pass", "mask" or "redact"
	Transform string   `json:"transform,omitempty"`
	Policies  []string `json:"policies,omitempty"`
}

// Masked lists the columns whose values the client does not see as they are,
// sorted.
func (o *Outcome) Masked() []string { return o.columns(true) }

// Unmasked lists the columns whose values the client sees as they are, sorted.
func (o *Outcome) Unmasked() []string { return o.columns(false) }

func (o *Outcome) columns(masked bool) []string {
	var names []string
	for _, c := range o.Columns {
		if (c.Action != "pass") == masked {
			names = append(names, c.Name)
		}
	}
	return set(names)
}

// newOutcome is the outcome of one decision.
func newOutcome(x compile.Explanation) *Outcome {
	d := x.Decision
	out := &Outcome{
		Effect: d.Effect, ByDefault: d.ByDefault, Rules: d.Rules, Message: d.Message,
		ApprovalGroups: d.ApprovalGroups, HoldMode: d.HoldMode,
		MaxRows: d.Limits.MaxRows, StatementTimeout: d.Limits.StatementTimeout,
		ReadOnly: d.Limits.ReadOnly, RequireReason: d.Limits.RequireReason,
		Explanations: []compile.Explanation{x}, decision: d,
	}
	if !d.Allowed() && d.Effect != policylang.EffectHold {
		out.Effect = policylang.EffectDeny
	}
	for _, observed := range d.Observed {
		out.Observed = append(out.Observed, observed.Rule)
	}
	for _, e := range d.Errors {
		out.Errors = append(out.Errors, e.Rule+": "+e.Err)
	}
	return out
}

// refuse makes the outcome a refusal by something else than a deny rule.
func (o *Outcome) refuse(code, message string, rules []string) {
	o.Effect, o.Refused, o.Message, o.Rules, o.ByDefault = policylang.EffectDeny, code, message, rules, false
	o.ApprovalGroups, o.HoldMode = nil, ""
}

// add combines the outcome of a further statement of the text: the stricter
// effect wins, limits combine to the strictest.
func (o *Outcome) add(next *Outcome) {
	switch strictness(next.Effect) - strictness(o.Effect) {
	case 0:
		o.Rules = set(append(o.Rules, next.Rules...))
		o.ApprovalGroups = set(append(o.ApprovalGroups, next.ApprovalGroups...))
		o.ByDefault = o.ByDefault || next.ByDefault
		if o.Message == "" {
			o.Message = next.Message
		}
		if o.Refused == "" {
			o.Refused, o.Hint, o.Position = next.Refused, next.Hint, next.Position
		}
		if next.HoldMode == "retry" || o.HoldMode == "" {
			o.HoldMode = next.HoldMode
		}
	case 1, 2:
		o.Effect, o.Rules, o.ByDefault = next.Effect, next.Rules, next.ByDefault
		o.Message, o.Refused, o.Hint, o.Position = next.Message, next.Refused, next.Hint, next.Position
		o.ApprovalGroups, o.HoldMode = next.ApprovalGroups, next.HoldMode
	}
	o.Columns = append(o.Columns, next.Columns...)
	o.Unread = set(append(o.Unread, next.Unread...))
	o.Observed = set(append(o.Observed, next.Observed...))
	o.Errors = set(append(o.Errors, next.Errors...))
	o.MaxRows = least(o.MaxRows, next.MaxRows)
	o.StatementTimeout = least(o.StatementTimeout, next.StatementTimeout)
	o.ReadOnly = o.ReadOnly || next.ReadOnly
	o.RequireReason = o.RequireReason || next.RequireReason
	o.Explanations = append(o.Explanations, next.Explanations...)
}

func strictness(e policylang.Effect) int {
	switch e {
	case policylang.EffectAllow:
		return 0
	case policylang.EffectHold:
		return 1
	case policylang.EffectDeny, policylang.EffectLimit:
	}
	return 2
}

// least is the smaller of two limits, of which 0 is none.
func least[T int64 | time.Duration](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// set sorts names and drops those that are there twice.
func set(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}
