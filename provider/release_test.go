package provider_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/fakecontrol"
)

// publisher is a Terraform run with a bundle and a release of it.
type publisher struct {
	*protocol
	l       *lab
	bundle  *resourceState
	release *resourceState
}

// newPublisher has a gateway process that follows at once.
func newPublisher(t *testing.T) *publisher {
	t.Helper()
	l := newLab(t)
	l.control.SetProcesses("orders", fakecontrol.Process{Name: "p1"})
	return &publisher{protocol: l.protocol(t), l: l}
}

// upload puts a bundle of one rule on the control plane and returns its digest.
func (p *publisher) upload(when string) string {
	p.t.Helper()
	p.bundle = p.mustApply("postern_bundle", p.bundle, bundleOf(map[string]any{"read": when}))
	return text(p.t, p.bundle.value, "digest")
}

func releaseOf(bundle string, over attributes) attributes {
	out := attributes{"gateway": "orders", "bundle": bundle}
	for k, v := range over {
		out[k] = v
	}
	return out
}

// publish releases a bundle, refreshing first as Terraform does.
func (p *publisher) publish(bundle string, over attributes) string {
	p.t.Helper()
	if p.release != nil {
		var failed string
		if p.release, failed = p.refresh("postern_release", p.release); failed != "" {
			return failed
		}
	}
	var failed string
	p.release, failed = p.apply("postern_release", p.release, releaseOf(bundle, over))
	return failed
}

func (p *publisher) mustPublish(bundle string, over attributes) {
	p.t.Helper()
	if failed := p.publish(bundle, over); failed != "" {
		p.t.Fatalf("release %s: %s", bundle, failed)
	}
	if live := p.l.control.Live("orders").Bundle; live != bundle {
		p.t.Fatalf("live is %s, want %s", live, bundle)
	}
}

// stray publishes as somebody else does.
func (p *publisher) stray() string {
	return p.l.control.Publish("orders", simplePolicy("orders", "stray"), p.l.other, "break glass")
}

func wantError(t *testing.T, got string, parts ...string) {
	t.Helper()
	if got == "" {
		t.Errorf("no error, want %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("error lacks %q:\n%s", part, got)
		}
	}
}

func TestReleaseFirstNextAndBack(t *testing.T) {
	p := newPublisher(t)
	first, second := p.upload("statement.read_only"), ""
	p.mustPublish(first, attributes{"note": "the first"})
	live := p.l.control.Live("orders")
	if live.Revision != 1 || live.Predecessor != "" || live.Note != "the first" {
		t.Errorf("first release is %+v", live)
	}
	second = p.upload("true")
	p.mustPublish(second, nil)
	if live := p.l.control.Live("orders"); live.Revision != 2 || live.Predecessor != first {
		t.Errorf("second release is %+v", live)
	}
	// Rolling back is releasing the older bundle under a newer revision.
	p.mustPublish(first, nil)
	if live := p.l.control.Live("orders"); live.Revision != 3 || live.Predecessor != second {
		t.Errorf("rollback is %+v", live)
	}
	// Nothing to do: nothing is released.
	p.mustPublish(first, attributes{"note": "another note alone"})
	if n := p.l.control.Revisions("orders"); n != 3 {
		t.Errorf("%d releases, want 3", n)
	}
}

func TestReleasePlan(t *testing.T) {
	p := newPublisher(t)
	first := p.upload("statement.read_only")
	plan := p.plan("postern_release", nil, releaseOf(first, nil))
	if got := changesOf(t, plan.value); got != "+ gateway.orders\n+ query_rule.read" || plan.warnings != "" {
		t.Errorf("changes of the first release are\n%s\n%s", got, plan.warnings)
	}
	p.mustPublish(first, nil)

	// The next bundle is planned, and not uploaded: its content is known all
	// the same.
	next := bundleOf(map[string]any{"write": "statement.writes"})
	next["gateways"] = map[string]any{"orders": map[string]any{"upstream": map[string]any{"host": "db2.internal"}}}
	digest := text(t, p.plan("postern_bundle", p.bundle, next).value, "digest")
	plan = p.plan("postern_release", p.release, releaseOf(digest, nil))
	want := strings.Join([]string{
		`~ gateway.orders: issuer -{"audience":"postern","name":"corp","url":"https://login.example.com"}; upstream.host "db.internal" -> "db2.internal"`,
		`- query_rule.read`,
		`+ query_rule.write`,
	}, "\n")
	if got := changesOf(t, plan.value); got != want {
		t.Errorf("changes are\n%s\nwant\n%s", got, want)
	}
	for _, line := range strings.Split(want, "\n") {
		if !strings.Contains(plan.warnings, "  "+line) {
			t.Errorf("warnings lack %q:\n%s", line, plan.warnings)
		}
	}
	if got := text(t, plan.value, "live_bundle"); got != digest {
		t.Errorf("planned live_bundle is %s", got)
	}
	if got := text(t, plan.value, "predecessor"); got != first {
		t.Errorf("planned predecessor is %s", got)
	}
	// While the bundle is unknown, so is what changes.
	plan = p.plan("postern_release", p.release, attributes{"gateway": "orders", "bundle": unknown{}})
	if plan.errors != "" || text(t, plan.value, "live_bundle") != "?" || get(t, plan.value, "changes").IsKnown() {
		t.Errorf("plan of an unknown bundle: %s\n%s", plan.value, plan.errors)
	}
	// No change, no difference.
	if plan := p.plan("postern_release", p.release, releaseOf(first, nil)); !plan.value.Equal(p.release.value) || plan.warnings != "" {
		t.Errorf("plan without a change is\n%s\n%s", plan.value, plan.warnings)
	}
}

