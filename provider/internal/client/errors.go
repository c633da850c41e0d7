package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is a refusal by the control plane. It matches [ErrForbidden],
// [ErrNotFound], [ErrExists] and [ErrChanged] by its status.
type Error struct {
	Status  int
	Code    string // stable, for programs
	Message string
	Hint    string
	Live    *Release // for a refused release: what is live instead

	retryAfter time.Duration // how long to wait before trying again; 0 if it does not say
}

// codeNoSuchPath is the code of an operation that the control plane has not.
const codeNoSuchPath = "no_such_path"

// sentinel is a status that callers branch on.
type sentinel int

// The refusals that callers branch on.
const (
	ErrForbidden = sentinel(http.StatusForbidden)          // the token's role may not do it
	ErrNotFound  = sentinel(http.StatusNotFound)           // no such thing
	ErrExists    = sentinel(http.StatusConflict)           // it is there already, or still needed
	ErrChanged   = sentinel(http.StatusPreconditionFailed) // somebody else changed it
)

// Error returns the meaning of the status.
func (s sentinel) Error() string { return strings.ToLower(http.StatusText(int(s))) }

// Is makes errors.Is compare by status.
func (e *Error) Is(target error) bool {
	s, ok := target.(sentinel)
	return ok && int(s) == e.Status
}

// Error words the refusal with its hint.
func (e *Error) Error() string {
	msg := fmt.Sprintf("the control plane answered %d", e.Status)
	switch {
	case e.Message != "":
		msg += ": " + e.Message
	case http.StatusText(e.Status) != "":
		msg += " " + http.StatusText(e.Status)
	}
	if e.Hint != "" {
		msg += " (" + e.Hint + ")"
	}
	return msg
}

func newError(resp *http.Response, body []byte) *Error {
	var doc struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Hint    string `json:"hint"`
		} `json:"error"`
		Live *Release `json:"live"`
	}
	e := &Error{Status: resp.StatusCode}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.retryAfter = min(time.Duration(seconds)*time.Second, longestRetry)
	}
	// What is not the API's own error (a proxy's page) has no message to show.
	if err := json.Unmarshal(body, &doc); err != nil {
		e.readOAuth(body)
		return e
	}
	e.Code, e.Message, e.Hint, e.Live = doc.Error.Code, doc.Error.Message, doc.Error.Hint, doc.Live
	return e
}

// readOAuth reads a refusal as the token endpoint words it (RFC 6749, section
// 5.2).
func (e *Error) readOAuth(body []byte) {
	var doc struct {
		Code    string `json:"error"`
		Message string `json:"error_description"`
		Hint    string `json:"hint"`
	}
	if json.Unmarshal(body, &doc) == nil {
		e.Code, e.Message, e.Hint = doc.Code, doc.Message, doc.Hint
	}
}
