package api

import (
	"time"

	"github.com/posternhq/postern/policylang"
)

// ApprovalStatus says how far an approval is.
type ApprovalStatus string

// The statuses of approvals. All but StatusPending and StatusApproved are
// final; StatusApproved of mode "retry" becomes StatusUsed once.
const (
	StatusPending   ApprovalStatus = "pending"
	StatusApproved  ApprovalStatus = "approved"
	StatusRefused   ApprovalStatus = "refused"
	StatusExpired   ApprovalStatus = "expired"
	StatusWithdrawn ApprovalStatus = "withdrawn"
	StatusUsed      ApprovalStatus = "used"
)

// ApprovalStatuses lists the statuses.
func ApprovalStatuses() []ApprovalStatus {
	return []ApprovalStatus{StatusPending, StatusApproved, StatusRefused, StatusExpired, StatusWithdrawn, StatusUsed}
}

// The modes of a hold.
const (
	ModeWait  = "wait"  // the session waits
	ModeRetry = "retry" // the same statement passes once when tried again
)

// Requester is whose statement is held.
type Requester struct {
	Name     string `json:"name"`
	Identity string `json:"identity"`
	Kind     string `json:"kind"`
	Issuer   string `json:"issuer"`
	ID       string `json:"id"`              // the subject at the issuer
	Actor    string `json:"actor,omitempty"` // the agent that acts for it
}

// Param is the value of one parameter of a held statement. At most one of
// Null, Text and Binary is set; none is the empty text.
type Param struct {
	Type   uint32 `json:"type,omitempty"` // OID; 0 if unknown
	Null   bool   `json:"null,omitempty"`
	Text   string `json:"text,omitempty"`
	Binary []byte `json:"binary,omitempty"`
}

// ApprovalGroup is a group that must approve.
type ApprovalGroup struct {
	Name     string   `json:"name"`
	Members  []string `json:"members"`
	Required int      `json:"required"`
}

// Held is a statement that is held, and what must approve it.
type Held struct {
	Mode        string          `json:"mode"`
	Session     string          `json:"session"`
	Requester   Requester       `json:"requester"`
	Database    string          `json:"database"`
	Role        string          `json:"role"`
	ClientAddr  string          `json:"client_addr,omitempty"`
	Application string          `json:"application,omitempty"`
	Reason      string          `json:"reason,omitempty"` // why, if the client said
	SQL         string          `json:"sql"`
	Params      []Param         `json:"params,omitempty"`
	SearchPath  string          `json:"search_path,omitempty"`
	Groups      []ApprovalGroup `json:"groups"`
	Rules       []string        `json:"rules"`
	Message     string          `json:"message,omitempty"` // of the rules
	Bundle      string          `json:"bundle"`
	Binding     string          `json:"binding"` // digest over everything that an approval binds
}

// ApprovalInput is the body of POST /v1/gateways/{gateway}/approvals. The same
// Nonce again answers with the approval that it made, so that the request can
// be repeated; so does, in ModeRetry, a Binding that is still pending.
type ApprovalInput struct {
	Held
	Nonce     string `json:"nonce"`
	ExpiresIn string `json:"expires_in"`
}

// ApprovalCreated answers POST /v1/gateways/{gateway}/approvals.
type ApprovalCreated struct {
	ID        string    `json:"id"`
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Vote is what one approver said.
type Vote struct {
	Approver string    `json:"approver"`
	Verdict  string    `json:"verdict"` // "approve" or "refuse"
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
}

// The verdicts of votes.
const (
	VerdictApprove = "approve"
	VerdictRefuse  = "refuse"
)

// Approval is a held statement and what became of it.
type Approval struct {
	ID      string         `json:"id"`
	URL     string         `json:"url"`
	Gateway string         `json:"gateway"`
	Status  ApprovalStatus `json:"status"`
	Held
	RequestedAt time.Time  `json:"requested_at"`
	ExpiresAt   time.Time  `json:"expires_at"`
	DecidedAt   *time.Time `json:"decided_at,omitempty"`
	Votes       []Vote     `json:"votes"`
}

// ApprovalList answers GET /v1/approvals, newest first.
type ApprovalList struct {
	Approvals []Approval `json:"approvals"`
}

// VoteInput is the body of POST /v1/approvals/{id}/approve and …/refuse.
type VoteInput struct {
	Reason string `json:"reason"`
}

// GrantInput is the body of POST /v1/gateways/{gateway}/grants, which uses up
// an approval of ModeRetry. The same Nonce again answers the same.
type GrantInput struct {
	Binding string `json:"binding"`
	Nonce   string `json:"nonce"`
}

// Groups returns the groups as the API writes them.
func Groups(groups []policylang.ApprovalGroup) []ApprovalGroup {
	out := make([]ApprovalGroup, len(groups))
	for i, g := range groups {
		out[i] = ApprovalGroup{Name: g.Name, Members: g.Members, Required: max(1, g.Required)}
	}
	return out
}

// IsRequester reports whether name made the request, or the agent did that
// has this name.
func (r Requester) IsRequester(name string) bool {
	return name == r.Name || r.Actor != "" && name == r.Actor
}
