// Package approve holds a statement until people have approved it, refused it,
// or let it expire. [Hold] does so while the session waits; [Ask] and [Granted]
// do when the client is to try again. Where requests are kept and votes are
// cast is behind [Broker]; the control plane is one.
//
// It fails closed: a statement may run only if [Outcome.Approved] is true and
// the error is nil. That every group has its required number of distinct
// members, none of them the requester, is checked here again, whatever the
// broker says.
//
// # Binding
//
// An approval is for one statement as it was held, and for nothing else. What
// it binds is the digest of [Request.Binding]: "sha256:" and the hexadecimal
// SHA-256 over the text "postern-approval-v1" and then these fields. A text is
// its length in bytes as 8 bytes, most significant first, and its bytes, in
// UTF-8 where it is text; a number is 8 bytes; a list is the number of its
// elements and its elements.
//
//	gateway, database, role        texts
//	requester                      issuer, subject, name: texts
//	actor                          list of none or one: issuer, subject, name
//	search path, bundle digest     texts
//	SQL                            text
//	parameters                     list of: type OID, number; 0 NULL, 1 text, 2 binary, number; value, text
//	resolved                       sorted list of texts: what names in the statement stand for
//
// The session is not among them: a retry may come from another.
package approve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
)

// ErrUnavailable says that the broker cannot be reached; brokers wrap it. What
// is being waited for goes on being waited for, until it expires.
var ErrUnavailable = errors.New("approvals are not available")

// Broker keeps requests for approval. Its errors wrap ErrUnavailable if trying
// again may help. It is safe for concurrent use.
type Broker interface {
	// Create stores a request.
	Create(ctx context.Context, r *Request) (Pending, error)
	// Wait returns when the request is decided, has expired or was withdrawn.
	Wait(ctx context.Context, id string) (Outcome, error)
	// Withdraw ends a request that nobody waits for any more. That it was
	// decided already is no error.
	Withdraw(ctx context.Context, id string) error
}

// Grants uses up approvals of statements that are tried again.
type Grants interface {
	// Use uses up the approval that binds the request, if there is one.
	Use(ctx context.Context, r *Request) (o Outcome, ok bool, err error)
}

// Request is a statement that is held. Gateway, Subject, SQL and Groups must be
// set.
type Request struct {
	Gateway     string
	Session     string
	Subject     *policylang.Subject
	Database    string
	Role        string // PostgreSQL role of the upstream connection
	ClientAddr  string
	Application string
	Reason      string // why, if the client said
	SQL         string // exactly as the client sent it
	Params      []Param
	SearchPath  string
	Resolved    []string // "delete relation 16401 public.orders", "call f function 16402 md5:…": what its names stand for
	Groups      []policylang.ApprovalGroup
	Rules       []string      // that hold it
	Message     string        // of the rules
	Bundle      string        // digest of the policy in force
	ExpiresIn   time.Duration // how long it may take; 0 is as the groups say
	Retry       bool          // the client is to try again; Hold and Ask set it
}

// Param is a parameter of a held statement.
type Param struct {
	Type   uint32 // OID; 0 if unknown
	Value  []byte // nil is NULL
	Binary bool
}

// Pending is a request that waits for approval.
type Pending struct {
	ID      string
	URL     string // where people decide; may be empty
	Expires time.Time
}

// Status is how a request ended. The zero Status is not an approval.
type Status string

// The ends of a request.
const (
	Approved  Status = "approved"
	Refused   Status = "refused"
	Expired   Status = "expired"
	Withdrawn Status = "withdrawn"
)

// Outcome is the end of a request.
type Outcome struct {
	ID        string
	Status    Status
	Approvers []string // who approved
	RefusedBy string
	Reason    string // as who decided last gave it
}

// Approved reports whether the statement may run.
func (o Outcome) Approved() bool { return o.Status == Approved }

// Life returns how long the request may stay open: ExpiresIn, or if that is 0
// the shortest expires_in of the groups.
func (r *Request) Life() (time.Duration, error) {
	if r.ExpiresIn > 0 {
		return r.ExpiresIn, nil
	}
	var life time.Duration
	for _, g := range r.Groups {
		text := g.ExpiresIn
		if text == "" {
			text = "15m"
		}
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return 0, fmt.Errorf("approval group %q: expires_in %q is not a duration", g.Name, text)
		}
		if life == 0 || d < life {
			life = d
		}
	}
	return life, nil
}

// Requester returns the subject as the API writes it.
func (r *Request) Requester() api.Requester {
	s := r.Subject
	out := api.Requester{Name: s.Name, Identity: s.Identity, Kind: s.Kind, Issuer: s.Issuer, ID: s.ID}
	if s.Actor != nil {
		out.Actor = s.Actor.Name
	}
	return out
}

func (r *Request) check() error {
	switch {
	case r.Subject == nil || r.Subject.Name == "":
		return errors.New("hold statement: nobody asks")
	case r.Gateway == "" || r.SQL == "":
		return errors.New("hold statement: gateway and SQL must be set")
	case len(r.Groups) == 0:
		return errors.New("hold statement: no group can approve it")
	}
	return nil
}

// confirm makes sure of an approval that a broker reports.
func (r *Request) confirm(o Outcome) (Outcome, error) {
	if o.Approved() && !api.Approved(api.Groups(r.Groups), r.Requester(), o.Approvers) {
		return Outcome{ID: o.ID}, fmt.Errorf("approval %s: the broker reports it approved, but its approvers %q are not enough", o.ID, o.Approvers)
	}
	return o, nil
}

// Unavailable returns a broker for a gateway that has none: it refuses every
// request and says why.
func Unavailable(why string) Broker { return unavailable(why) }

type unavailable string

func (u unavailable) err() error { return fmt.Errorf("%w: %s", ErrUnavailable, string(u)) }

func (u unavailable) Create(context.Context, *Request) (Pending, error) { return Pending{}, u.err() }

func (u unavailable) Wait(context.Context, string) (Outcome, error) { return Outcome{}, u.err() }
func (u unavailable) Withdraw(context.Context, string) error        { return u.err() }
func (u unavailable) Use(context.Context, *Request) (Outcome, bool, error) {
	return Outcome{}, false, nil
}
