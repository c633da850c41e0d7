package control

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// asked returns ana's request for approval by a member of dba.
func asked(nonce string) api.ApprovalInput {
	return api.ApprovalInput{
		Nonce: nonce, ExpiresIn: "15m",
		Held: api.Held{
			Mode: api.ModeWait, Session: "s_1", Requester: api.Requester{Name: "ana", Issuer: "https://idp", ID: "1"},
			Database: "shop", Role: "ana", SQL: "delete from orders", Rules: []string{"unfiltered_writes"},
			Groups: []api.ApprovalGroup{{Name: "dba", Members: []string{"ben", "chloe", "ana"}, Required: 1}},
			Bundle: "sha256:00", Binding: "sha256:binding",
		},
	}
}

// ask stores a request and returns its id.
func (b *bench) ask(in api.ApprovalInput) string {
	b.t.Helper()
	r := b.want(b.do(b.token(api.GatewayRole("gw")), "POST /v1/gateways/gw/approvals", in), http.StatusCreated, "")
	return into[api.ApprovalCreated](b.t, r).ID
}

func TestApprove(t *testing.T) {
	b := newBench(t)
	gateway := b.token(api.GatewayRole("gw"))
	created := b.want(b.do(gateway, "POST /v1/gateways/gw/approvals", asked("n1")), http.StatusCreated, "")
	pending := into[api.ApprovalCreated](t, created)
	if pending.URL != "https://postern.example/approvals/"+pending.ID || !pending.ExpiresAt.Equal(b.clock.Now().Add(15*time.Minute)) {
		t.Errorf("created %+v", pending)
	}
	// The gateway asks again when it did not hear the answer.
	again := b.want(b.do(gateway, "POST /v1/gateways/gw/approvals", asked("n1")), http.StatusOK, "")
	if into[api.ApprovalCreated](t, again).ID != pending.ID {
		t.Errorf("the same nonce made another approval")
	}

	answered := make(chan reply, 1)
	go func() { answered <- b.do(gateway, "GET /v1/approvals/"+pending.ID+"?wait=30s", nil) }()
	time.Sleep(50 * time.Millisecond)
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+pending.ID+"/approve", api.VoteInput{Reason: " agreed by phone "}), http.StatusOK, "")
	got := into[api.Approval](t, b.want(<-answered, http.StatusOK, ""))
	if got.Status != api.StatusApproved || len(got.Votes) != 1 || got.Votes[0].Approver != "ben" || got.Votes[0].Reason != "agreed by phone" {
		t.Errorf("the gateway sees %+v", got)
	}
	// Saying the same again is fine, something else is too late.
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+pending.ID+"/approve", api.VoteInput{}), http.StatusOK, "")
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+pending.ID+"/refuse", api.VoteInput{}), http.StatusConflict, api.CodeDecided)
	b.want(b.do("oidc-chloe", "POST /v1/approvals/"+pending.ID+"/refuse", api.VoteInput{}), http.StatusConflict, api.CodeDecided)
	b.want(b.do(gateway, "DELETE /v1/approvals/"+pending.ID, nil), http.StatusConflict, api.CodeDecided)
}

func TestWhoMayApprove(t *testing.T) {
	b := newBench(t)
	id := b.ask(asked("n1"))
	for _, tt := range []struct {
		name, token string
		status      int
		code        string
	}{
		{"the requester, though a member", "oidc-ana", http.StatusForbidden, api.CodeOwnRequest},
		{"an agent that acts for a member", "oidc-ben-agent", http.StatusForbidden, api.CodeForbidden},
		{"somebody who may see it but is no member", "oidc-olga", http.StatusForbidden, api.CodeNotMember},
		{"somebody who may not see it", "oidc-ben2", http.StatusNotFound, api.CodeNotFound},
		{"an administrator's API token", b.token(api.RoleAdmin), http.StatusForbidden, api.CodeForbidden},
		{"the gateway itself", b.token(api.GatewayRole("gw")), http.StatusForbidden, api.CodeForbidden},
		{"another gateway", b.token(api.GatewayRole("other")), http.StatusNotFound, api.CodeNotFound},
		{"an author", b.token(api.RoleAuthor), http.StatusNotFound, api.CodeNotFound},
		{"nobody", "", http.StatusUnauthorized, api.CodeUnauthenticated},
	} {
		for _, verdict := range []string{"approve", "refuse"} {
			t.Run(tt.name+" "+verdict, func(t *testing.T) {
				b.t = t
				b.want(b.do(tt.token, "POST /v1/approvals/"+id+"/"+verdict, api.VoteInput{}), tt.status, tt.code)
			})
		}
	}
	b.t = t
	if a := into[api.Approval](t, b.do("oidc-ben", "GET /v1/approvals/"+id, nil)); a.Status != api.StatusPending || len(a.Votes) != 0 {
		t.Errorf("a vote was counted: %+v", a)
	}
	// An API token may, as the subject that it names.
	r := b.do(b.token(api.RoleApprover), "POST /v1/approvals/"+id+"/approve", api.VoteInput{})
	if a := into[api.Approval](t, b.want(r, http.StatusOK, "")); a.Status != api.StatusApproved || a.Votes[0].Approver != "chloe" {
		t.Errorf("approved %+v", a)
	}
}

