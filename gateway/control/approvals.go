package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posternhq/postern/gateway/control/internal/store"
	"github.com/posternhq/postern/gateway/internal/api"
)

// maxApprovalLife bounds how long an approval may be open.
const maxApprovalLife = 7 * 24 * time.Hour

// maxReason bounds what approvers write, in bytes.
const maxReason = 1024

func (s *Server) requestApproval(w http.ResponseWriter, r *http.Request, c *caller) error {
	gateway, err := nameOf(r, "gateway")
	if err != nil {
		return err
	}
	var in api.ApprovalInput
	if err := readJSON(r, &in); err != nil {
		return err
	}
	life, err := checkApproval(&in)
	if err != nil {
		return err
	}
	id, err := newID("a_")
	if err != nil {
		return err
	}
	now := s.now()
	a := api.Approval{ID: id, Gateway: gateway, Held: in.Held, RequestedAt: now, ExpiresAt: now.Add(life)}
	event := Event{
		Caller: c.Name, Action: "approval.request", Target: id, Gateway: gateway,
		Bundle: in.Bundle, Reason: in.Reason, Approval: &a,
	}
	stored, created, err := s.store.AddApproval(r.Context(), a, in.Nonce, now, s.audit(r.Context(), event))
	if err != nil {
		return err
	}
	s.prune(r.Context())
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	answer(w, status, api.ApprovalCreated{ID: stored.ID, URL: s.approvalURL(stored.ID), ExpiresAt: stored.ExpiresAt})
	return nil
}

// checkApproval says what a gateway left out, and how long the approval lives.
func checkApproval(in *api.ApprovalInput) (time.Duration, error) {
	life, err := time.ParseDuration(in.ExpiresIn)
	switch {
	case err != nil || life <= 0 || life > maxApprovalLife:
		return 0, invalid("expires_in must be a duration of up to %s", maxApprovalLife)
	case in.Nonce == "" || len(in.Nonce) > 128:
		return 0, invalid("nonce must have 1 to 128 bytes")
	case in.Mode != api.ModeWait && in.Mode != api.ModeRetry:
		return 0, invalid("mode must be wait or retry")
	case in.Requester.Name == "":
		return 0, invalid("requester must have a name")
	case in.SQL == "" || !utf8.ValidString(in.SQL):
		return 0, invalid("sql must be text")
	case in.Binding == "":
		return 0, invalid("binding must be a digest")
	case len(in.Groups) == 0:
		return 0, invalid("groups must name a group")
	case slices.ContainsFunc(in.Groups, func(g api.ApprovalGroup) bool { return g.Name == "" || g.Required < 1 }):
		return 0, invalid("each group must have a name and require at least one member")
	}
	return life, nil
}

func (s *Server) approvalURL(id string) string {
	if s.config.PublicURL == "" {
		return ""
	}
	return s.config.PublicURL + "/approvals/" + id
}

// maySee reports whether an approval, which holds a statement with its
// constants, is the caller's to see: all are an auditor's and an approver's, a
// gateway sees its own, and everybody what they asked for or may decide.
func (c *caller) maySee(a *api.Approval) bool {
	return c.Has(api.RoleAuditor, api.RoleApprover, api.GatewayRole(a.Gateway)) ||
		c.Subject != "" && (a.Requester.IsRequester(c.Subject) || api.IsMember(a.Groups, c.Subject))
}

func (s *Server) listApprovals(w http.ResponseWriter, r *http.Request, c *caller) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	status, gateway := api.ApprovalStatus(r.URL.Query().Get("status")), r.URL.Query().Get("gateway")
	if status != "" && !slices.Contains(api.ApprovalStatuses(), status) {
		return invalid("status must be one of %v", api.ApprovalStatuses())
	}
	approvals, err := s.store.Approvals(r.Context(), limit, s.now(), func(a *api.Approval) bool {
		return (status == "" || a.Status == status) && (gateway == "" || a.Gateway == gateway) && c.maySee(a)
	})
	if err != nil {
		return err
	}
	for i := range approvals {
		approvals[i].URL = s.approvalURL(approvals[i].ID)
	}
	answer(w, http.StatusOK, api.ApprovalList{Approvals: approvals})
	return nil
}

// visible returns an approval that the caller may see.
func (s *Server) visible(ctx context.Context, id string, c *caller) (api.Approval, error) {
	a, err := s.store.Approval(ctx, id, s.now())
	if errors.Is(err, store.ErrNotFound) || err == nil && !c.maySee(&a) {
		return api.Approval{}, missing("approval " + strconv.Quote(id))
	}
	a.URL = s.approvalURL(id)
	return a, err
}

// getApproval answers with an approval, after waiting until it is decided or
// expired if the query says so.
func (s *Server) getApproval(w http.ResponseWriter, r *http.Request, c *caller) error {
	id := r.PathValue("id")
	a, err := s.visible(r.Context(), id, c)
	if err != nil {
		return err
	}
	if a.Status == api.StatusPending && r.URL.Query().Has("wait") {
		decided := func() (bool, error) {
			var err error
			a, err = s.visible(r.Context(), id, c)
			return a.Status != api.StatusPending, err
		}
		if err := s.await(w, r, a.ExpiresAt, decided); err != nil {
			return err
		}
		if _, err := decided(); err != nil { // it may have expired meanwhile
			return err
		}
	}
	answer(w, http.StatusOK, a)
	return nil
}