func changesOf(t *testing.T, v tftypes.Value) string {
	t.Helper()
	var list []tftypes.Value
	must(t, get(t, v, "changes").As(&list))
	lines := make([]string, len(list))
	for i := range list {
		must(t, list[i].As(&lines[i]))
	}
	return strings.Join(lines, "\n")
}

// A first release never overwrites what is live, whatever on_drift says.
func TestReleaseFirstRefusesWhatIsLive(t *testing.T) {
	p := newPublisher(t)
	stray := p.stray()
	ours := p.upload("statement.read_only")
	wantError(t, p.publish(ours, attributes{"on_drift": "overwrite"}),
		"has a live policy already", "terraform import postern_release.<name> orders", `supersedes = "`+stray+`"`, "break glass")
	if live := p.l.control.Live("orders").Bundle; live != stray {
		t.Fatalf("live is %s", live)
	}
	p.mustPublish(ours, attributes{"supersedes": stray})
	if live := p.l.control.Live("orders"); live.Predecessor != stray || live.Revision != 2 {
		t.Errorf("release is %+v", live)
	}
	// What was superseded once may stand there for ever.
	p.mustPublish(p.upload("true"), attributes{"supersedes": stray})
}

// A first release of what is live already takes it over and releases nothing.
func TestReleaseFirstAdoptsItsOwn(t *testing.T) {
	p := newPublisher(t)
	ours := p.upload("statement.read_only")
	p.l.control.Release("orders", ours, p.l.other, "")
	p.mustPublish(ours, nil)
	p.mustPublish(ours, nil)
	if n := p.l.control.Revisions("orders"); n != 1 {
		t.Errorf("%d releases, want 1", n)
	}
}

// With another key of the provider's the bundle is released again: gateways may
// trust the old one no more. What somebody else has signed is left alone.
func TestReleaseKeyRotation(t *testing.T) {
	p := newPublisher(t)
	digest := p.upload("statement.read_only")
	p.mustPublish(digest, nil)
	p.l.key = newKey(t, "next")
	p.protocol = p.l.protocol(t)
	for range 2 { // the second time there is nothing to do
		p.mustPublish(digest, nil)
	}
	live, key := p.l.control.Live("orders"), text(t, p.release.value, "signing_key_id")
	if live.Revision != 2 || live.Bundle != digest || key != p.l.key.PublicKey().ID() {
		t.Errorf("live is revision %d of %s, signed by %s", live.Revision, live.Bundle, key)
	}
}

func TestReleaseDrift(t *testing.T) {
	tests := []struct {
		name string
		over func(stray string) attributes
		want string // part of the error; empty where it is replaced
	}{
		{"fails unless told otherwise", func(string) attributes { return nil }, "Somebody else released another bundle"},
		{"overwrites if told so", func(string) attributes { return attributes{"on_drift": "overwrite"} }, ""},
		{"supersedes the one that is named", func(stray string) attributes { return attributes{"supersedes": stray} }, ""},
		{"supersedes no other", func(string) attributes { return attributes{"supersedes": "sha256:" + strings.Repeat("0", 64)} }, "Somebody else"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPublisher(t)
			ours := p.upload("statement.read_only")
			p.mustPublish(ours, nil)
			stray := p.stray()
			p.release = p.mustRefresh("postern_release", p.release)
			if text(t, p.release.value, "bundle") != ours || text(t, p.release.value, "live_bundle") != stray {
				t.Fatalf("state after drift is %s", p.release.value)
			}
			if test.want == "" {
				p.mustPublish(ours, test.over(stray))
				return
			}
			wantError(t, p.publish(ours, test.over(stray)), test.want, stray, `on_drift = "overwrite"`)
			if live := p.l.control.Live("orders").Bundle; live != stray {
				t.Errorf("live is %s, want the other publisher's", live)
			}
		})
	}
}

