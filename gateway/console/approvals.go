package console

import (
	"errors"
	"net/http"
	"slices"

	"github.com/posternhq/postern/gateway/internal/api"
)

type approvalsView struct {
	Status   api.ApprovalStatus
	Statuses []api.ApprovalStatus
	List     []api.Approval
}

// approvals lists what concerns the visitor.
func (s *server) approvals(w http.ResponseWriter, r *http.Request, v *visit) error {
	data := approvalsView{Status: api.ApprovalStatus(r.URL.Query().Get("status")), Statuses: api.ApprovalStatuses()}
	if !r.URL.Query().Has("status") {
		data.Status = api.StatusPending
	}
	if data.Status != "" && !slices.Contains(data.Statuses, data.Status) {
		return &api.Error{Status: http.StatusNotFound, Message: "There is no such status."}
	}
	var err error
	if data.List, err = v.client.Approvals(r.Context(), data.Status, ""); err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, "approvals", &view{Title: "Approvals", Section: "approvals", visit: v, Data: data})
	return nil
}

type approvalView struct {
	api.Approval
	Pending   bool
	MayDecide bool   // as far as can be told before trying
	WhyNot    string // if not
	Voted     string // the visitor's verdict, if there is one
	Typed     string // the reason, as it was typed before the API refused
	Problem   *api.Error
}

// approval shows one held statement, and the form that decides it.
func (s *server) approval(w http.ResponseWriter, r *http.Request, v *visit) error {
	a, err := v.client.Approval(r.Context(), r.PathValue("id"), 0)
	if err != nil {
		return err
	}
	if r.Header.Get("HX-Request") != "" && a.Status != api.StatusPending {
		w.Header().Set("HX-Refresh", "true") // it is decided: the form must go
	}
	s.showApproval(w, r, v, http.StatusOK, &a, nil, "")
	return nil
}

func (s *server) showApproval(w http.ResponseWriter, r *http.Request, v *visit, status int, a *api.Approval, problem *api.Error, typed string) {
	data := approvalView{Approval: *a, Pending: a.Status == api.StatusPending, Problem: problem, Typed: typed}
	for _, vote := range a.Votes {
		if vote.Approver == v.caller.Subject {
			data.Voted = vote.Verdict
		}
	}
	switch {
	case v.caller.Subject == "":
		data.WhyNot = "You are signed in with an API token that approves for nobody. Sign in with your own token to decide."
	case a.Requester.IsRequester(v.caller.Subject):
		data.WhyNot = "This is your own statement. Somebody else must decide about it."
	case !api.IsMember(a.Groups, v.caller.Subject):
		data.WhyNot = "You are not a member of a group that can decide about this."
	default:
		data.MayDecide = data.Voted == ""
	}
	s.render(w, r, status, "approval", &view{Title: "Approval " + a.ID, Section: "approvals", visit: v, Data: data})
}

// decide approves or refuses. What the API refuses is shown beside the form.
func (s *server) decide(w http.ResponseWriter, r *http.Request, v *visit) error {
	id, reason := r.PathValue("id"), r.PostFormValue("reason")
	var err error
	switch r.PostFormValue("verdict") {
	case api.VerdictApprove:
		_, err = v.client.Approve(r.Context(), id, reason)
	case api.VerdictRefuse:
		_, err = v.client.Refuse(r.Context(), id, reason)
	default:
		return &api.Error{Status: http.StatusBadRequest, Message: "The form does not say what to do."}
	}
	var refused *api.Error
	switch {
	case err == nil:
		http.Redirect(w, r, "/approvals/"+id, http.StatusSeeOther)
		return nil
	case !errors.As(err, &refused) || refused.Status == http.StatusNotFound:
		return err
	}
	a, err := v.client.Approval(r.Context(), id, 0)
	if err != nil {
		return err
	}
	s.showApproval(w, r, v, refused.Status, &a, refused, reason)
	return nil
}
