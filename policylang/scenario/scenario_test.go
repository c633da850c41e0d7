package scenario_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/scenario"
	"github.com/posternhq/postern/policylang/source"
)

// policy is what the tests of this file ask.
const policy = `
gateway "g" {
  upstream {
    host = "db"
  }
}

identity "ana" {
  kind          = "human"
  when          = "token.sub == 'ana'"
  groups        = ["staff"]
  database_role = "staff"
}

identity "twin" {
  kind = "human"
  when = "has(token.twin) && token.twin == 'yes'"
}

identity "many" {
  kind      = "human"
  when      = "has(token.team) && token.team == 'x'"
  name_from = "token.sub"
}

identity "bot" {
  kind = "agent"
  when = "token.sub == 'bot'"
}

approval_group "dba" {
  members = ["ben"]
}

query_rule "read" {
  when   = "statement.read_only"
  effect = "allow"
}

query_rule "write_shop" {
  when   = "statement.command in ['INSERT', 'UPDATE', 'DELETE'] && statement.within('shop.*') && !identity.delegated"
  effect = "allow"
}

query_rule "unfiltered" {
  when           = "statement.writes && !statement.filtered && statement.command != 'INSERT'"
  effect         = "hold"
  message        = "Ask first."
  approval_group = "dba"
  hold_mode      = "retry"
}

query_rule "no_ddl" {
  when    = "statement.ddl"
  effect  = "deny"
  message = "No."
}

query_rule "watch_functions" {
  when   = "statement.calls('*.upper')"
  effect = "deny"
  mode   = "observe"
}

query_rule "night" {
  when      = "now.hour('UTC') < 6"
  effect    = "limit"
  read_only = true
}

query_rule "from_outside" {
  when              = "!session.client_addr.in_cidr('10.0.0.0/8')"
  effect            = "limit"
  max_rows          = 5
  statement_timeout = "2s"
  require_reason    = true
}

query_rule "ceiling" {
  when     = "true"
  effect   = "limit"
  max_rows = 50
}

masking_policy "mail" {
  columns   = ["shop.people.email"]
  transform = "partial"
}
`

const schema = `CREATE SCHEMA shop;
CREATE TABLE shop.people (id int, name text, email text);
CREATE SCHEMA staff;
CREATE TABLE staff.people (id int);
`