// To keep what somebody else released, release it from here.
func TestReleaseDriftIsTakenOver(t *testing.T) {
	p := newPublisher(t)
	p.mustPublish(p.upload("statement.read_only"), nil)
	stray := p.stray()
	p.mustPublish(stray, nil)
	if n := p.l.control.Revisions("orders"); n != 2 {
		t.Errorf("%d releases, want 2: there was nothing to release", n)
	}
	p.mustPublish(p.upload("true"), nil)
}

// A plan that was made before somebody else released is refused at apply.
func TestReleaseStalePlan(t *testing.T) {
	for _, first := range []bool{true, false} {
		p := newPublisher(t)
		if !first {
			p.mustPublish(p.upload("statement.read_only"), nil)
		}
		config := releaseOf(p.upload("true"), attributes{"on_drift": "overwrite"})
		plan := p.plan("postern_release", p.release, config)
		stray := p.stray()
		_, failed := p.applyPlan("postern_release", p.release, config, plan)
		wantError(t, failed, stray)
		if live := p.l.control.Live("orders").Bundle; live != stray {
			t.Errorf("live is %s, want the other publisher's", live)
		}
	}
}

// Somebody else releases between the last look and the release itself.
func TestReleaseRace(t *testing.T) {
	p := newPublisher(t)
	p.mustPublish(p.upload("statement.read_only"), nil)
	second, stray := p.upload("true"), ""
	p.l.control.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && stray == "" {
			stray = p.stray()
		}
		return false
	})
	wantError(t, p.publish(second, nil), "Another release came between the plan and the apply", "break glass")
	if live := p.l.control.Live("orders").Bundle; live != stray {
		t.Errorf("live is %s, want the other publisher's", live)
	}
}

// The control plane dies after it stored the release and before it said so.
func TestReleaseLostAnswer(t *testing.T) {
	p := newPublisher(t)
	p.mustPublish(p.upload("statement.read_only"), nil)
	second := p.upload("true")
	died := false
	p.l.control.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || died {
			return false
		}
		died = true
		p.l.control.Carry(r)
		panic(http.ErrAbortHandler)
	})
	p.mustPublish(second, nil)
	if n := p.l.control.Revisions("orders"); n != 2 {
		t.Errorf("%d releases, want 2", n)
	}
}

func TestReleaseWaits(t *testing.T) {
	short := attributes{"timeouts": map[string]any{"create": "100ms", "update": "100ms"}}
	tests := []struct {
		name      string
		processes []fakecontrol.Process
		over      attributes
		want      []string // parts of the error
	}{
		{"for a process that says nothing", []fakecontrol.Process{{Name: "p1"}, {Name: "p2", Frozen: true}}, nil, []string{"1 of 2 gateway processes do not follow", "p2 runs revision 0"}},
		{"not for one that cannot", []fakecontrol.Process{{Name: "p1", Error: "unknown function \"f\""}}, attributes{"timeouts": nil}, []string{"p1 runs revision 0: unknown function"}},
		{"not for one that is gone", []fakecontrol.Process{{Name: "p1"}, {Name: "p2", Frozen: true, Age: 61 * time.Second}}, nil, nil},
		{"for at least one", nil, nil, []string{"no gateway process was seen", "min_gateways = 0"}},
		{"for none if told so", nil, attributes{"min_gateways": 0}, nil},
		{"for as many as told", []fakecontrol.Process{{Name: "p1"}}, attributes{"min_gateways": 2}, []string{"only 1 gateway processes", "min_gateways is 2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPublisher(t)
			p.l.control.SetProcesses("orders", test.processes...)
			over := attributes{}
			if len(test.want) > 0 {
				over["timeouts"] = short["timeouts"]
			}
			for k, v := range test.over {
				over[k] = v
			}
			digest := p.upload("statement.read_only")
			failed := p.publish(digest, over)
			if len(test.want) == 0 {
				if failed != "" {
					t.Fatal(failed)
				}
				return
			}
			wantError(t, failed, append(test.want, "does not enforce revision 1 yet", "The release is published")...)
			// Nothing is tainted: the next apply finds its own bundle live.
			if p.release != nil {
				t.Fatalf("a release that failed to be created is in state: %s", p.release.value)
			}
			p.l.control.SetProcesses("orders", fakecontrol.Process{Name: "p1"}, fakecontrol.Process{Name: "p2"})
			p.mustPublish(digest, nil)
			if n := p.l.control.Revisions("orders"); n != 1 {
				t.Errorf("%d releases, want 1", n)
			}
		})
	}
}

