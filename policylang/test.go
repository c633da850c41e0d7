package policylang

// Test is a check that an author keeps beside a policy: one request and the
// decision that is wanted. Tests are no part of the policy: the canonical
// encoding and the digest do not cover them.
//
// Who asks is given by Identity alone (the subject is made from the object's
// own name, kind and groups), or by Token (the claims decide which identity it
// is, as at the gateway; Identity, if also given, must be that one).
type Test struct {
	Name     string         `json:"name"`
	Gateway  string         `json:"gateway"`  // may be empty if the policy has one gateway
	Identity string         `json:"identity"` // name of an identity
	Token    map[string]any `json:"token"`    // verified claims
	Actor    string         `json:"actor"`    // name of the identity of the agent that acts for Identity
	SQL      string         `json:"sql"`      // the text as the client sends it
	Schema   string         `json:"schema"`   // file with the DDL of the database, relative to the policy file
	Now      string         `json:"now"`      // RFC 3339; empty means 2000-01-01T12:00:00Z
	Session  TestSession    `json:"session"`
	Expect   Expect         `json:"expect"`
}

// TestSession is the connection of a [Test]. Zero fields have defaults: the
// gateway's name, database "app", the subject's database role, the search path
// "$user", public, client address 127.0.0.1 and no TLS.
type TestSession struct {
	Database        string   `json:"database"`
	Role            string   `json:"role"`
	SearchPath      []string `json:"search_path"`
	ClientAddr      string   `json:"client_addr"`
	ApplicationName string   `json:"application_name"`
	Signs           []string `json:"signs"`
	Reason          string   `json:"reason"`
	TLS             bool     `json:"tls"`
}

// Expect is what a [Test] wants. A zero field is not compared: nil is not
// compared and an empty list wants nothing.
type Expect struct {
	Effect         Effect   `json:"effect"`          // EffectAllow, EffectDeny or EffectHold
	Rules          []string `json:"rules"`           // exactly the rules that decide; a set
	Message        string   `json:"message"`         // part of the message to the client
	ApprovalGroups []string `json:"approval_groups"` // exactly the groups that must approve; a set
	Masked         []string `json:"masked"`          // exactly the output columns whose values the client does not see as they are
	Unmasked       []string `json:"unmasked"`        // output columns that it does see as they are
	Refused        string   `json:"refused"`         // code with which lineage refuses the statement
	Observed       []string `json:"observed"`        // exactly the rules that would have matched in observe mode; a set

	MaxRows          int64  `json:"max_rows"`
	StatementTimeout string `json:"statement_timeout"` // a Go duration
	ReadOnly         *bool  `json:"read_only"`
	RequireReason    *bool  `json:"require_reason"`
}
