package control

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// maxRevoked bounds what a revocation names, in bytes.
const maxRevoked = 1024

// revoke takes back what was given to somebody. It is not undone: who may come
// back gets a new token.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request, c *caller) error {
	var in api.RevocationInput
	if err := readJSON(r, &in); err != nil {
		return err
	}
	out, err := s.Revoke(r.Context(), c.Name, in)
	if err != nil {
		return err
	}
	answer(w, http.StatusCreated, out)
	return nil
}

// Revoke takes back what was given to somebody, on behalf of by.
func (s *Server) Revoke(ctx context.Context, by string, in api.RevocationInput) (api.Revocation, error) {
	switch {
	case !slices.Contains(api.RevocationKinds(), in.Kind):
		return api.Revocation{}, invalid("kind must be subject, token, session, account or sign_in")
	case in.Value == "" || len(in.Value) > maxRevoked:
		return api.Revocation{}, invalid("value must have 1 to %d bytes", maxRevoked)
	case (in.Kind == api.RevokeAccount || in.Kind == api.RevokeSignIn) && !strings.Contains(in.Value, " "):
		return api.Revocation{}, invalid("value must be the issuer's URL, a space, and the sub or sid")
	case len(in.Reason) > maxReason:
		return api.Revocation{}, invalid("reason must have at most %d bytes", maxReason)
	}
	id, err := newID("r_")
	if err != nil {
		return api.Revocation{}, err
	}
	now := s.now()
	out := api.Revocation{
		ID: id, Kind: in.Kind, Value: in.Value, Reason: in.Reason,
		CreatedAt: now, CreatedBy: by, ExpiresAt: now.Add(api.RevocationLife),
	}
	event := Event{Caller: by, Action: "revoke." + string(in.Kind), Target: in.Value, Reason: in.Reason}
	if err := s.store.AddRevocation(ctx, out, s.audit(ctx, event)); err != nil {
		return api.Revocation{}, err
	}
	return out, nil
}

// listRevocations answers with what is revoked. With after it waits for a
// newer revision.
func (s *Server) listRevocations(w http.ResponseWriter, r *http.Request, _ *caller) error {
	after, _, err := afterOf(r)
	if err != nil {
		return err
	}
	var list api.RevocationList
	err = s.await(w, r, time.Time{}, func() (bool, error) {
		var err error
		list, err = s.store.Revocations(r.Context(), s.now())
		return list.Revision > after, err
	})
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, list)
	return nil
}
