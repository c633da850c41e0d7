package api

import "fmt"

// Error is a refusal, as the API answers it with its status: a stable code for
// programs, a message and perhaps a hint for people. It never holds a token,
// a literal of a statement or a value.
type Error struct {
	Status  int    `json:"-"` // HTTP status
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Error returns the message, with the hint in parentheses.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Hint)
}

// The codes of errors.
const (
	CodeInvalid              = "invalid"               // 400, 422: the request cannot be understood or is not allowed to mean that
	CodeUnauthenticated      = "unauthenticated"       // 401: no token, or one that is not accepted
	CodeForbidden            = "forbidden"             // 403: the caller has not the role
	CodeNotMember            = "not_a_member"          // 403: the approver is in no group that must approve
	CodeOwnRequest           = "own_request"           // 403: nobody approves what they asked for themselves
	CodeNotFound             = "not_found"             // 404
	CodeNoSuchPath           = "no_such_path"          // 404: the API has no such operation
	CodeMethodNotAllowed     = "method_not_allowed"    // 405
	CodeExists               = "exists"                // 409: If-None-Match: * of an object that exists
	CodeReferenced           = "referenced"            // 409: a release names the bundle
	CodeDecided              = "decided"               // 409: the approval is no longer pending
	CodeChanged              = "changed"               // 412: somebody else was first
	CodeTooLarge             = "too_large"             // 413
	CodePreconditionRequired = "precondition_required" // 428: If-Match or If-None-Match is missing
	CodeRateLimited          = "rate_limited"          // 429
	CodeInternal             = "internal"              // 500
	CodeUnavailable          = "unavailable"           // 503: the store, or the journal, does not answer
)

// ErrorBody is the body of every refusal. Live is there when a release was
// refused because another is live.
type ErrorBody struct {
	Error Error    `json:"error"`
	Live  *Release `json:"live,omitempty"`
}
