package oidc

import (
	"fmt"
	"net/url"
)

// Code names the check that a token failed. Codes are stable.
type Code string

// The codes.
const (
	CodeMalformed         Code = "token_malformed"          // no signed JWT, or one without the claims that are needed
	CodeTruncated         Code = "token_truncated"          // cut at 4095 bytes by psql's password prompt
	CodeTokenType         Code = "token_type"               // a JWT, but not one to log in with
	CodeAlgorithm         Code = "token_algorithm"          // not one of the asymmetric algorithms
	CodeUnknownIssuer     Code = "token_issuer_unknown"     // not an issuer of the policy in force
	CodeIssuerUnreachable Code = "token_issuer_unreachable" // the issuer's keys can't be had
	CodeUnknownKey        Code = "token_key_unknown"        // signed by a key the issuer does not publish
	CodeSignature         Code = "token_signature"          // the signature does not match
	CodeAudience          Code = "token_audience"           // meant for somebody else
	CodeAuthorizedParty   Code = "token_azp"                // several audiences, and azp is not ours
	CodeExpired           Code = "token_expired"            // exp has passed
	CodeNotYetValid       Code = "token_not_yet_valid"      // iat or nbf is ahead
	CodeLifetime          Code = "token_lifetime"           // exp - iat is too long
)

// Error is a token refused.
type Error struct {
	Code   Code
	Detail string // for the operator; never holds the token
	Err    error  // what lies beneath, if anything
}

// Error returns the code and the detail.
func (e *Error) Error() string { return fmt.Sprintf("refuse token: %s: %s", e.Code, e.Detail) }

// Unwrap returns what lies beneath.
func (e *Error) Unwrap() error { return e.Err }

func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// psqlPromptLimit is the longest password that psql's prompt passes on: it
// cuts longer ones without a word.
const psqlPromptLimit = 4095

// looksCut reports whether a token fails in the way a cut one does.
func looksCut(raw string, code Code) bool {
	return len(raw) == psqlPromptLimit && (code == CodeMalformed || code == CodeSignature)
}

// describeIssuer quotes the issuer that an unverified token claims if it is a
// plain URL, and else says that it is none.
func describeIssuer(issuer string) string {
	u, err := url.Parse(issuer)
	switch {
	case len(issuer) > 255 || err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "that the token names (not a plain URL)"
	case u.Scheme != "https" && u.Scheme != "http":
		return "that the token names (not a plain URL)"
	}
	return fmt.Sprintf("%q", issuer)
}
