package provider_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/posternhq/postern/policylang"
)

// draftCase is the life of one object: its least configuration, then its most.
type draftCase struct {
	kind        policylang.Kind
	least, most string
	want        policylang.Object // of most

	invalid string            // a configuration with a mistake
	refusal string            // what Terraform prints of it, as an expression over lines
	late    string            // a configuration with OUTPUT, a value that is known after apply
	input   string            // the value
	made    policylang.Object // of late
}

func draftCases() []draftCase {
	return []draftCase{
		{
			kind: policylang.KindGateway,
			least: `
				upstream = { host = "db.internal" }`,
			most: `
				default_effect = "allow"
				unparsed       = "allow"
				upstream = {
				  host         = "db2.internal"
				  port         = 5433
				  tls          = "verify-ca"
				  ca           = "/etc/postern/ca.pem"
				  credentials  = "file:/run/secrets/orders"
				  catalog_role = "reader"

				  login         = "scram"
				  session_table = true

				  fallback_hosts       = ["z.internal", "a.internal:5434"]
				  target_session_attrs = "read-write"
				}
				issuer = {
				  corp     = { url = "https://login.example.com", audience = "postern" }
				  partners = { url = "https://partners.example.com", audience = "postern" }
				}`,
			want: &policylang.Gateway{
				Name: "x", DefaultEffect: "allow", Unparsed: "allow",
				Upstream: policylang.Upstream{
					Host: "db2.internal", Port: 5433, FallbackHosts: []string{"z.internal", "a.internal:5434"}, TargetSessionAttrs: "read-write", TLS: "verify-ca", CA: "/etc/postern/ca.pem",
					Credentials: "file:/run/secrets/orders", CatalogRole: "reader", Login: policylang.LoginSCRAM, SessionTable: true,
				},
				Issuers: []policylang.Issuer{
					{Name: "corp", URL: "https://login.example.com", Audience: "postern"},
					{Name: "partners", URL: "https://partners.example.com", Audience: "postern"},
				},
			},
			invalid: `
				upstream = { host = "db.internal", tls = "verify-ful" }`,
			refusal: `upstream\.tls cannot be "verify-ful".*upstream = .*Did you mean "verify-full"\?`,
			late: `
				upstream = { host = OUTPUT }`,
			input: `db3.internal`,
			made:  &policylang.Gateway{Name: "x", Upstream: policylang.Upstream{Host: "db3.internal"}},
		},
		{
			kind: policylang.KindIdentity,
			least: `
				kind = "human"
				when = "token.sub == 'u-17'"`,
			most: `
				kind          = "service"
				when          = "token.iss == 'https://ci.example.com' && token.sub == 'job'"
				groups        = ["ci", "batch"]
				name_from     = "token.sub"
				groups_from   = "token.groups"
				database_role = "app"`,
			want: &policylang.Identity{
				Name: "x", Kind: "service", When: "token.iss == 'https://ci.example.com' && token.sub == 'job'",
				Groups: []string{"batch", "ci"}, NameFrom: "token.sub", GroupsFrom: "token.groups", DatabaseRole: "app",
			},
			invalid: `
				kind = "human"
				when = "tokn.sub == 'u-17'"`,
			refusal: `when = "tokn\.sub == 'u-17'".*tokn\.sub == 'u-17'\n +\^+`,
			late: `
				kind   = "human"
				when   = "token.sub == 'u-17'"
				groups = [OUTPUT]`,
			input: `dba`,
			made:  &policylang.Identity{Name: "x", Kind: "human", When: "token.sub == 'u-17'", Groups: []string{"dba"}},
		},
		{
			kind: policylang.KindQueryRule,
			least: `
				when      = "identity.kind != 'service'"
				effect    = "limit"
				max_rows  = 1000`,
			most: `
				when           = "statement.writes && !statement.filtered"
				effect         = "hold"
				mode           = "observe"
				message        = "Ask first."
				approval_group = "dba"
				hold_mode      = "retry"`,
			want: &policylang.QueryRule{
				Name: "x", When: "statement.writes && !statement.filtered", Effect: "hold", Mode: "observe",
				Message: "Ask first.", ApprovalGroup: "dba", HoldMode: "retry",
			},
			invalid: `
				when   = "statement.read_only"
				effect = "alow"`,
			refusal: `effect = "alow".*Did you mean "allow"\?`,
			late: `
				when   = OUTPUT
				effect = "deny"`,
			input: `statement.ddl`,
			made:  &policylang.QueryRule{Name: "x", When: "statement.ddl", Effect: "deny"},
		},
		{
			kind: policylang.KindMaskingPolicy,
			least: `
				columns   = ["*.*.ssn"]
				transform = "redact"`,
			most: `
				columns    = ["public.customers.email", "*.*.ssn"]
				detect     = ["email", "card"]
				transform  = "partial"
				unless     = "'pii' in identity.groups"
				mode       = "observe"
				keep_first = 1
				keep_last  = 4
				format     = "email"
				predicates = "equality"
				order      = "allow"
				group      = "allow"
				counting   = "allow"`,
			want: &policylang.MaskingPolicy{
				Name: "x", Columns: []string{"*.*.ssn", "public.customers.email"}, Detect: []string{"card", "email"}, Transform: "partial",
				Unless: "'pii' in identity.groups", Mode: "observe", KeepFirst: 1, KeepLast: 4, Format: "email",
				Predicates: "equality", Order: "allow", Group: "allow", Count: "allow",
			},
			invalid: `
				columns   = ["shop.public.customers.ssn"]
				transform = "redact"`,
			refusal: `has 4 parts.*columns   = \["shop\.public\.customers\.ssn"\].*schema\.table\.column`,
			late: `
				columns   = [OUTPUT]
				transform = "redact"`,
			input: `public.customers.ssn`,
			made:  &policylang.MaskingPolicy{Name: "x", Columns: []string{"public.customers.ssn"}, Transform: "redact"},
		},
		{
			kind: policylang.KindApprovalGroup,
			least: `
				members = ["ben"]`,
			most: `
				members    = ["chloe", "ben"]
				required   = 2
				expires_in = "30m"`,
			want: &policylang.ApprovalGroup{Name: "x", Members: []string{"ben", "chloe"}, Required: 2, ExpiresIn: "30m"},
			invalid: `
				members  = ["ben"]
				required = 2`,
			refusal: `required = 2.*member`,
			late: `
				members = ["ben", OUTPUT]`,
			input: `chloe`,
			made:  &policylang.ApprovalGroup{Name: "x", Members: []string{"ben", "chloe"}},
		},
	}
}

