package api

import "time"

// Revocation takes back what was given before it: credentials are refused and
// live sessions end. It says nothing about what is given later, which the
// policy does.
type Revocation struct {
	ID        string         `json:"id"`
	Kind      RevocationKind `json:"kind"`
	Value     string         `json:"value"`
	Reason    string         `json:"reason,omitempty"`
	CreatedAt time.Time      `json:"created_at"`
	CreatedBy string         `json:"created_by"`
	ExpiresAt time.Time      `json:"expires_at"` // when nothing that it takes back can be valid any more
}

// RevocationKind says what a revocation's value names.
type RevocationKind string

// The kinds of revocation.
const (
	RevokeSubject RevocationKind = "subject" // a subject or actor, by its name: every token issued to it until now
	RevokeToken   RevocationKind = "token"   // one token, by its jti
	RevokeSession RevocationKind = "session" // one session, by its id

	// What an identity provider ends, with one space between the parts.
	RevokeAccount RevocationKind = "account" // "ISSUER SUB": every token of that account issued until now
	RevokeSignIn  RevocationKind = "sign_in" // "ISSUER SID" or "ISSUER SID SUB": every token of that sign-in; with SUB also those of the account until now that have no sid
)

// RevocationKinds lists the kinds.
func RevocationKinds() []RevocationKind {
	return []RevocationKind{RevokeSubject, RevokeToken, RevokeSession, RevokeAccount, RevokeSignIn}
}

// RevocationLife is how long a revocation is kept: a day, which no token
// outlives, and an hour for clocks and sessions that began at its end.
const RevocationLife = 25 * time.Hour

// RevocationInput is the body of POST /v1/revocations.
type RevocationInput struct {
	Kind   RevocationKind `json:"kind"`
	Value  string         `json:"value"`
	Reason string         `json:"reason,omitempty"`
}

// RevocationList answers GET /v1/gateways/{gateway}/revocations: all that are
// in force, and the revision of the newest, which is 0 if there is none.
type RevocationList struct {
	Revision    uint64       `json:"revision"`
	Revocations []Revocation `json:"revocations"`
}
