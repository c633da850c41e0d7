package policy

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
)

// request is a statement of a subject, as each engine is asked about it.
type request struct {
	subject *policylang.Subject
	session *policylang.Session
	facts   *policylang.Facts
}

var noon = time.Date(2026, time.April, 1, 12, 0, 0, 0, time.UTC)

// postern compiles the rules for Postern.
func postern(t testing.TB, rules []rule) *compile.Program {
	t.Helper()
	program, problems := compile.Compile(asPostern(rules), "orders")
	if program == nil {
		t.Fatal(problems)
	}
	return program
}

// opa prepares the rules for OPA.
func opa(t testing.TB, rules []rule) rego.PreparedEvalQuery {
	t.Helper()
	query, err := rego.New(rego.Query("x = data.postern.decision; limits = data.postern.limit"), rego.Module("postern.rego", asRego(rules))).PrepareForEval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return query
}

func (q request) opaInput(t testing.TB) ast.Value {
	t.Helper()
	var schemas []any
	for _, r := range q.facts.Relations {
		if r.Verb != policylang.VerbRead {
			schemas = append(schemas, r.Schema)
		}
	}
	input, err := ast.InterfaceToValue(map[string]any{
		"identity":  map[string]any{"name": q.subject.Name, "groups": anys(q.subject.Groups)},
		"session":   map[string]any{"database": q.session.Database},
		"statement": map[string]any{"command": q.facts.Command, "commands": anys(q.facts.Commands), "read_only": q.facts.ReadOnly, "reads": anys(q.reads()), "written_schemas": schemas},
	})
	if err != nil {
		t.Fatal(err)
	}
	return input
}

func (q request) reads() []string {
	var names []string
	for _, r := range q.facts.Relations {
		if r.Verb == policylang.VerbRead {
			names = append(names, r.Schema+"."+r.Name)
		}
	}
	return names
}

func anys(values []string) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

func askOPA(t testing.TB, query rego.PreparedEvalQuery, input ast.Value) (effect string, limits int) {
	t.Helper()
	results, err := query.Eval(t.Context(), rego.EvalParsedInput(input))
	if err != nil || len(results) != 1 {
		t.Fatalf("%v, %v", results, err)
	}
	effect, _ = results[0].Bindings["x"].(string)
	list, _ := results[0].Bindings["limits"].([]any)
	return effect, len(list)
}

