package api

import "time"

// TokenPrefix starts every API token, so that scanners for leaked secrets find
// it.
const TokenPrefix = "pst_"

// Token describes an API token; its secret is shown only once, when made.
type Token struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Roles      []Role     `json:"roles"`
	Subject    string     `json:"subject,omitempty"` // as whom RoleApprover approves
	CreatedAt  time.Time  `json:"created_at"`
	CreatedBy  string     `json:"created_by"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"` // to the minute
}

// TokenInput is the body of POST /v1/tokens.
type TokenInput struct {
	Name      string `json:"name"`
	Roles     []Role `json:"roles"`
	Subject   string `json:"subject,omitempty"`
	ExpiresIn string `json:"expires_in"` // a Go duration; empty means never
}

// TokenCreated answers POST /v1/tokens.
type TokenCreated struct {
	Token  string `json:"token"` // the secret, shown this once
	Detail Token  `json:"detail"`
}

// TokenList answers GET /v1/tokens, newest first; revoked tokens are gone.
type TokenList struct {
	Tokens []Token `json:"tokens"`
}