// An update that gave up waiting is remembered, and the next apply waits again.
func TestReleaseUpdateWaitsAgain(t *testing.T) {
	p := newPublisher(t)
	first := p.upload("statement.read_only")
	p.mustPublish(first, nil)
	second := p.upload("true")
	over := attributes{"timeouts": map[string]any{"update": "100ms"}}
	p.l.control.SetProcesses("orders", fakecontrol.Process{Name: "p1", Frozen: true})
	wantError(t, p.publish(second, over), "does not enforce revision 2 yet")
	var acknowledged bool
	must(t, get(t, p.release.value, "acknowledged").As(&acknowledged))
	if acknowledged || text(t, p.release.value, "live_bundle") != second {
		t.Fatalf("state after giving up is %s", p.release.value)
	}
	wantError(t, p.publish(second, over), "does not enforce revision 2 yet")
	p.l.control.SetProcesses("orders", fakecontrol.Process{Name: "p1"})
	p.mustPublish(second, nil)
	if plan := p.plan("postern_release", p.release, releaseOf(second, nil)); !plan.value.Equal(p.release.value) {
		t.Errorf("plan after all is well is not empty: %s", plan.value)
	}
	if n := p.l.control.Revisions("orders"); n != 2 {
		t.Errorf("%d releases, want 2", n)
	}
}

func TestReleaseDestroy(t *testing.T) {
	p := newPublisher(t)
	digest := p.upload("statement.read_only")

	p.mustPublish(digest, attributes{"deletion_protection": true})
	plan := p.plan("postern_release", p.release, nil)
	wantError(t, plan.errors, "protected from deletion", "deletion_protection = false")
	moved := p.plan("postern_release", p.release, attributes{"gateway": "other", "bundle": digest})
	wantError(t, moved.errors, "protected from deletion")

	// keep_live leaves everything as it is.
	p.mustPublish(digest, nil)
	if _, failed := p.apply("postern_release", p.release, nil); failed != "" {
		t.Fatal(failed)
	}
	if live := p.l.control.Live("orders"); live.Bundle != digest || live.Revision != 1 {
		t.Errorf("live after destroy is %+v", live)
	}

	// deny_all does not replace what somebody else released, unless told so.
	p.release = nil
	p.mustPublish(digest, attributes{"on_destroy": "deny_all"})
	p.stray()
	p.release = p.mustRefresh("postern_release", p.release)
	_, failed := p.apply("postern_release", p.release, nil)
	wantError(t, failed, "Somebody else released another bundle")
	p.mustPublish(digest, attributes{"on_destroy": "deny_all", "on_drift": "overwrite"})

	// It releases a bundle that refuses everybody.
	if _, failed := p.apply("postern_release", p.release, nil); failed != "" {
		t.Fatal(failed)
	}
	live := p.l.control.Live("orders")
	denied, _ := p.l.control.Bundle(live.Bundle)
	if live.Revision != 4 || live.Predecessor != digest || len(denied.Gateways) != 1 || len(denied.QueryRules) != 0 ||
		denied.Gateways[0].DefaultEffect != policylang.EffectDeny {
		t.Errorf("live after deny_all is %+v: %+v", live, denied)
	}
}

func TestReleaseMovesToAnotherGateway(t *testing.T) {
	p := newPublisher(t)
	digest := p.upload("statement.read_only")
	p.mustPublish(digest, nil)
	plan := p.plan("postern_release", p.release, attributes{"gateway": "other", "bundle": digest})
	if !plan.requiresReplace || plan.errors != "" {
		t.Errorf("another gateway is no replacement (%s)", plan.errors)
	}
}

func TestReleaseDisappears(t *testing.T) {
	p := newPublisher(t)
	p.mustPublish(p.upload("statement.read_only"), nil)
	p.l.control.Forget("orders")
	if s, failed := p.refresh("postern_release", p.release); s != nil || failed != "" {
		t.Errorf("refresh kept the release (%s)", failed)
	}
}

// What the control plane says must agree with what was signed.
func TestReleaseLyingControlPlane(t *testing.T) {
	p := newPublisher(t)
	first := p.upload("statement.read_only")
	p.mustPublish(first, nil)
	p.l.control.Lie("orders", "sha256:"+strings.Repeat("0", 64))
	_, failed := p.refresh("postern_release", p.release)
	wantError(t, failed, "differs from the signed statement")
}