// cedarPolicies parses the rules for Cedar.
func cedarPolicies(t testing.TB, rules []rule) *cedar.PolicySet {
	t.Helper()
	set, err := cedar.NewPolicySetFromBytes("postern.cedar", []byte(asCedar(rules)))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// cedarRequest is a request with the entities that it mentions.
type cedarRequest struct {
	entities types.EntityMap
	request  cedar.Request
}

func (q request) cedar() cedarRequest {
	set := func(values []string) types.Value {
		out := make([]types.Value, len(values))
		for i, v := range values {
			out[i] = types.String(v)
		}
		return types.NewSet(out...)
	}
	var schemas []string
	for _, r := range q.facts.Relations {
		if r.Verb != policylang.VerbRead {
			schemas = append(schemas, r.Schema)
		}
	}
	principal := types.NewEntityUID("User", types.String(q.subject.Name))
	var parents []types.EntityUID
	for _, g := range q.subject.Groups {
		parents = append(parents, types.NewEntityUID("Group", types.String(g)))
	}
	return cedarRequest{
		entities: types.EntityMap{principal: {UID: principal, Parents: types.NewEntityUIDSet(parents...)}},
		request: cedar.Request{
			Principal: principal, Resource: types.NewEntityUID("Database", types.String(q.session.Database)),
			Context: types.NewRecord(types.RecordMap{
				"command": types.String(q.facts.Command), "commands": set(q.facts.Commands), "read_only": types.Boolean(q.facts.ReadOnly),
				"reads": set(q.reads()), "written_schemas": set(schemas), "database": types.String(q.session.Database),
			}),
		},
	}
}

func askCedar(policies *cedar.PolicySet, q cedarRequest) (effect string, limits int) {
	ask := func(action policylang.Effect) (bool, cedar.Diagnostic) {
		q.request.Action = types.NewEntityUID("Action", types.String(action))
		decision, diagnostic := cedar.Authorize(policies, q.entities, q.request)
		return decision == cedar.Allow, diagnostic
	}
	_, d := ask(policylang.EffectLimit)
	allowed, why := ask(policylang.EffectAllow)
	held, _ := ask(policylang.EffectHold)
	switch {
	case !allowed && len(why.Reasons) > 0: // a forbid
		return "deny", len(d.Reasons)
	case held:
		return "hold", len(d.Reasons)
	case allowed:
		return "allow", len(d.Reasons)
	}
	return "deny", len(d.Reasons)
}

// pgbenchRequest is what pgbench's built-in select does.
func pgbenchRequest() request {
	return request{
		subject: &policylang.Subject{Name: "ana", Kind: "human", Groups: []string{"engineering", "group1", "group7"}},
		session: &policylang.Session{Gateway: "orders", Database: "app", Role: "app"},
		facts: &policylang.Facts{
			Text: "SELECT abalance FROM pgbench_accounts WHERE aid = $1", Shape: "SELECT abalance FROM pgbench_accounts WHERE aid = ?", Fingerprint: "a5e1c5d4b2f00001",
			Command: "SELECT", Commands: []string{"SELECT"}, Class: policylang.ClassRead, ReadOnly: true, Filtered: true, Limit: -1, Parameters: 1,
			Relations: []policylang.Relation{{Schema: "public", Name: "pgbench_accounts", Verb: policylang.VerbRead}},
		},
	}
}

// randomRequest meets rules of a mix of n often.
func randomRequest(r *rand.Rand, n int) request {
	q := pgbenchRequest()
	i := r.IntN(n)
	q.subject.Groups = []string{fmt.Sprintf("group%d", i/10), fmt.Sprintf("auditors%d", r.IntN(n)/10)}
	q.subject.Name = fmt.Sprintf("user%d", r.IntN(n))
	q.session.Database = fmt.Sprintf("db%d", i/10)
	q.facts.Command = []string{"SELECT", "INSERT", "DROP TABLE"}[r.IntN(3)]
	q.facts.Commands = []string{q.facts.Command}
	q.facts.ReadOnly = q.facts.Command == "SELECT"
	q.facts.Relations = nil
	for range 1 + r.IntN(2) {
		i := max(0, min(n-1, i+r.IntN(10)-5))
		read := policylang.Relation{Schema: fmt.Sprintf("app%d", i/10), Name: fmt.Sprintf("table%d", i/2), Verb: policylang.VerbRead}
		write := policylang.Relation{Schema: fmt.Sprintf("audit%d", i/2), Name: "log", Verb: policylang.VerbInsert}
		q.facts.Relations = append(q.facts.Relations, [...]policylang.Relation{read, read, write}[r.IntN(3)])
	}
	return q
}

// TestEnginesAgree asks all three about the same statements.
func TestEnginesAgree(t *testing.T) {
	rules := mix(60)
	program, query, policies := postern(t, rules), opa(t, rules), cedarPolicies(t, rules)
	seen := make(map[string]int)
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		q := randomRequest(r, len(rules))
		d := program.Decide(policylang.Request{Subject: q.subject, Session: q.session, Facts: q.facts, Now: noon})
		opaEffect, opaLimits := askOPA(t, query, q.opaInput(t))
		cedarEffect, cedarLimits := askCedar(policies, q.cedar())
		if string(d.Effect) != opaEffect || string(d.Effect) != cedarEffect || len(d.Limits.Rules) != opaLimits || len(d.Limits.Rules) != cedarLimits {
			t.Fatalf("Postern says %s, %d limits; OPA %s, %d; Cedar %s, %d: %+v %+v", d.Effect, len(d.Limits.Rules), opaEffect, opaLimits, cedarEffect, cedarLimits, q.subject, q.facts)
		}
		seen[opaEffect]++
	}
	for _, effect := range []string{"allow", "deny", "hold"} {
		if seen[effect] == 0 {
			t.Errorf("no statement was decided %s: %v", effect, seen)
		}
	}
}