// TestRun gives each test of a policy file to Run. A name that ends in a colon
// and a text must fail with that text; the others must pass.
func TestRun(t *testing.T) {
	const tests = `
test "a read is allowed" {
  identity = "ana"
  sql      = "select 1"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    effect         = "allow"
    rules          = ["read"]
    max_rows       = 50
    read_only      = false
    require_reason = false
    observed       = []
  }
}

test "limits combine to the strictest" {
  identity = "ana"
  sql      = "select 1"
  session {
    reason = "x"
  }
  expect {
    effect            = "allow"
    max_rows          = 5
    statement_timeout = "2s"
    require_reason    = true
  }
}

test "a limit demands a reason" {
  identity = "ana"
  sql      = "select 1"
  expect {
    effect  = "deny"
    refused = "reason_required"
    rules   = ["ceiling", "from_outside"]
  }
}

test "a limit demands that nothing changes" {
  identity = "ana"
  now      = "2026-01-01T03:00:00Z"
  schema   = "s.sql"
  sql      = "insert into shop.people values (1)"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    effect    = "deny"
    refused   = "read_only"
    read_only = true
  }
}

test "several statements are decided as the strictest" {
  identity = "ana"
  schema   = "s.sql"
  sql      = "select 1; delete from shop.people; select 2"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    effect          = "hold"
    rules           = ["unfiltered"]
    approval_groups = ["dba"]
    message         = "Ask"
  }
}

test "deny goes before hold" {
  identity = "ana"
  schema   = "s.sql"
  sql      = "delete from shop.people; drop table shop.people"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    effect          = "deny"
    rules           = ["no_ddl"]
    approval_groups = []
    message         = "No."
  }
}

test "a prepared statement is decided as what it runs" {
  identity = "ana"
  schema   = "s.sql"
  sql      = "prepare p as delete from shop.people; execute p"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    effect = "hold"
  }
}

test "who it is no session may set" {
  identity = "ana"
  sql      = "set role to postgres"
  expect {
    effect  = "deny"
    refused = "setting_refused"
  }
}

test "nor reset" {
  identity = "ana"
  sql      = "reset session_authorization"
  expect {
    effect  = "deny"
    refused = "setting_refused"
  }
}

test "text stays UTF-8" {
  identity = "ana"
  sql      = "set client_encoding to 'LATIN1'"
  expect {
    effect  = "deny"
    refused = "bad_encoding"
  }
}

test "harmless settings need no rule" {
  identity = "ana"
  sql      = "set statement_timeout to '5s'; set app.tenant to 'x'; reset work_mem"
  expect {
    effect = "allow"
    rules  = []
  }
}

test "transaction control is admitted" {
  identity = "ana"
  sql      = "begin; commit"
  expect {
    effect = "allow"
    rules  = []
  }
}

test "nothing is admitted" {
  identity = "ana"
  sql      = "-- nothing"
  expect {
    effect = "allow"
  }
}

test "masks" {
  identity = "ana"
  schema   = "s.sql"
  sql      = "select name, email, email || '' as e from shop.people"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    masked   = ["e", "email"]
    unmasked = ["name"]
  }
}

test "names are found in the search path" {
  identity = "ana"
  schema   = "s.sql"
  sql      = "select * from people"
  session {
    client_addr = "10.0.0.1"
    search_path = ["shop"]
  }
  expect {
    masked = ["email"]
  }
}

test "the role's own schema comes first" {
  identity = "ana"
  schema   = "s.sql"
  sql      = "select * from people"
  session {
    client_addr = "10.0.0.1"
    search_path = ["$user", "shop"]
  }
  expect {
    masked   = []
    unmasked = ["id"]
  }
}

test "masked columns decide nothing" {
  identity = "ana"
  schema   = "s.sql"
  sql      = "select name from shop.people order by email"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    effect  = "deny"
    refused = "masked_in_order"
  }
}

test "rules are observed" {
  identity = "ana"
  sql      = "select upper('x')"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    effect   = "allow"
    observed = ["watch_functions"]
  }
}

test "an agent narrows" {
  identity = "ana"
  actor    = "bot"
  schema   = "s.sql"
  sql      = "insert into shop.people values (1)"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    effect = "deny"
  }
}

test "a token decides who it is" {
  token    = { sub = "u-1", team = "x" }
  identity = "many"
  sql      = "select 1"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    effect = "allow"
  }
}

test "a token of two identities is refused" {
  token = { sub = "ana", twin = "yes" }
  sql   = "select 1"
  expect {
    effect  = "deny"
    refused = "ambiguous_identity"
  }
}

test "a token of none is refused" {
  token = { sub = "x" }
  sql   = "select 1"
  expect {
    refused = "no_identity"
  }
}

test "a token that gives no name is refused" {
  token = { sub = "", team = "x" }
  sql   = "select 1"
  expect {
    refused = "bad_token"
  }
}

test "what cannot be read is refused" {
  identity = "ana"
  sql      = "selekt 1"
  expect {
    effect  = "deny"
    refused = "unparsed"
    message = "syntax error"
  }
}

test "the wrong identity: identity is twin, want ana" {
  token    = { sub = "bob", twin = "yes" }
  identity = "ana"
  sql      = "select 1"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    effect = "allow"
  }
}

test "wrong rules: rules is [\"read\"], want []" {
  identity = "ana"
  sql      = "select 1"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    rules = []
  }
}

test "wrong limits: max_rows is 50, want 7; statement_timeout is 0s, want 1s; read_only is false, want true; require_reason is false, want true" {
  identity = "ana"
  sql      = "select 1"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    max_rows          = 7
    statement_timeout = "1s"
    read_only         = true
    require_reason    = true
  }
}

test "wrong masks: masked is [\"email\"], want [\"name\"]; unmasked is [\"name\"], want [\"email\"]" {
  identity = "ana"
  schema   = "s.sql"
  sql      = "select name, email from shop.people"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    masked   = ["name"]
    unmasked = ["email"]
  }
}

test "masks of what is refused: masked is refused: masked_in_predicate, want []" {
  identity = "ana"
  schema   = "s.sql"
  sql      = "select name from shop.people where email > ''"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    masked = []
  }
}

test "wrong message: message is Ask first., want Run" {
  identity = "ana"
  schema   = "s.sql"
  sql      = "delete from shop.people"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    message = "Run"
  }
}

test "masks without a schema: masked is not known without a schema, want []" {
  identity = "ana"
  sql      = "select name from shop.people"
  session {
    client_addr = "10.0.0.1"
  }
  expect {
    masked = []
  }
}

test "a schema that is not there: none.sql: not there" {
  identity = "ana"
  schema   = "none.sql"
  sql      = "select 1"
  expect {
    effect = "allow"
  }
}
`
	file, problems := source.Parse("p.hcl", []byte(policy+tests))
	for _, p := range problems {
		if p.Severity == policylang.SeverityError {
			t.Fatalf("%v\n%s", p, file.Excerpt(p))
		}
	}
	report, problems := scenario.Run(file.Policy, file.Tests, scenario.Options{Schema: schemaOf(t)})
	if report == nil {
		t.Fatal(problems)
	}
	if len(report.Results) != len(file.Tests) {
		t.Errorf("%d results of %d tests", len(report.Results), len(file.Tests))
	}
	for i := range report.Results {
		r := &report.Results[i]
		_, want, fails := strings.Cut(r.Test, ": ")
		if r.Passed == fails || r.Summary() != want {
			t.Errorf("%s: passed %t, %q", r.Test, r.Passed, r.Summary())
		}
	}
	for _, c := range report.Coverage {
		if len(c.Tests) == 0 || !slices.IsSorted(c.Tests) {
			t.Errorf("%s is shown by %v", c.Path(), c.Tests)
		}
	}
}