func TestTwoGroupsOfTwo(t *testing.T) {
	b := newBench(t)
	in := asked("n1")
	in.Groups = []api.ApprovalGroup{
		{Name: "dba", Members: []string{"ben", "ben2", "chloe"}, Required: 2},
		{Name: "owners", Members: []string{"olga"}, Required: 1},
	}
	id := b.ask(in)
	vote := func(who string) api.Approval {
		t.Helper()
		return into[api.Approval](t, b.want(b.do("oidc-"+who, "POST /v1/approvals/"+id+"/approve", api.VoteInput{}), http.StatusOK, ""))
	}
	vote("ben")
	// The same person by another name counts once.
	if a := vote("ben2"); len(a.Votes) != 1 {
		t.Errorf("one person voted %d times", len(a.Votes))
	}
	if a := vote("chloe"); a.Status != api.StatusPending {
		t.Errorf("approved without the second group: %+v", a)
	}
	if a := vote("olga"); a.Status != api.StatusApproved || len(a.Votes) != 3 {
		t.Errorf("not approved: %+v", a)
	}
}

func TestRefuseEnds(t *testing.T) {
	b := newBench(t)
	in := asked("n1")
	in.Groups[0].Required = 2
	id := b.ask(in)
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+id+"/approve", api.VoteInput{}), http.StatusOK, "")
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+id+"/refuse", api.VoteInput{}), http.StatusConflict, api.CodeDecided)
	r := b.want(b.do("oidc-chloe", "POST /v1/approvals/"+id+"/refuse", api.VoteInput{Reason: "no backup"}), http.StatusOK, "")
	if a := into[api.Approval](t, r); a.Status != api.StatusRefused || a.DecidedAt == nil {
		t.Errorf("refused %+v", a)
	}
	for _, verdict := range []string{"/approve", "/refuse"} {
		b.want(b.do("oidc-chloe", "POST /v1/approvals/"+id+verdict, api.VoteInput{Reason: strings.Repeat("x", 2000)}), http.StatusUnprocessableEntity, api.CodeInvalid)
		b.want(b.do("oidc-chloe", "POST /v1/approvals/"+id+verdict, "approve"), http.StatusBadRequest, api.CodeInvalid)
	}
}

func TestApprovalsExpire(t *testing.T) {
	b := newBench(t)
	gateway := b.token(api.GatewayRole("gw"))
	id := b.ask(asked("n1"))
	b.clock.Advance(15 * time.Minute)
	if a := into[api.Approval](t, b.do(gateway, "GET /v1/approvals/"+id+"?wait=10s", nil)); a.Status != api.StatusExpired {
		t.Errorf("expired %+v", a)
	}
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+id+"/approve", api.VoteInput{}), http.StatusConflict, api.CodeDecided)

	// Waiting ends when it expires, not when the wait does.
	in := asked("n2")
	in.ExpiresIn = "100ms"
	id = b.ask(in)
	started := time.Now()
	go func() {
		time.Sleep(50 * time.Millisecond)
		b.clock.Advance(time.Second)
	}()
	if a := into[api.Approval](t, b.do(gateway, "GET /v1/approvals/"+id+"?wait=30s", nil)); a.Status != api.StatusExpired {
		t.Errorf("expired %+v", a)
	}
	if took := time.Since(started); took > 25*time.Second {
		t.Errorf("the wait took %s", took)
	}
}