func TestAccDraft(t *testing.T) {
	for _, c := range draftCases() {
		t.Run(string(c.kind), func(t *testing.T) {
			l := newLab(t)
			address := fmt.Sprintf("postern_%s.x", c.kind)
			config := func(body string) string {
				return fmt.Sprintf("resource \"postern_%s\" \"x\" {\n name = \"x\"\n%s\n}\n", c.kind, body)
			}
			stored := func(want policylang.Object) resource.TestCheckFunc {
				return func(*terraform.State) error {
					if diff := cmp.Diff(canonical(t, want), canonical(t, l.control.Object(c.kind, "x"))); diff != "" {
						return fmt.Errorf("stored object (-want +got):\n%s", diff)
					}
					return nil
				}
			}
			digestKnown := plancheck.ExpectKnownValue(address, tfjsonpath.New("digest"), knownvalue.StringRegexp(regexp.MustCompile(`^sha256:`)))
			imports := resource.TestStep{
				ResourceName: address, ImportState: true, ImportStateId: "x",
				ImportStateVerify: true, ImportStateVerifyIdentifierAttribute: "name",
			}
			late := "resource \"terraform_data\" \"late\" {\n input = \"" + c.input + "\"\n}\n" +
				config(strings.ReplaceAll(c.late, "OUTPUT", "terraform_data.late.output"))
			l.accept(
				t,
				resource.TestStep{Config: config(c.invalid), ExpectError: regexp.MustCompile("(?s)" + c.refusal)},
				resource.TestStep{
					Config:           config(c.least),
					ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{digestKnown}},
				},
				resource.TestStep{
					Config: config(c.most),
					ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
						digestKnown,
						plancheck.ExpectResourceAction(address, plancheck.ResourceActionUpdate),
					}},
					ConfigStateChecks: []statecheck.StateCheck{
						statecheck.ExpectKnownValue(address, tfjsonpath.New("definition"), knownvalue.StringExact(canonical(t, c.want))),
					},
					Check: stored(c.want),
				},
				imports,
				// Drift: somebody else changed the object, and it is put right.
				resource.TestStep{
					PreConfig: func() { l.control.PutObject(drifted(c.kind)) },
					Config:    config(c.most),
					ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
						plancheck.ExpectResourceAction(address, plancheck.ResourceActionUpdate),
					}},
					Check: stored(c.want),
				},
				// Disappears: somebody else removed the object, and it is made again.
				resource.TestStep{
					PreConfig: func() { l.control.RemoveObject(c.kind, "x") },
					Config:    config(c.least),
					ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
						plancheck.ExpectResourceAction(address, plancheck.ResourceActionCreate),
					}},
				},
				// What is known only after apply leaves the digest open until then.
				resource.TestStep{
					Config: late,
					ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
						plancheck.ExpectUnknownValue(address, tfjsonpath.New("digest")),
						plancheck.ExpectUnknownValue(address, tfjsonpath.New("definition")),
					}},
					Check: stored(c.made),
				},
			)
		})
	}
}

// drifted is another object of the kind and the name x.
func drifted(kind policylang.Kind) policylang.Object {
	switch kind {
	case policylang.KindGateway:
		return &policylang.Gateway{Name: "x", Upstream: policylang.Upstream{Host: "elsewhere"}}
	case policylang.KindIdentity:
		return &policylang.Identity{Name: "x", Kind: "human", When: "false"}
	case policylang.KindQueryRule:
		return &policylang.QueryRule{Name: "x", When: "false", Effect: policylang.EffectDeny}
	case policylang.KindMaskingPolicy:
		return &policylang.MaskingPolicy{Name: "x", Columns: []string{"a.b.c"}, Transform: policylang.TransformNull}
	case policylang.KindApprovalGroup:
	}
	return &policylang.ApprovalGroup{Name: "x", Members: []string{"mallory"}}
}

func canonical(t *testing.T, o policylang.Object) string {
	t.Helper()
	if o == nil {
		return ""
	}
	data, err := policylang.Definition(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
