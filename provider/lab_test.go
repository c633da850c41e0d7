package provider_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/provider"
	"github.com/posternhq/postern/provider/internal/fakecontrol"
)

// lab is a control plane and a key to publish with.
type lab struct {
	control *fakecontrol.Server
	key     *bundle.PrivateKey
	other   *bundle.PrivateKey // another publisher's
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return &lab{control: fakecontrol.New(t), key: newKey(t, "ours"), other: newKey(t, "theirs")}
}

func newKey(t *testing.T, name string) *bundle.PrivateKey {
	t.Helper()
	key, err := bundle.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// config puts the provider's block before the text.
func (l *lab) config(text string) string {
	return fmt.Sprintf(`
provider "postern" {
  endpoint    = %q
  token       = %q
  signing_key = %q
}
`, l.control.URL, fakecontrol.Token, l.key.Secret()) + text
}

// factories serves the provider within the test's own process.
func factories() map[string]func() (tfprotov6.ProviderServer, error) {
	return map[string]func() (tfprotov6.ProviderServer, error){
		"postern": providerserver.NewProtocol6WithError(provider.New("0.1.0")()),
	}
}

// accept runs the steps with a real Terraform, beside other tests. Each step's
// configuration gets the provider's block.
func (l *lab) accept(t *testing.T, steps ...resource.TestStep) {
	t.Helper()
	if os.Getenv("TF_ACC") == "" {
		t.Skip("needs TF_ACC=1 and a terraform binary")
	}
	for i := range steps {
		if steps[i].Config != "" && !strings.Contains(steps[i].Config, `provider "postern"`) {
			steps[i].Config = l.config(steps[i].Config)
		}
	}
	resource.ParallelTest(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: steps})
}

// simplePolicy is a policy that another publisher may release.
func simplePolicy(gateway, rule string) policylang.Policy {
	return policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name: gateway, Upstream: policylang.Upstream{Host: "db.internal"},
			Issuers: []policylang.Issuer{{Name: "corp", URL: "https://login.example.com", Audience: "postern"}},
		}},
		QueryRules: []policylang.QueryRule{{Name: rule, When: "statement.read_only", Effect: policylang.EffectAllow}},
	}
}