func TestWithdraw(t *testing.T) {
	b := newBench(t)
	gateway := b.token(api.GatewayRole("gw"))
	id := b.ask(asked("n1"))
	b.want(b.do("oidc-ben", "DELETE /v1/approvals/"+id, nil), http.StatusForbidden, api.CodeForbidden)
	b.want(b.do(b.token(api.GatewayRole("other")), "DELETE /v1/approvals/"+id, nil), http.StatusNotFound, api.CodeNotFound)
	b.want(b.do(gateway, "DELETE /v1/approvals/"+id, nil), http.StatusNoContent, "")
	b.want(b.do(gateway, "DELETE /v1/approvals/"+id, nil), http.StatusNoContent, "")
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+id+"/approve", api.VoteInput{}), http.StatusConflict, api.CodeDecided)
	if a := into[api.Approval](t, b.do(gateway, "GET /v1/approvals/"+id, nil)); a.Status != api.StatusWithdrawn {
		t.Errorf("withdrawn %+v", a)
	}
}

func TestARetryPassesOnce(t *testing.T) {
	b := newBench(t)
	gateway := b.token(api.GatewayRole("gw"))
	const grants = "POST /v1/gateways/gw/grants"
	in := asked("n1")
	in.Mode = api.ModeRetry
	id := b.ask(in)
	in.Nonce = "n2" // the client tries again before anybody has decided
	if again := into[api.ApprovalCreated](t, b.want(b.do(gateway, "POST /v1/gateways/gw/approvals", in), http.StatusOK, "")); again.ID != id {
		t.Errorf("a second request for the same statement")
	}
	b.want(b.do(gateway, grants, api.GrantInput{Binding: in.Binding, Nonce: "g1"}), http.StatusNotFound, api.CodeNotFound)
	b.clock.Advance(14 * time.Minute)
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+id+"/approve", api.VoteInput{}), http.StatusOK, "")
	b.clock.Advance(14 * time.Minute) // the window starts with the approval

	b.want(b.do(gateway, grants, api.GrantInput{Binding: "sha256:other", Nonce: "g1"}), http.StatusNotFound, api.CodeNotFound)
	b.want(b.do(b.token(api.GatewayRole("other")), "POST /v1/gateways/other/grants", api.GrantInput{Binding: in.Binding, Nonce: "g1"}), http.StatusNotFound, api.CodeNotFound)
	var wg sync.WaitGroup
	statuses := make(chan int, 8)
	for i := range 8 {
		wg.Go(func() {
			statuses <- b.do(gateway, grants, api.GrantInput{Binding: in.Binding, Nonce: fmt.Sprint(i)}).status
		})
	}
	wg.Wait()
	close(statuses)
	count := make(map[int]int)
	for status := range statuses {
		count[status]++
	}
	if count[http.StatusOK] != 1 || count[http.StatusNotFound] != 7 {
		t.Errorf("answers by status: %v", count)
	}

	// An answer that was lost can be asked for again.
	in.Nonce = "n3"
	id = b.ask(in)
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+id+"/approve", api.VoteInput{}), http.StatusOK, "")
	for range 2 {
		r := b.want(b.do(gateway, grants, api.GrantInput{Binding: in.Binding, Nonce: "lost"}), http.StatusOK, "")
		if a := into[api.Approval](t, r); a.ID != id || a.Status != api.StatusUsed {
			t.Errorf("granted %+v", a)
		}
	}

	// What nobody uses expires.
	in.Nonce = "n4"
	id = b.ask(in)
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+id+"/approve", api.VoteInput{}), http.StatusOK, "")
	b.clock.Advance(15 * time.Minute)
	b.want(b.do(gateway, grants, api.GrantInput{Binding: in.Binding, Nonce: "late"}), http.StatusNotFound, api.CodeNotFound)
	b.want(b.do(gateway, grants, api.GrantInput{Binding: in.Binding}), http.StatusUnprocessableEntity, api.CodeInvalid)

	// An approval that a session waits for is nobody else's to use.
	waiting := asked("n5")
	id = b.ask(waiting)
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+id+"/approve", api.VoteInput{}), http.StatusOK, "")
	b.want(b.do(gateway, grants, api.GrantInput{Binding: waiting.Binding, Nonce: "steal"}), http.StatusNotFound, api.CodeNotFound)
}

