package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/control/internal/store"
	"github.com/posternhq/postern/gateway/internal/api"
)

func (s *Server) listTokens(w http.ResponseWriter, r *http.Request, _ *caller) error {
	tokens, err := s.store.Tokens(r.Context())
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, api.TokenList{Tokens: tokens})
	return nil
}

func (s *Server) createToken(w http.ResponseWriter, r *http.Request, c *caller) error {
	var in api.TokenInput
	if err := readJSON(r, &in); err != nil {
		return err
	}
	secret, t, err := s.mint(r.Context(), in, c.Name)
	if err != nil {
		return err
	}
	answer(w, http.StatusCreated, api.TokenCreated{Token: secret, Detail: t})
	return nil
}

// mint makes and stores a token.
func (s *Server) mint(ctx context.Context, in api.TokenInput, by string) (secret string, t api.Token, err error) {
	t, err = s.checkToken(in)
	if err != nil {
		return "", api.Token{}, err
	}
	if t.ID, err = newID("t_"); err != nil {
		return "", api.Token{}, err
	}
	if secret, err = newTokenSecret(); err != nil {
		return "", api.Token{}, err
	}
	t.CreatedBy = by
	event := Event{Caller: by, Action: "token.create", Target: t.ID + " " + t.Name}
	if err := s.store.AddToken(ctx, t, hashToken(secret), s.audit(ctx, event)); err != nil {
		return "", api.Token{}, err
	}
	return secret, t, nil
}

func (s *Server) checkToken(in api.TokenInput) (api.Token, error) {
	t := api.Token{Name: strings.TrimSpace(in.Name), Subject: in.Subject, Roles: slices.Compact(slices.Sorted(slices.Values(in.Roles))), CreatedAt: s.now()}
	if t.Name == "" || len(t.Name) > 128 {
		return api.Token{}, invalid("name must have 1 to 128 bytes")
	}
	if len(t.Roles) == 0 {
		return api.Token{}, invalid("roles must name a role")
	}
	for _, r := range t.Roles {
		if _, err := api.ParseRole(string(r)); err != nil {
			return api.Token{}, invalid("%s", err)
		}
	}
	if (t.Subject != "") != hasRole(t.Roles, api.RoleApprover) {
		return api.Token{}, invalid("the role approver and a subject need each other")
	}
	if in.ExpiresIn != "" {
		life, err := time.ParseDuration(in.ExpiresIn)
		if err != nil || life <= 0 {
			return api.Token{}, invalid("expires_in must be a duration such as 720h")
		}
		expires := t.CreatedAt.Add(life)
		t.ExpiresAt = &expires
	}
	return t, nil
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request, c *caller) error {
	id := r.PathValue("id")
	event := Event{Caller: c.Name, Action: "token.revoke", Target: id}
	err := s.store.RevokeToken(r.Context(), id, s.now(), s.audit(r.Context(), event))
	if errors.Is(err, store.ErrNotFound) {
		return missing("token " + strconv.Quote(id))
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