func TestReleaseNeedsAKey(t *testing.T) {
	p := newPublisher(t)
	digest := p.upload("statement.read_only")
	keyless := p.l.protocolWith(t, attributes{"endpoint": p.l.control.URL, "token": fakecontrol.Token})
	_, failed := keyless.apply("postern_release", nil, releaseOf(digest, nil))
	wantError(t, failed, "POSTERN_SIGNING_KEY")
}

func TestReleaseOfNoBundle(t *testing.T) {
	p := newPublisher(t)
	wantError(t, p.publish("sha256:"+strings.Repeat("0", 64), nil), "there is no bundle")
}

// A gateway refuses a bundle that does not declare it: so does the plan.
func TestReleaseOfAnotherGatewaysBundle(t *testing.T) {
	p := newPublisher(t)
	digest := p.upload("statement.read_only")
	plan := p.plan("postern_release", nil, attributes{"gateway": "order", "bundle": digest})
	wantError(t, plan.errors, `The bundle has no gateway "order"`, `Did you mean "orders"?`)
}

func TestAccRelease(t *testing.T) {
	l := newLab(t)
	l.control.SetProcesses("orders", fakecontrol.Process{Name: "p1"}, fakecontrol.Process{Name: "p2"})
	config := func(condition, over string) string {
		return strings.ReplaceAll(quickPolicy, "CONDITION", condition) + `
resource "postern_release" "orders" {
  gateway = postern_gateway.orders.name
  bundle  = postern_bundle.orders.digest
` + over + `
  timeouts {
    update = "30s"
  }
}
`
	}
	var stray string
	address, liveBundle := "postern_release.orders", tfjsonpath.New("live_bundle")
	first := digestOf(t, policyOf(map[string]string{"read": "statement.read_only", "write": "statement.writes"}))
	second := digestOf(t, policyOf(map[string]string{"read": "statement.read_only", "write": "statement.ddl"}))
	l.accept(
		t,
		resource.TestStep{
			Config: config("statement.writes", ""),
			Check: resource.ComposeAggregateTestCheckFunc(
				resource.TestCheckResourceAttr(address, "bundle", first),
				resource.TestCheckResourceAttr(address, "revision", "1"),
				resource.TestCheckResourceAttr(address, "acknowledged", "true"),
			),
		},
		resource.TestStep{
			ResourceName: address, ImportState: true, ImportStateId: "orders",
			ImportStateVerify: true, ImportStateVerifyIdentifierAttribute: "gateway",
			ImportStateVerifyIgnore: []string{"changes"},
		},
		// The condition is unknown until apply, and so is what is released.
		resource.TestStep{
			Config: config("statement.ddl", ""),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectUnknownValue(address, liveBundle),
			}},
			Check: resource.ComposeAggregateTestCheckFunc(
				resource.TestCheckResourceAttr(address, "live_bundle", second),
				resource.TestCheckResourceAttr(address, "predecessor", first),
				resource.TestCheckResourceAttr(address, "changes.0", `~ query_rule.write: when "statement.writes" -> "statement.ddl"`),
			),
		},
		// Drift: somebody else released another bundle.
		resource.TestStep{
			PreConfig: func() {
				stray = l.control.Publish("orders", simplePolicy("orders", "stray"), l.other, "break glass")
			},
			Config:      config("statement.ddl", ""),
			ExpectError: regexp.MustCompile(`Somebody else released another bundle to gateway "orders"`),
		},
		resource.TestStep{
			Config: config("statement.ddl", `on_drift = "overwrite"`),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction(address, plancheck.ResourceActionUpdate),
				plancheck.ExpectKnownValue(address, liveBundle, knownvalue.StringExact(second)),
			}},
			Check: resource.TestCheckResourceAttr(address, "revision", "4"),
		},
		// Disappears: the control plane lost its history.
		resource.TestStep{
			PreConfig: func() { l.control.Forget("orders") },
			Config:    config("statement.ddl", "deletion_protection = true"),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction(address, plancheck.ResourceActionCreate),
			}},
		},
		resource.TestStep{
			Config:      config("statement.ddl", "deletion_protection = true"),
			Destroy:     true,
			ExpectError: regexp.MustCompile(`is protected from deletion`),
		},
		resource.TestStep{Config: config("statement.ddl", "deletion_protection = false")},
	)
	if live := l.control.Live("orders").Bundle; live != second || stray == "" {
		t.Errorf("live after destroy is %s, want %s: the policy stays in force", live, second)
	}
}
