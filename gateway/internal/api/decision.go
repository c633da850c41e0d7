package api

import "github.com/posternhq/postern/policylang"

// The limits of POST /v1/decisions.
const (
	MaxDecisionsBody = 16 << 20 // bytes
	MaxDecisions     = 1000     // requests in one call
)

// DecisionsInput is the body of POST /v1/decisions: requests, and the policy
// that is to decide them. Exactly one of Bundle and Policy is set.
type DecisionsInput struct {
	Bundle  string            `json:"bundle,omitempty"`  // digest of a stored bundle
	Policy  []byte            `json:"policy,omitempty"`  // canonical, see policylang.Policy; base64 of it
	Schemas map[string]string `json:"schemas,omitempty"` // DDL, by the name that requests give it
	Tests   []policylang.Test `json:"tests"`
}

// Decisions answers POST /v1/decisions, in the order of the requests.
type Decisions struct {
	Decisions []Decision `json:"decisions"`
}

// Decision is what would happen to a request.
type Decision struct {
	Test        string               `json:"test"`
	Passed      bool                 `json:"passed"` // it is as the request expects
	Differences []DecisionDifference `json:"differences,omitempty"`
	Error       string               `json:"error,omitempty"` // why it cannot be decided: what the request names is not there
	Notes       []string             `json:"notes,omitempty"` // what a reader should know besides

	Subject          string            `json:"subject,omitempty"`
	Identity         string            `json:"identity,omitempty"`
	Effect           policylang.Effect `json:"effect,omitempty"`
	ByDefault        bool              `json:"by_default,omitempty"` // no rule decided
	Rules            []string          `json:"rules,omitempty"`
	Message          string            `json:"message,omitempty"`
	Hint             string            `json:"hint,omitempty"`
	Refused          string            `json:"refused,omitempty"` // code, where something else than a rule refuses
	ApprovalGroups   []string          `json:"approval_groups,omitempty"`
	HoldMode         string            `json:"hold_mode,omitempty"`
	Columns          []DecisionColumn  `json:"columns,omitempty"`  // of the rows, if masks apply
	Observed         []string          `json:"observed,omitempty"` // rules that would have matched
	MaxRows          int64             `json:"max_rows,omitempty"`
	StatementTimeout string            `json:"statement_timeout,omitempty"` // a Go duration
	ReadOnly         bool              `json:"read_only,omitempty"`
	RequireReason    bool              `json:"require_reason,omitempty"`
}

// DecisionDifference is one expectation that is not met.
type DecisionDifference struct {
	Attribute string `json:"attribute"` // as "expect.effect"
	Want      string `json:"want"`
	Got       string `json:"got"`
}

// DecisionColumn is a column of a statement's rows, as the client would see it.
type DecisionColumn struct {
	Name      string   `json:"name"`
	Action    string   `json:"action"` // "pass", "mask" or "redact"
	Transform string   `json:"transform,omitempty"`
	Policies  []string `json:"policies,omitempty"`
}