func TestWhoSeesApprovals(t *testing.T) {
	b := newBench(t)
	b.ask(asked("n1"))
	for _, tt := range []struct {
		name, token string
		sees        int
	}{
		{"the requester", "oidc-ana", 1},
		{"a member", "oidc-ben", 1},
		{"an auditor", b.token(api.RoleAuditor), 1},
		{"an auditor by group", "oidc-olga", 1},
		{"an administrator", b.token(api.RoleAdmin), 1},
		{"its gateway", b.token(api.GatewayRole("gw")), 1},
		{"somebody else", "oidc-ben2", 0},
		{"another gateway", b.token(api.GatewayRole("other")), 0},
		{"a viewer", b.token(api.RoleViewer), 0},
		{"an author", b.token(api.RoleAuthor), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			for query, want := range map[string]int{"": tt.sees, "?status=pending&gateway=gw": tt.sees, "?status=refused": 0, "?gateway=other": 0} {
				list := into[api.ApprovalList](t, b.want(b.do(tt.token, "GET /v1/approvals"+query, nil), http.StatusOK, ""))
				if len(list.Approvals) != want {
					t.Errorf("%q shows %d approvals, want %d", query, len(list.Approvals), want)
				}
			}
		})
	}
	b.t = t
	b.want(b.do("oidc-ana", "GET /v1/approvals?status=lost", nil), http.StatusUnprocessableEntity, api.CodeInvalid)
	b.want(b.do("oidc-ana", "GET /v1/approvals/a_0", nil), http.StatusNotFound, api.CodeNotFound)
}

func TestRequestsThatAreRefused(t *testing.T) {
	b := newBench(t)
	gateway := b.token(api.GatewayRole("gw"))
	for name, change := range map[string]func(*api.ApprovalInput){
		"no nonce":        func(in *api.ApprovalInput) { in.Nonce = "" },
		"no expiry":       func(in *api.ApprovalInput) { in.ExpiresIn = "" },
		"a past expiry":   func(in *api.ApprovalInput) { in.ExpiresIn = "-1s" },
		"a far expiry":    func(in *api.ApprovalInput) { in.ExpiresIn = "1000h" },
		"no mode":         func(in *api.ApprovalInput) { in.Mode = "" },
		"no requester":    func(in *api.ApprovalInput) { in.Requester.Name = "" },
		"no statement":    func(in *api.ApprovalInput) { in.SQL = "" },
		"no binding":      func(in *api.ApprovalInput) { in.Binding = "" },
		"no group":        func(in *api.ApprovalInput) { in.Groups = nil },
		"a group of none": func(in *api.ApprovalInput) { in.Groups[0].Required = 0 },
	} {
		in := asked("n1")
		change(&in)
		if r := b.do(gateway, "POST /v1/gateways/gw/approvals", in); r.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

func TestEventsAreRecordedFirst(t *testing.T) {
	b := newBench(t)
	author := b.token(api.RoleAuthor)
	id := b.ask(asked("n1"))
	b.want(b.do("oidc-ben", "POST /v1/approvals/"+id+"/approve", api.VoteInput{Reason: "ok"}), http.StatusOK, "")
	b.mu.Lock()
	last := b.events[len(b.events)-1]
	b.mu.Unlock()
	if last.Action != "approval.approve" || last.Caller != "ben" || last.Target != id || last.Approval == nil || last.Approval.Status != api.StatusApproved {
		t.Errorf("recorded %+v", last)
	}

	// What cannot be recorded is not done.
	id = b.ask(asked("n2"))
	b.server.config.Audit = failingAudit
	r := b.want(b.do("oidc-ben", "POST /v1/approvals/"+id+"/approve", api.VoteInput{}), http.StatusServiceUnavailable, api.CodeUnavailable)
	if strings.Contains(string(r.body), "disk") {
		t.Errorf("the answer tells too much: %s", r.body)
	}
	if a := into[api.Approval](t, b.do("oidc-ben", "GET /v1/approvals/"+id, nil)); a.Status != api.StatusPending || len(a.Votes) > 0 {
		t.Errorf("it was done: %+v", a)
	}
	b.want(b.do(author, "PUT /v1/objects/identity/ana", anaBody, "If-None-Match", "*"), http.StatusServiceUnavailable, api.CodeUnavailable)
	b.want(b.do(author, "GET /v1/objects/identity/ana", nil), http.StatusNotFound, api.CodeNotFound)
}

func TestOldApprovalsAreForgotten(t *testing.T) {
	b := newBench(t)
	id := b.ask(asked("n1"))
	b.clock.Advance(31 * 24 * time.Hour)
	b.ask(asked("n2"))
	b.want(b.do("oidc-ana", "GET /v1/approvals/"+id, nil), http.StatusNotFound, api.CodeNotFound)
}
