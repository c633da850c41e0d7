package approve

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posternhq/postern/policylang"
)

// fakeBroker answers as its fields say.
type fakeBroker struct {
	create    func(context.Context, *Request) (Pending, error)
	wait      func(context.Context, string) (Outcome, error)
	withdraw  func(context.Context, string) error
	use       func(context.Context, *Request) (Outcome, bool, error)
	withdrawn []string
}

func (b *fakeBroker) Create(ctx context.Context, r *Request) (Pending, error) {
	if b.create == nil {
		return Pending{ID: "a_1"}, nil
	}
	return b.create(ctx, r)
}

func (b *fakeBroker) Wait(ctx context.Context, id string) (Outcome, error) { return b.wait(ctx, id) }

func (b *fakeBroker) Withdraw(ctx context.Context, id string) error {
	b.withdrawn = append(b.withdrawn, id)
	if b.withdraw == nil {
		return ctx.Err()
	}
	return b.withdraw(ctx, id)
}

func (b *fakeBroker) Use(ctx context.Context, r *Request) (Outcome, bool, error) {
	return b.use(ctx, r)
}

// request is ana's, for one of two members of dba.
func request() *Request {
	return &Request{
		Gateway: "gw", Subject: &policylang.Subject{Name: "ana", Issuer: "https://idp", ID: "1"}, SQL: "delete from orders",
		Groups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"ana", "ben"}, Required: 1, ExpiresIn: "10m"}},
	}
}

func answers(o Outcome, err error) func(context.Context, string) (Outcome, error) {
	return func(context.Context, string) (Outcome, error) { return o, err }
}

func untilDone(ctx context.Context, _ string) (Outcome, error) {
	<-ctx.Done()
	return Outcome{}, ctx.Err()
}

