package provider_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/posternhq/postern/provider/internal/fakecontrol"
)

// fleet is a bundle for a canary, a second stage and the rest.
func fleet(when string) attributes {
	config := bundleOf(map[string]any{"read": when})
	gateways, _ := config["gateways"].(map[string]any)
	for _, name := range []string{"canary", "eu", "us"} {
		gateways[name] = gateways["orders"]
	}
	return config
}

func canary(over attributes) attributes {
	c := map[string]any{"stages": stages{{"canary"}, {"eu", "us"}}, "observe": "10m", "max_error_rate": 0.01}
	for k, v := range over {
		c[k] = v
	}
	return attributes{"canary": c}
}

func TestCanary(t *testing.T) {
	p := newPublisher(t)
	p.bundle = p.mustApply("postern_bundle", nil, fleet("statement.read_only"))
	first := text(t, p.bundle.value, "digest")
	p.mustPublish(first, canary(nil))
	for _, gateway := range []string{"canary", "eu", "us", "orders"} {
		if live := p.l.control.Live(gateway); live.Bundle != first || live.Revision != 1 {
			t.Errorf("live on %s is %+v", gateway, live)
		}
	}
	if text(t, p.release.value, "live_bundle") != first {
		t.Errorf("the state is %s", p.release.value)
	}

	// A canary that fails: everything goes back, and apply says why.
	p.bundle = p.mustApply("postern_bundle", p.bundle, fleet("true"))
	second := text(t, p.bundle.value, "digest")
	p.l.control.StopRollouts("stage 1: 30 of 100 statements were denied or failed")
	wantError(t, p.publish(second, canary(nil)), `AttributeName("canary") | The canaries of gateway "orders" did not prove the bundle`,
		"Stage 1: 30 of 100 statements were denied or failed. What was live on the gateways of the rollout is live again.")
	if live := p.l.control.Live("orders"); live.Bundle != first {
		t.Errorf("live is %+v", live)
	}
	p.l.control.StopRollouts("")
	// A canary that runs the bundle already has proven it.
	p.l.control.Release("canary", second, p.l.other, "")
	p.mustPublish(second, canary(nil))
	if n := p.l.control.Revisions("canary"); n != 2 {
		t.Errorf("%d releases to the canary, want none more than its own 2", n)
	}
	// To change the canary alone releases nothing.
	p.mustPublish(second, canary(attributes{"observe": "1m"}))
	if n := p.l.control.Revisions("orders"); n != 2 {
		t.Errorf("%d releases, want 2", n)
	}
}

func TestCanaryRefused(t *testing.T) {
	p := newPublisher(t)
	digest := text(t, p.mustApply("postern_bundle", nil, fleet("true")).value, "digest")
	for _, tt := range []struct {
		over attributes
		want string
	}{
		{attributes{"stages": nil}, "stages is missing"},
		{attributes{"stages": stages{{}}}, "A stage has no gateway"},
		{attributes{"stages": stages{{"canary"}, {"canary"}}}, `Gateway "canary" is there twice`},
		{attributes{"stages": stages{{"orders"}}}, `Gateway "orders" is there twice`},
		{attributes{"stages": stages{{"canari"}}}, `Did you mean "canary"?`},
		{attributes{"observe": "soon"}, `observe cannot be "soon"`},
	} {
		wantError(t, p.plan("postern_release", nil, releaseOf(digest, canary(tt.over))).errors, tt.want)
	}
	for _, late := range []any{unknown{}, map[string]any{"stages": unknown{}}} {
		if plan := p.plan("postern_release", nil, releaseOf(digest, attributes{"canary": late})); plan.errors != "" {
			t.Errorf("an unknown canary: %s", plan.errors)
		}
	}
	// An older control plane, and one where something else was released.
	p.l.control.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/v1/rollouts/") {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":{"code":"no_such_path","message":"there is no such path"}}`))
		return true
	})
	wantError(t, p.publish(digest, canary(nil)), `The rollout to gateway "orders" cannot start`, "too old", "roll out in stages", "Nothing was released.")
	p.l.control.SetProcesses("orders", fakecontrol.Process{Name: "p1"})
}
