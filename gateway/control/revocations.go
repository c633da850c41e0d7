package control

import (
	"net/http"
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
	switch {
	case in.Kind != api.RevokeSubject && in.Kind != api.RevokeToken && in.Kind != api.RevokeSession:
		return invalid("kind must be subject, token or session")
	case in.Value == "" || len(in.Value) > maxRevoked:
		return invalid("value must have 1 to %d bytes", maxRevoked)
	case len(in.Reason) > maxReason:
		return invalid("reason must have at most %d bytes", maxReason)
	}
	id, err := newID("r_")
	if err != nil {
		return err
	}
	now := s.now()
	out := api.Revocation{
		ID: id, Kind: in.Kind, Value: in.Value, Reason: in.Reason,
		CreatedAt: now, CreatedBy: c.Name, ExpiresAt: now.Add(api.RevocationLife),
	}
	event := Event{Caller: c.Name, Action: "revoke." + string(in.Kind), Target: in.Value, Reason: in.Reason}
	if err := s.store.AddRevocation(r.Context(), out, s.audit(r.Context(), event)); err != nil {
		return err
	}
	answer(w, http.StatusCreated, out)
	return nil
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
