package controlclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/posternhq/postern/gateway/approve"
	"github.com/posternhq/postern/gateway/internal/api"
)

// Approvals lists the approvals that the caller may see, newest first. Status
// and gateway narrow the list unless they are empty.
func (c *Client) Approvals(ctx context.Context, status api.ApprovalStatus, gateway string) ([]api.Approval, error) {
	k := call{method: http.MethodGet, path: path("v1", "approvals"), query: url.Values{}}
	if status != "" {
		k.query.Set("status", string(status))
	}
	if gateway != "" {
		k.query.Set("gateway", gateway)
	}
	var out api.ApprovalList
	_, err := c.json(ctx, k, nil, &out)
	return out.Approvals, err
}

// Approval returns an approval, after waiting for it to be decided.
func (c *Client) Approval(ctx context.Context, id string, wait time.Duration) (api.Approval, error) {
	k := call{method: http.MethodGet, path: path("v1", "approvals", id), wait: wait}
	if wait > 0 {
		k.query = url.Values{"wait": {wait.String()}}
	}
	var out api.Approval
	_, err := c.json(ctx, k, nil, &out)
	return out, err
}

// Approve approves a held statement.
func (c *Client) Approve(ctx context.Context, id, reason string) (api.Approval, error) {
	return c.vote(ctx, id, api.VerdictApprove, reason)
}

// Refuse refuses a held statement.
func (c *Client) Refuse(ctx context.Context, id, reason string) (api.Approval, error) {
	return c.vote(ctx, id, api.VerdictRefuse, reason)
}

// vote may be repeated: a vote that is there already stays.
func (c *Client) vote(ctx context.Context, id, verdict, reason string) (api.Approval, error) {
	var out api.Approval
	_, err := c.json(ctx, call{method: http.MethodPost, path: path("v1", "approvals", id, verdict)}, api.VoteInput{Reason: reason}, &out)
	return out, err
}

// Broker keeps a gateway's requests for approval at the control plane.
type Broker struct {
	client  *Client
	gateway string
}

var (
	_ approve.Broker = (*Broker)(nil)
	_ approve.Grants = (*Broker)(nil)
)

// Broker returns the broker of a gateway, whose role the client's token must
// have.
func (c *Client) Broker(gateway string) *Broker { return &Broker{client: c, gateway: gateway} }

// Create stores a request.
func (b *Broker) Create(ctx context.Context, r *approve.Request) (approve.Pending, error) {
	life, err := r.Life()
	if err != nil {
		return approve.Pending{}, err
	}
	var out api.ApprovalCreated
	in := api.ApprovalInput{Nonce: newNonce(), ExpiresIn: life.String(), Held: held(r)}
	_, err = b.client.json(ctx, call{method: http.MethodPost, path: path("v1", "gateways", b.gateway, "approvals")}, in, &out)
	return approve.Pending{ID: out.ID, URL: out.URL, Expires: out.ExpiresAt}, unavailable(err)
}

// Wait asks until the request has ended.
func (b *Broker) Wait(ctx context.Context, id string) (approve.Outcome, error) {
	for {
		a, err := b.client.Approval(ctx, id, api.MaxWait/2)
		if err != nil {
			return approve.Outcome{}, unavailable(err)
		}
		if a.Status == api.StatusPending {
			if err := ctx.Err(); err != nil {
				return approve.Outcome{}, err
			}
			continue
		}
		return outcome(&a)
	}
}

// Withdraw ends a request.
func (b *Broker) Withdraw(ctx context.Context, id string) error {
	_, err := b.client.json(ctx, call{method: http.MethodDelete, path: path("v1", "approvals", id)}, nil, nil)
	if _, code := Status(err); code == api.CodeDecided {
		return nil
	}
	return unavailable(err)
}

// Use uses up an approval.
func (b *Broker) Use(ctx context.Context, r *approve.Request) (approve.Outcome, bool, error) {
	var a api.Approval
	in := api.GrantInput{Binding: r.Binding(), Nonce: newNonce()}
	_, err := b.client.json(ctx, call{method: http.MethodPost, path: path("v1", "gateways", b.gateway, "grants")}, in, &a)
	if _, code := Status(err); code == api.CodeNotFound {
		return approve.Outcome{}, false, nil
	}
	if err != nil {
		return approve.Outcome{}, false, unavailable(err)
	}
	o, err := outcome(&a)
	return o, err == nil, err
}

// held writes a request as the API does.
func held(r *approve.Request) api.Held {
	mode := api.ModeWait
	if r.Retry {
		mode = api.ModeRetry
	}
	h := api.Held{
		Mode: mode, Session: r.Session, Requester: r.Requester(), Database: r.Database, Role: r.Role,
		ClientAddr: r.ClientAddr, Application: r.Application, Reason: r.Reason,
		SQL: r.SQL, SearchPath: r.SearchPath, Groups: api.Groups(r.Groups), Rules: r.Rules,
		Message: r.Message, Bundle: r.Bundle, Binding: r.Binding(),
	}
	for _, p := range r.Params {
		param := api.Param{Type: p.Type}
		switch {
		case p.Value == nil:
			param.Null = true
		case p.Binary:
			param.Binary = p.Value
		default:
			param.Text = string(p.Value)
		}
		h.Params = append(h.Params, param)
	}
	return h
}

// outcome reads how a request ended.
func outcome(a *api.Approval) (approve.Outcome, error) {
	o := approve.Outcome{ID: a.ID}
	for _, v := range a.Votes {
		o.Reason = v.Reason
		if v.Verdict == api.VerdictApprove {
			o.Approvers = append(o.Approvers, v.Approver)
		} else {
			o.RefusedBy = v.Approver
		}
	}
	switch a.Status {
	case api.StatusApproved, api.StatusUsed:
		o.Status = approve.Approved
	case api.StatusRefused:
		o.Status = approve.Refused
	case api.StatusExpired:
		o.Status = approve.Expired
	case api.StatusWithdrawn:
		o.Status = approve.Withdrawn
	case api.StatusPending:
		return approve.Outcome{}, fmt.Errorf("approval %s is still pending", a.ID)
	default:
		return approve.Outcome{}, fmt.Errorf("approval %s has the unknown status %q", a.ID, a.Status)
	}
	return o, nil
}

// unavailable says in package approve's words that trying again may help.
func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%w: %w", approve.ErrUnavailable, err)
	}
	return err
}
