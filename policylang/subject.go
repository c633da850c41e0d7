package policylang

import (
	"net/netip"
	"time"
)

// Subject is an authenticated party. Its claims were verified before it was
// made; it is immutable and safe for concurrent use.
type Subject struct {
	Name         string         // the subject's name: the identity's, or what name_from gave
	Identity     string         // the Identity object that matched
	Kind         string         // "human", "service" or "agent"
	Groups       []string       // sorted
	Claims       map[string]any // verified token claims
	Issuer       string         // the token's iss
	ID           string         // the token's sub: (Issuer, ID) is the key, never an e-mail address
	TokenID      string         // the token's jti; may be empty
	DatabaseRole string         // role to use in PostgreSQL
	AuthMethod   string         // "token", "certificate", "scram", "oauthbearer"
	AuthTime     time.Time
	Expires      time.Time // the credential's; zero means it does not
	Actor        *Subject  // the agent that acts for this subject; nil if it acts itself
}

// Session is what is known of a client's connection.
type Session struct {
	ID              string // unguessable, unique; "s_" and 16 hexadecimal digits
	Gateway         string
	Database        string
	Role            string // PostgreSQL role of the upstream connection
	ClientAddr      netip.Addr
	ApplicationName string
	Reason          string // why, if the client said
	Started         time.Time
	TLS             bool
	Signs           []string // that the credential is used by another than its owner; sorted
}
