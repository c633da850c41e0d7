package provider_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/tfversion"

	"github.com/posternhq/postern/provider/internal/fakecontrol"
)

// withKey adds a key of its own to a resource's configuration.
func withKey(config attributes, key string, version int) attributes {
	out := attributes{"signing_key_wo": key, "signing_key_wo_version": version}
	for k, v := range config {
		out[k] = v
	}
	return out
}

// A resource's own key signs in place of the provider's, is in no state, and
// signs anew when its version changes.
func TestWriteOnlyKey(t *testing.T) {
	l := newLab(t)
	l.control.SetProcesses("orders", fakecontrol.Process{Name: "p1"})
	p := l.protocolWith(t, attributes{"endpoint": l.control.URL, "token": fakecontrol.Token})
	next := newKey(t, "next")
	config := bundleOf(map[string]any{"read": "statement.read_only"})

	uploaded := p.mustApply("postern_bundle", nil, withKey(config, l.key.Secret(), 1))
	digest := text(t, uploaded.value, "digest")
	released := p.mustApply("postern_release", nil, withKey(releaseOf(digest, nil), l.key.Secret(), 1))
	for typeName, state := range map[string]*resourceState{"postern_bundle": uploaded, "postern_release": released} {
		if !get(t, state.value, "signing_key_wo").IsNull() || strings.Contains(state.value.String(), l.key.Secret()) || strings.Contains(string(state.private), l.key.Secret()) {
			t.Errorf("the key is in the state of %s", typeName)
		}
	}
	if got := text(t, uploaded.value, "signing_key_id"); got != l.key.PublicKey().ID() {
		t.Errorf("the bundle was signed by %s", got)
	}
	// The value alone is no change: Terraform does not compare what it does not keep.
	if plan := p.plan("postern_release", released, withKey(releaseOf(digest, nil), next.Secret(), 1)); !plan.value.Equal(released.value) {
		t.Errorf("another key without another version is planned as %s (%s)", plan.value, plan.errors)
	}
	released = p.mustRefresh("postern_release", released)
	p.mustApply("postern_release", released, withKey(releaseOf(digest, nil), next.Secret(), 2))
	if live := l.control.Live("orders"); live.Revision != 2 || live.Bundle != digest || live.Predecessor != digest {
		t.Errorf("live after another version is %+v", live)
	}
	uploaded = p.mustApply("postern_bundle", uploaded, withKey(config, next.Secret(), 2))
	if got := text(t, uploaded.value, "signing_key_id"); got != next.PublicKey().ID() {
		t.Errorf("the bundle was signed by %s", got)
	}
	// A key that is not known yet, as of an ephemeral value, leaves its id open.
	late := withKey(bundleOf(map[string]any{"read": "true"}), "", 3)
	late["signing_key_wo"] = unknown{}
	if plan := p.plan("postern_bundle", uploaded, late); plan.errors != "" || text(t, plan.value, "signing_key_id") != "?" {
		t.Errorf("with an unknown key the plan is %s (%s)", plan.value, plan.errors)
	}
}

func TestWriteOnlyKeyRefused(t *testing.T) {
	p := newLab(t).protocol(t)
	config := bundleOf(map[string]any{"read": "true"})
	plan := p.plan("postern_bundle", nil, withKey(config, "postern-private-key+x+y+c2VjcmV0", 1))
	wantError(t, plan.errors, `AttributeName("signing_key_wo") | The signing key cannot be read`)
	if strings.Contains(plan.errors, "c2VjcmV0") {
		t.Error("the error shows the key")
	}
	config["signing_key_wo_version"] = 1
	wantError(t, p.validate("postern_bundle", config), `signing_key_wo`)
}

func TestAccWriteOnlyKey(t *testing.T) {
	l := newLab(t)
	l.control.SetProcesses("orders", fakecontrol.Process{Name: "p1"})
	config := `
variable "key" {
  type      = string
  ephemeral = true
  default   = "` + l.other.Secret() + `"
}

resource "postern_bundle" "it" {
  gateways               = { orders = { upstream = { host = "db.internal" } } }
  signing_key_wo         = var.key
  signing_key_wo_version = 1
}
`
	resource.ParallelTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		TerraformVersionChecks:   []tfversion.TerraformVersionCheck{tfversion.SkipBelow(tfversion.Version1_11_0)},
		Steps: []resource.TestStep{{
			Config: l.config(config),
			Check: resource.ComposeAggregateTestCheckFunc(
				resource.TestCheckResourceAttr("postern_bundle.it", "signing_key_id", l.other.PublicKey().ID()),
				resource.TestCheckNoResourceAttr("postern_bundle.it", "signing_key_wo"),
			),
		}},
	})
}
