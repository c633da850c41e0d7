package client

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/posternhq/postern/policylang"
)

// Question asks what a policy would decide about requests. Exactly one of
// Bundle and Policy is set.
type Question struct {
	Bundle  string            `json:"bundle,omitempty"`  // digest
	Policy  []byte            `json:"policy,omitempty"`  // canonical
	Schemas map[string]string `json:"schemas,omitempty"` // DDL by name
	Tests   []policylang.Test `json:"tests"`
}

// Decision is what would happen to a request.
type Decision struct {
	Test        string       `json:"test"`
	Passed      bool         `json:"passed"`
	Differences []Difference `json:"differences"`
	Error       string       `json:"error"` // why it cannot be decided
	Notes       []string     `json:"notes"`

	Subject          string   `json:"subject"`
	Identity         string   `json:"identity"`
	Effect           string   `json:"effect"`
	ByDefault        bool     `json:"by_default"`
	Rules            []string `json:"rules"`
	Message          string   `json:"message"`
	Hint             string   `json:"hint"`
	Refused          string   `json:"refused"`
	ApprovalGroups   []string `json:"approval_groups"`
	Columns          []Column `json:"columns"`
	MaxRows          int64    `json:"max_rows"`
	StatementTimeout string   `json:"statement_timeout"`
	ReadOnly         bool     `json:"read_only"`
	RequireReason    bool     `json:"require_reason"`
}

// Difference is one expectation that is not met.
type Difference struct {
	Attribute string `json:"attribute"`
	Want      string `json:"want"`
	Got       string `json:"got"`
}

// Column is a column of a statement's rows.
type Column struct {
	Name   string `json:"name"`
	Action string `json:"action"` // "pass", "mask" or "redact"
}

// Masked lists the columns whose values the client would not see as they are.
func (d Decision) Masked() []string {
	masked := []string{}
	for _, c := range d.Columns {
		if c.Action != "pass" {
			masked = append(masked, c.Name)
		}
	}
	return masked
}

// Decide returns the decisions in the order of the requests. A control plane
// that is too old to answer fails with a [VersionError].
func (c *Client) Decide(ctx context.Context, q Question) ([]Decision, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	a, err := c.do(ctx, call{method: http.MethodPost, path: []string{"v1", "decisions"}, body: body, repeatable: true})
	if err != nil {
		return nil, c.lacking(err, "decide about requests")
	}
	var answer struct {
		Decisions []Decision `json:"decisions"`
	}
	if err := decode(a.body, &answer); err != nil {
		return nil, err
	}
	return answer.Decisions, nil
}