func schemaOf(t *testing.T) func(*policylang.Test) (*pgcatalog.Catalog, []policylang.Problem) {
	t.Helper()
	base := baseline(t)
	return func(test *policylang.Test) (*pgcatalog.Catalog, []policylang.Problem) {
		if test.Schema != "s.sql" {
			return nil, []policylang.Problem{{File: test.Schema, Summary: "not there"}}
		}
		return scenario.ReadSchema(test.Schema, schema, base)
	}
}

// run runs tests of a policy that is given as text.
func run(t *testing.T, text string, tests ...policylang.Test) *scenario.Report {
	t.Helper()
	file, problems := source.Parse("p.hcl", []byte(text))
	if policylang.HasErrors(problems) {
		t.Fatal(problems)
	}
	report, problems := scenario.Run(file.Policy, append(file.Tests, tests...), scenario.Options{Schema: schemaOf(t)})
	if report == nil {
		t.Fatal(problems)
	}
	return report
}

func TestRunGateways(t *testing.T) {
	const gateway = "gateway \"%\" {\n  default_effect = \"allow\"\n  unparsed = \"allow\"\n  upstream {\n    host = \"db\"\n  }\n}\n"
	const identity = "identity \"ana\" {\n  kind = \"human\"\n  when = \"true\"\n}\n"
	allow := policylang.Test{Name: "t", Identity: "ana", SQL: "selekt 1", Expect: policylang.Expect{Effect: policylang.EffectAllow}}
	one, two := strings.ReplaceAll(gateway, "%", "one"), strings.ReplaceAll(gateway, "%", "two")
	named := allow
	named.Gateway = "two"
	tests := []struct {
		name, policy string
		test         policylang.Test
		want         string
	}{
		{"the only gateway is asked", one + identity, allow, ""},
		{"a gateway is named", one + two + identity, named, ""},
		{"none of two is named", one + two + identity, allow, "the policy has 2 gateways: say which one is asked"},
		{"an unknown one is named", one + identity, named, `there is no gateway "two" in the policy`},
		{"without a gateway everything is denied", identity, allow, "effect is deny, want allow"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			report := run(t, tt.policy, tt.test)
			if got := report.Results[0].Summary(); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("summary %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRunNotes(t *testing.T) {
	report := run(t, policy, policylang.Test{Name: "t", Identity: "ana", SQL: "select 1", Session: policylang.TestSession{ClientAddr: "10.0.0.1"}, Expect: policylang.Expect{Effect: policylang.EffectAllow}})
	if r := report.Results[0]; !r.Passed || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "no schema is given") {
		t.Errorf("result %+v", r)
	}
}

func TestRunOnly(t *testing.T) {
	file, _ := source.Parse("p.hcl", []byte(policy))
	tests := []policylang.Test{{Name: "a", Identity: "ana", SQL: "select 1"}, {Name: "b", Identity: "ana", SQL: "select 1"}}
	report, _ := scenario.Run(file.Policy, tests, scenario.Options{Only: func(t *policylang.Test) bool { return t.Name == "b" }})
	if len(report.Results) != 1 || report.Results[0].Test != "b" {
		t.Errorf("results %+v", report.Results)
	}
}

func TestRunBrokenPolicy(t *testing.T) {
	p := policylang.Policy{QueryRules: []policylang.QueryRule{{Name: "a", When: "statment.ddl", Effect: policylang.EffectDeny}}}
	report, problems := scenario.Run(p, nil, scenario.Options{})
	if report != nil || !policylang.HasErrors(problems) {
		t.Errorf("report %v, problems %v", report, problems)
	}
}

func TestReadFile(t *testing.T) {
	file, _ := source.Parse("p.hcl", []byte(policy))
	const good = `{"tests": [{"name": "a", "identity": "ana", "token": {"n": 1}, "sql": "select 1", "session": {"search_path": []}, "expect": {"effect": "allow", "masked": []}}]}`
	tests, problems := scenario.ReadFile("f.json", []byte(good), &file.Policy)
	if len(problems) > 0 || len(tests) != 1 || tests[0].Expect.Masked == nil || tests[0].Session.SearchPath == nil {
		t.Errorf("tests %+v, problems %v", tests, problems)
	}
	for _, tt := range []struct{ name, data, want string }{
		{"not JSON", "{\n \"tests\": x}", "f.json:2:"},
		{"unknown name", `{"tests": [{"nam": "a"}]}`, `unknown field "nam"`},
		{"two values", good + "{}", "more than one JSON value"},
		{"invalid test", `{"tests": [{"name": "a", "identity": "anna", "sql": "select 1", "expect": {"effect": "allow"}}]}`, `no identity is named "anna"; did you mean "ana"?`},
		{"duplicate", `{"tests": [
  {"name": "a", "identity": "ana", "sql": "x", "expect": {"effect": "deny"}},
  {"name": "a", "identity": "ana", "sql": "x", "expect": {"effect": "deny"}}
]}`, `a second test is named "a"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := scenario.ReadFile("f.json", []byte(tt.data), &file.Policy)
			if len(problems) == 0 || !strings.Contains(problems[0].Error(), tt.want) {
				t.Errorf("problems %v, want %q", problems, tt.want)
			}
		})
	}
}

// TestReports writes what other tools read, and reads it again.
func TestReports(t *testing.T) {
	report := run(t, policy,
		policylang.Test{Name: "good", Identity: "ana", SQL: "begin", Expect: policylang.Expect{Effect: policylang.EffectAllow}},
		policylang.Test{Name: "bad <&>\x01", Identity: "ana", SQL: "begin", Expect: policylang.Expect{Effect: policylang.EffectDeny}},
		policylang.Test{Name: "broken", Identity: "ana", SQL: "begin", Schema: "none.sql", Expect: policylang.Expect{Effect: policylang.EffectDeny}},
	)
	at := func(p policylang.Path) (string, int, int) {
		if p.Kind == "test" && p.Name == "broken" {
			return "", 0, 0
		}
		return `dir\p.hcl`, 3, 4
	}
	if report.Failed() != 2 {
		t.Errorf("%d tests failed", report.Failed())
	}

	var junit bytes.Buffer
	if err := scenario.WriteJUnit(&junit, "suite", report, at); err != nil {
		t.Fatal(err)
	}
	for dec := xml.NewDecoder(&junit); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}

	var sarif bytes.Buffer
	problem := policylang.Problem{Severity: policylang.SeverityWarning, File: "q.hcl", Line: 1, Col: 2, EndLine: 1, EndCol: 5, Summary: "odd", Advice: "Mend it.", Suggestion: "even"}
	if err := scenario.WriteSARIF(&sarif, "1.2.3", []policylang.Problem{problem}, report, at); err != nil {
		t.Fatal(err)
	}
	var log struct {
		Runs []struct {
			Results []struct {
				RuleID    string `json:"ruleId"`
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           *struct{ StartLine, StartColumn, EndColumn int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(sarif.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	results := log.Runs[0].Results
	first := results[0]
	if first.Message.Text != `odd. Did you mean "even"? Mend it.` || first.Level != "warning" || first.Locations[0].PhysicalLocation.Region.EndColumn != 5 {
		t.Errorf("the problem: %+v", first)
	}
	if bad := results[1]; bad.RuleID != "policy-test" || bad.Locations[0].PhysicalLocation.ArtifactLocation.URI != "dir/p.hcl" {
		t.Errorf("the failed test: %+v", bad)
	}
	if broken := results[2]; len(broken.Locations) != 0 {
		t.Errorf("the broken test: %+v", broken)
	}
	if len(results) < 4 || results[3].RuleID != "policy-uncovered" || results[3].Level != "note" {
		t.Errorf("what is not shown: %+v", results)
	}
}