func TestHold(t *testing.T) {
	away := fmt.Errorf("dial: %w", ErrUnavailable)
	for _, tt := range []struct {
		name     string
		broker   fakeBroker
		change   func(*Request)
		status   Status
		err      string
		withdraw bool
	}{
		{name: "approved", broker: fakeBroker{wait: answers(Outcome{Status: Approved, Approvers: []string{"ben"}}, nil)}, status: Approved},
		{name: "refused", broker: fakeBroker{wait: answers(Outcome{Status: Refused, RefusedBy: "ben"}, nil)}, status: Refused},
		{name: "expired at the broker", broker: fakeBroker{wait: answers(Outcome{Status: Expired}, nil)}, status: Expired},
		{name: "expired here", broker: fakeBroker{wait: untilDone}, status: Expired, withdraw: true},
		{name: "approved by the requester", broker: fakeBroker{wait: answers(Outcome{Status: Approved, Approvers: []string{"ana"}}, nil)}, err: "not enough"},
		{name: "approved by nobody", broker: fakeBroker{wait: answers(Outcome{Status: Approved}, nil)}, err: "not enough"},
		{name: "approved by a stranger", broker: fakeBroker{wait: answers(Outcome{Status: Approved, Approvers: []string{"eve"}}, nil)}, err: "not enough"},
		{name: "the broker forgot it", broker: fakeBroker{wait: answers(Outcome{}, errors.New("not found"))}, err: "wait for approval a_1: not found", withdraw: true},
		{name: "the broker is away for good", broker: fakeBroker{wait: answers(Outcome{}, away)}, status: Expired, withdraw: true},
		{
			name:   "the broker does not take it",
			broker: fakeBroker{create: func(context.Context, *Request) (Pending, error) { return Pending{}, away }},
			err:    "ask for approval: dial: approvals are not available",
		},
		{
			name: "it cannot be withdrawn", status: Expired, err: "withdraw approval a_1: no", withdraw: true,
			broker: fakeBroker{wait: untilDone, withdraw: func(context.Context, string) error { return errors.New("no") }},
		},
		{name: "nobody asks", change: func(r *Request) { r.Subject = nil }, err: "nobody asks"},
		{name: "nothing is asked", change: func(r *Request) { r.SQL = "" }, err: "must be set"},
		{name: "nobody can approve", change: func(r *Request) { r.Groups = nil }, err: "no group"},
		{name: "the expiry is no duration", change: func(r *Request) { r.Groups[0].ExpiresIn = "soon" }, err: `"dba": expires_in "soon"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := request()
				if tt.change != nil {
					tt.change(r)
				}
				started := time.Now()
				o, err := Hold(t.Context(), &tt.broker, r, nil)
				if o.Status != tt.status || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("outcome %+v, error %v", o, err)
				}
				if o.Approved() && err != nil {
					t.Error("approved in spite of an error")
				}
				if (len(tt.broker.withdrawn) > 0) != tt.withdraw {
					t.Errorf("withdrawn %v", tt.broker.withdrawn)
				}
				if took := time.Since(started); took > 10*time.Minute+lateness {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestHoldOutlastsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(5 * time.Minute)
		b := &fakeBroker{wait: func(context.Context, string) (Outcome, error) {
			if time.Now().Before(back) {
				return Outcome{}, ErrUnavailable
			}
			return Outcome{Status: Approved, Approvers: []string{"ben"}}, nil
		}}
		o, err := Hold(t.Context(), b, request(), nil)
		if err != nil || !o.Approved() {
			t.Errorf("outcome %+v, error %v", o, err)
		}
		if late := time.Since(back); late > lastPause {
			t.Errorf("noticed %s late", late)
		}
	})
}

func TestAClientThatLeavesWithdraws(t *testing.T) {
	for name, wait := range map[string]func(context.Context, string) (Outcome, error){
		"while it waits": untilDone,
		"as it is approved": func(ctx context.Context, _ string) (Outcome, error) {
			<-ctx.Done()
			return Outcome{Status: Approved, Approvers: []string{"ben"}}, nil
		},
		"while the broker is away": answers(Outcome{}, ErrUnavailable),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				b := &fakeBroker{wait: wait}
				var told Pending
				time.AfterFunc(time.Minute, cancel)
				o, err := Hold(ctx, b, request(), func(p Pending) { told = p })
				if err != nil || o.Status != Withdrawn || len(b.withdrawn) != 1 || b.withdrawn[0] != "a_1" {
					t.Errorf("outcome %+v, error %v, withdrawn %v", o, err, b.withdrawn)
				}
				if told.ID != "a_1" {
					t.Errorf("told %+v", told)
				}
			})
		})
	}
}

func TestRetry(t *testing.T) {
	r := request()
	b := &fakeBroker{create: func(_ context.Context, asked *Request) (Pending, error) {
		if !asked.Retry {
			t.Error("a retry is asked for as a wait")
		}
		return Pending{ID: "a_1"}, nil
	}}
	if p, err := Ask(t.Context(), b, r); err != nil || p.ID != "a_1" || r.Retry {
		t.Errorf("pending %+v, error %v, request %+v", p, err, r)
	}
	for _, tt := range []struct {
		name string
		o    Outcome
		ok   bool
		err  error
		want bool
	}{
		{"granted", Outcome{Status: Approved, Approvers: []string{"ben"}}, true, nil, true},
		{"not granted", Outcome{}, false, nil, false},
		{"granted by the requester", Outcome{Status: Approved, Approvers: []string{"ana"}}, true, nil, false},
		{"granted, but refused", Outcome{Status: Refused}, true, nil, false},
		{"unknown", Outcome{Status: Approved, Approvers: []string{"ben"}}, true, ErrUnavailable, false},
	} {
		b.use = func(context.Context, *Request) (Outcome, bool, error) { return tt.o, tt.ok, tt.err }
		if _, ok, err := Granted(t.Context(), b, r); ok != tt.want || tt.err != nil && !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, %v", tt.name, ok, err)
		}
	}
	if _, ok, err := Granted(t.Context(), b, &Request{}); ok || err == nil {
		t.Errorf("nothing was granted: %v, %v", ok, err)
	}
}

func TestUnavailable(t *testing.T) {
	o, err := Hold(t.Context(), Unavailable("this gateway has no control plane"), request(), nil)
	if o.Approved() || !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "has no control plane") {
		t.Errorf("outcome %+v, error %v", o, err)
	}
}

func TestLife(t *testing.T) {
	r := request()
	r.Groups = append(r.Groups, policylang.ApprovalGroup{ExpiresIn: "5m"}, policylang.ApprovalGroup{})
	if life, err := r.Life(); life != 5*time.Minute || err != nil {
		t.Errorf("life %s, %v", life, err)
	}
	r.ExpiresIn = time.Hour
	if life, err := r.Life(); life != time.Hour || err != nil {
		t.Errorf("life %s, %v", life, err)
	}
}

// bound is a request with every field set.
func bound() *Request {
	r := request()
	r.Session, r.ClientAddr, r.Application, r.Reason, r.Message = "s_1", "127.0.0.1", "psql", "cleanup", "ask first"
	r.Database, r.Role, r.SearchPath, r.Bundle = "shop", "ana", "public", "sha256:1"
	r.Params = []Param{{Type: 23, Value: []byte("1")}, {Value: nil}, {Type: 17, Value: []byte{0}, Binary: true}}
	r.Resolved = []string{"relation 16401", "function 2200 sha256:2"}
	r.Rules = []string{"unfiltered_writes"}
	return r
}

// TestBindingVector keeps the specified encoding: a gateway and the approvals
// that it asked for before an upgrade must agree.
func TestBindingVector(t *testing.T) {
	const want = "sha256:5ce27e994fd76b43d26956d97bf63f4428f9314e1d41cd5a19a8cba1d28ddcbe"
	if got := bound().Binding(); got != want {
		t.Errorf("binding %s, want %s", got, want)
	}
}

func TestBindingCovers(t *testing.T) {
	base := bound().Binding()
	for name, change := range map[string]func(*Request){
		"gateway":         func(r *Request) { r.Gateway = "gw2" },
		"database":        func(r *Request) { r.Database = "shop2" },
		"role":            func(r *Request) { r.Role = "ben" },
		"issuer":          func(r *Request) { r.Subject.Issuer = "https://other" },
		"subject":         func(r *Request) { r.Subject.ID = "2" },
		"name":            func(r *Request) { r.Subject.Name = "ben" },
		"actor":           func(r *Request) { r.Subject.Actor = &policylang.Subject{Name: "robot"} },
		"search path":     func(r *Request) { r.SearchPath = "other" },
		"bundle":          func(r *Request) { r.Bundle = "sha256:2" },
		"SQL":             func(r *Request) { r.SQL += " " },
		"a value":         func(r *Request) { r.Params[0].Value = []byte("2") },
		"a type":          func(r *Request) { r.Params[0].Type = 25 },
		"a form":          func(r *Request) { r.Params[2].Binary = false },
		"NULL":            func(r *Request) { r.Params[1].Value = []byte{} },
		"fewer values":    func(r *Request) { r.Params = r.Params[:2] },
		"what it names":   func(r *Request) { r.Resolved[0] = "relation 16402" },
		"fields that run": func(r *Request) { r.Database, r.Role = "sho", "pana" },
	} {
		r := bound()
		change(r)
		if r.Binding() == base {
			t.Errorf("the binding does not cover %s", name)
		}
	}
	for name, change := range map[string]func(*Request){
		"the session":                func(r *Request) { r.Session = "s_2" },
		"the order of what it names": func(r *Request) { r.Resolved[0], r.Resolved[1] = r.Resolved[1], r.Resolved[0] },
		"the wait":                   func(r *Request) { r.Retry = true },
		"the client's address":       func(r *Request) { r.ClientAddr = "::1" },
	} {
		r := bound()
		change(r)
		if r.Binding() != base {
			t.Errorf("the binding covers %s", name)
		}
	}
}

// TestEveryFieldIsConsidered fails when a field is added that nobody has
// decided to bind or not.
func TestEveryFieldIsConsidered(t *testing.T) {
	if n := reflect.TypeFor[Request]().NumField(); n != 18 {
		t.Errorf("Request has %d fields: bind the new one, or say in TestBindingCovers that it is not bound", n)
	}
}
