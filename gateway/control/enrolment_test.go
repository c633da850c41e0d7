package control

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// TestEnrolment makes an enrolment token and uses it, wrongly first.
func TestEnrolment(t *testing.T) {
	b := newBench(t)
	admin := b.token(api.RoleAdmin)
	invite := func(in api.EnrolmentInput) api.Enrolment {
		t.Helper()
		return into[api.Enrolment](t, b.want(b.do(admin, "POST /v1/enrolments", in), http.StatusCreated, ""))
	}
	first := invite(api.EnrolmentInput{Gateway: "gw"})
	if !strings.HasPrefix(first.Token, api.EnrolmentPrefix) || len(first.Token) < 40 || !first.ExpiresAt.Equal(b.clock.Now().Add(time.Hour)) {
		t.Errorf("made %+v", first)
	}
	enrol := func(token, gateway string) reply {
		return b.do(token, "POST /v1/enrol", api.EnrolInput{Gateway: gateway, Instance: "host-1"})
	}
	refused := func(why, token, gateway string) {
		t.Helper()
		if r := enrol(token, gateway); r.status != http.StatusUnauthorized || strings.Contains(string(r.body), token) && token != "" {
			t.Errorf("%s: %d %s", why, r.status, r.body)
		}
	}
	refused("no token", "", "gw")
	refused("a made-up token", first.Token+"x", "gw")
	refused("another gateway", first.Token, "other")
	refused("an administrator's token", admin, "gw")
	b.want(b.do(first.Token, "GET /v1/whoami", nil), http.StatusUnauthorized, api.CodeUnauthenticated)

	got := into[api.TokenCreated](t, b.want(enrol(first.Token, "gw"), http.StatusCreated, ""))
	if got.Detail.Name != "gw/host-1" || len(got.Detail.Roles) != 1 || got.Detail.Roles[0] != api.GatewayRole("gw") {
		t.Errorf("got %+v", got.Detail)
	}
	b.want(b.do(got.Token, "GET /v1/gateways/gw/revocations", nil), http.StatusOK, "")
	b.want(b.do(got.Token, "GET /v1/gateways/other/revocations", nil), http.StatusForbidden, api.CodeForbidden)
	refused("used before", first.Token, "gw")

	late := invite(api.EnrolmentInput{Gateway: "gw", ExpiresIn: "5m"})
	b.clock.Advance(5 * time.Minute)
	refused("expired", late.Token, "gw")

	for _, body := range []any{api.EnrolmentInput{}, api.EnrolmentInput{Gateway: "gw", ExpiresIn: "1000h"}, api.EnrolmentInput{Gateway: "gw", ExpiresIn: "soon"}} {
		b.want(b.do(admin, "POST /v1/enrolments", body), http.StatusUnprocessableEntity, api.CodeInvalid)
	}
	b.want(b.do(admin, "POST /v1/enrolments", "{"), http.StatusBadRequest, api.CodeInvalid)
	b.want(b.do(late.Token, "POST /v1/enrol", "{"), http.StatusBadRequest, api.CodeInvalid)
	b.want(b.do(late.Token, "POST /v1/enrol", api.EnrolInput{Gateway: "gw"}), http.StatusUnprocessableEntity, api.CodeInvalid)
}

// TestEnrolmentIsRecorded enrols nobody whose enrolment cannot be recorded, and
// leaves the enrolment token good.
func TestEnrolmentIsRecorded(t *testing.T) {
	b := newBench(t)
	made := into[api.Enrolment](t, b.do(b.token(api.RoleAdmin), "POST /v1/enrolments", api.EnrolmentInput{Gateway: "gw"}))
	works := b.server.config.Audit
	b.server.config.Audit = failingAudit
	if r := b.do(made.Token, "POST /v1/enrol", api.EnrolInput{Gateway: "gw", Instance: "host-1"}); r.status < 500 {
		t.Errorf("enrolled without a record: %d %s", r.status, r.body)
	}
	b.server.config.Audit = works
	b.want(b.do(made.Token, "POST /v1/enrol", api.EnrolInput{Gateway: "gw", Instance: "host-1"}), http.StatusCreated, "")
}
