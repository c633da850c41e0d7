package control

import (
	"net/http"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

func TestRevocations(t *testing.T) {
	b := newBench(t)
	admin, gateway := b.token(api.RoleAdmin), b.token(api.GatewayRole("gw"))
	const list = "GET /v1/gateways/gw/revocations"
	if got := into[api.RevocationList](t, b.want(b.do(gateway, list, nil), http.StatusOK, "")); got.Revision != 0 || len(got.Revocations) != 0 {
		t.Fatalf("at first: %+v", got)
	}
	for name, in := range map[string]any{
		"kind":  api.RevocationInput{Kind: "person", Value: "ana"},
		"value": api.RevocationInput{Kind: api.RevokeToken},
	} {
		t.Run(name, func(*testing.T) {
			b.want(b.do(admin, "POST /v1/revocations", in), http.StatusUnprocessableEntity, api.CodeInvalid)
		})
	}
	b.want(b.do(admin, "POST /v1/revocations", map[string]int{"knd": 1}), http.StatusBadRequest, api.CodeInvalid)
	b.want(b.do(gateway, list+"?after=x", nil), http.StatusUnprocessableEntity, api.CodeInvalid)

	// A gateway that waits hears of it.
	heard := make(chan api.RevocationList, 1)
	go func() { heard <- into[api.RevocationList](t, b.do(gateway, list+"?after=0&wait=30s", nil)) }()
	made := into[api.Revocation](t, b.want(b.do(admin, "POST /v1/revocations",
		api.RevocationInput{Kind: api.RevokeSubject, Value: "ana", Reason: "laptop stolen"}), http.StatusCreated, ""))
	got := <-heard
	if len(got.Revocations) != 1 || got.Revocations[0] != made || got.Revision == 0 {
		t.Errorf("the gateway heard %+v, want %+v", got, made)
	}
	last := b.events[len(b.events)-1]
	if last.Action != "revoke.subject" || last.Target != "ana" || last.Reason != "laptop stolen" {
		t.Errorf("recorded %+v", last)
	}
	b.clock.Advance(api.RevocationLife + time.Second)
	if got := into[api.RevocationList](t, b.do(gateway, list, nil)); len(got.Revocations) != 0 {
		t.Errorf("after its time: %+v", got)
	}
}