// vote returns the handler of one verdict.
func (s *Server) vote(verdict string) func(http.ResponseWriter, *http.Request, *caller) error {
	return func(w http.ResponseWriter, r *http.Request, c *caller) error {
		reason, err := readReason(r)
		if err != nil {
			return err
		}
		id := r.PathValue("id")
		a, err := s.visible(r.Context(), id, c)
		if err != nil {
			return err
		}
		if err := mayVote(c, &a); err != nil {
			return err
		}
		v := api.Vote{Verdict: verdict, Reason: reason}
		a, err = s.store.Vote(r.Context(), id, *c.voter, v, s.now(), func(a api.Approval) error {
			return s.audit(r.Context(), Event{
				Caller: c.voter.Name, Action: "approval." + verdict, Target: id, Gateway: a.Gateway,
				Bundle: a.Bundle, Reason: reason, Approval: &a,
			})()
		})
		if err != nil {
			return approvalError(err, &a)
		}
		a.URL = s.approvalURL(id)
		answer(w, http.StatusOK, a)
		return nil
	}
}

func readReason(r *http.Request) (string, error) {
	var in api.VoteInput
	if err := readJSON(r, &in); err != nil {
		return "", err
	}
	if reason := strings.TrimSpace(in.Reason); len(reason) <= maxReason {
		return reason, nil
	}
	return "", invalid("reason must have at most %d bytes", maxReason)
}

// mayVote says why the caller may not decide the approval.
func mayVote(c *caller, a *api.Approval) error {
	switch {
	case c.voter == nil:
		return refuse(http.StatusForbidden, api.CodeForbidden, strconv.Quote(c.Name)+" may not approve or refuse",
			"use your own OpenID Connect token, or an API token with the role approver and a subject")
	case a.Requester.IsRequester(c.voter.Name) || c.voter.Subject == "oidc:"+a.Requester.Issuer+" "+a.Requester.ID:
		return refuse(http.StatusForbidden, api.CodeOwnRequest, "nobody decides about a statement of their own", "ask another member")
	case !api.IsMember(a.Groups, c.voter.Name):
		names := make([]string, len(a.Groups))
		for i, g := range a.Groups {
			names[i] = g.Name
		}
		return refuse(http.StatusForbidden, api.CodeNotMember,
			fmt.Sprintf("%q is not a member of %s", c.voter.Name, strings.Join(names, " or ")), "")
	}
	return nil
}

func approvalError(err error, a *api.Approval) error {
	switch {
	case errors.Is(err, store.ErrDecided):
		return refuse(http.StatusConflict, api.CodeDecided, "the approval is "+string(a.Status)+" already", "")
	case errors.Is(err, store.ErrExists):
		return refuse(http.StatusConflict, api.CodeDecided, "you have said otherwise before", "")
	}
	return err
}

// withdrawApproval ends an approval of the caller's gateway.
func (s *Server) withdrawApproval(w http.ResponseWriter, r *http.Request, c *caller) error {
	id := r.PathValue("id")
	a, err := s.visible(r.Context(), id, c)
	if err != nil {
		return err
	}
	if !c.Has(api.GatewayRole(a.Gateway)) {
		return refuse(http.StatusForbidden, api.CodeForbidden, strconv.Quote(c.Name)+" may not do this",
			fmt.Sprintf("it needs the role %s", api.GatewayRole(a.Gateway)))
	}
	err = s.store.Withdraw(r.Context(), a.Gateway, id, s.now(), func(a api.Approval) error {
		return s.audit(r.Context(), Event{
			Caller: c.Name, Action: "approval.withdraw", Target: id, Gateway: a.Gateway, Bundle: a.Bundle, Approval: &a,
		})()
	})
	if err != nil {
		return approvalError(err, &a)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// useApproval uses up an approval of mode retry, once.
func (s *Server) useApproval(w http.ResponseWriter, r *http.Request, c *caller) error {
	var in api.GrantInput
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if in.Nonce == "" || in.Binding == "" || len(in.Nonce) > 128 {
		return invalid("binding and nonce must be set")
	}
	a, err := s.store.Grant(r.Context(), r.PathValue("gateway"), in.Binding, in.Nonce, s.now(), func(a api.Approval) error {
		return s.audit(r.Context(), Event{
			Caller: c.Name, Action: "approval.use", Target: a.ID, Gateway: a.Gateway, Bundle: a.Bundle, Approval: &a,
		})()
	})
	if errors.Is(err, store.ErrNotFound) {
		return missing("an approval for this statement")
	}
	if err != nil {
		return err
	}
	a.URL = s.approvalURL(a.ID)
	answer(w, http.StatusOK, a)
	return nil
}
