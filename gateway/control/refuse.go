package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/posternhq/postern/gateway/control/internal/store"
	"github.com/posternhq/postern/gateway/internal/api"
)

// refusal is an error whose text the caller may read, with its status. Other
// errors are logged and answered in general terms.
type refusal struct {
	api.ErrorBody
	retryAfter time.Duration
	allow      string // the Allow header of a 405
}

func (r *refusal) Error() string { return r.ErrorBody.Error.Error() }

func refuse(status int, code, message, hint string) *refusal {
	return &refusal{ErrorBody: api.ErrorBody{Error: api.Error{Status: status, Code: code, Message: message, Hint: hint}}}
}

func invalid(format string, args ...any) *refusal {
	return refuse(http.StatusUnprocessableEntity, api.CodeInvalid, fmt.Sprintf(format, args...), "")
}

func missing(what string) *refusal {
	return refuse(http.StatusNotFound, api.CodeNotFound, what+" was not found", "")
}

func tooMany(wait time.Duration) *refusal {
	r := refuse(http.StatusTooManyRequests, api.CodeRateLimited, "too many requests", "wait as long as Retry-After says")
	r.retryAfter = wait
	return r
}

// answerError answers with the refusal that err is or amounts to.
func (s *Server) answerError(ctx context.Context, w http.ResponseWriter, err error) {
	r := s.refusalOf(ctx, err)
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(r.retryAfter/time.Second)))
	}
	if r.allow != "" {
		w.Header().Set("Allow", r.allow)
	}
	if r.ErrorBody.Error.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="postern"`)
	}
	answer(w, r.ErrorBody.Error.Status, r.ErrorBody)
}

func (s *Server) refusalOf(ctx context.Context, err error) *refusal {
	var r *refusal
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, api.CodeTooLarge,
			fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit), "")
	case errors.Is(err, store.ErrNotFound):
		return missing("what was asked for")
	case ctx.Err() != nil:
		// The caller has left, or the store's answer came too late for it.
		return refuse(http.StatusServiceUnavailable, api.CodeUnavailable, "the request was cancelled", "")
	}
	s.log.LogAttrs(ctx, slog.LevelError, "request failed", slog.Any("error", err))
	if errors.Is(err, errAudit) {
		return refuse(http.StatusServiceUnavailable, api.CodeUnavailable, "nothing was changed, because it cannot be recorded",
			"the evidence journal is not writable; the control plane's log says why")
	}
	return refuse(http.StatusServiceUnavailable, api.CodeUnavailable, "the control plane's store does not answer",
		"try again; the control plane's log says more")
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the caller has left: nobody to tell
}
