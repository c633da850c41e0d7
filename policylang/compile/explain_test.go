package compile_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
)

// trace writes an explanation's rules, one a line.
func trace(s compile.Side) []string {
	var lines []string
	for _, r := range s.Rules {
		line := fmt.Sprintf("%s %s: %s", r.Effect, r.Rule, r.Value)
		if r.Matched {
			line += " matched"
		}
		if r.Near {
			line += " near"
		}
		for _, c := range r.Conjuncts {
			line += fmt.Sprintf("; %s is %s", c.Text, c.Value)
			if c.Error != "" {
				line += " (" + c.Error + ")"
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestExplain(t *testing.T) {
	p := examplePolicy()
	p.QueryRules = append(p.QueryRules, policylang.QueryRule{
		Name: "broken", Effect: policylang.EffectAllow, When: "identity.claims.team == 'core' && (statement.read_only || statement.writes)",
	})
	e := mustCompile(t, p, "orders").Evaluator(engineer(), testSession())
	x := e.Explain(update(true), noon)
	if x.Decision != e.Decide(update(true), noon) && !cmp.Equal(x.Decision, e.Decide(update(true), noon)) {
		t.Errorf("explains %+v", x.Decision)
	}
	want := []string{
		"allow engineers: true matched; 'engineering' in identity.groups is true",
		"limit row_ceiling: true matched; identity.kind != 'service' is true",
		"deny agents_never_write: false near; identity.kind == 'agent' is false; statement.writes is true",
		"allow broken: error near; identity.claims.team == 'core' is error (no such key: team); statement.read_only || statement.writes is true",
		"hold unfiltered_writes: false near; statement.writes is true; !statement.filtered is false",
		"hold weekend: false near; now.weekday('Europe/Berlin') > 5 is false; statement.writes is true",
		"limit agents_read: false; identity.kind == 'agent' is false",
		"deny no_drop_database: false; statement.commands.exists(c, c == 'DROP DATABASE') is false",
		"deny no_secrets: false; statement.reads('secret.*') is false",
		"deny watch_selects: false; statement.command == 'SELECT' is false",
	}
	if diff := cmp.Diff(want, trace(x.Sides[0])); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if len(x.Sides[0].Masks) != 2 || !x.Sides[0].Masks[0].Applies || x.Sides[0].Masks[0].Conjuncts[0].Text != "'pii' in identity.groups" {
		t.Errorf("masks %+v", x.Sides[0].Masks)
	}
	data, err := json.Marshal(x)
	if err != nil || !strings.Contains(string(data), `"value":"unknown"`) && !strings.Contains(string(data), `"value":"false"`) {
		t.Errorf("encodes as %s, %v", data, err)
	}
}

// TestExplainMany: an explanation of a large policy stays readable.
func TestExplainMany(t *testing.T) {
	e := mustCompile(t, mixedPolicy(500), "orders").Evaluator(engineer(), testSession())
	s := e.Explain(pgbenchSelect(), noon).Sides[0]
	if len(s.Rules) > 40 || s.Omitted < 400 || !s.Rules[0].Matched {
		t.Errorf("%d rules, %d omitted", len(s.Rules), s.Omitted)
	}
}

// TestExplainAgent: both sides are explained.
func TestExplainAgent(t *testing.T) {
	ana := engineer()
	ana.Actor = &policylang.Subject{Name: "bot", Kind: "agent"}
	x := mustCompile(t, examplePolicy(), "orders").Evaluator(ana, testSession()).Explain(update(true), noon)
	if len(x.Sides) != 2 || x.Sides[0].Subject != "ana" || x.Sides[1].Subject != "bot" || x.Sides[0].Decision.Effect != policylang.EffectAllow || x.Decision.Effect != policylang.EffectDeny {
		t.Errorf("explained as %+v", x)
	}
}

// TestExplainDecidesAlike explains requests that never come to a rule, and wants
// the decision that is made of them.
func TestExplainDecidesAlike(t *testing.T) {
	program := mustCompile(t, examplePolicy(), "orders")
	for _, tt := range []struct {
		name  string
		facts *policylang.Facts
		want  policylang.Effect
	}{
		{"no facts", nil, policylang.EffectDeny},
		{"transaction", &policylang.Facts{Command: "COMMIT", Class: policylang.ClassMisc, Transaction: true}, policylang.EffectAllow},
		{"empty facts", &policylang.Facts{}, policylang.EffectDeny},
		{"a whole table", update(false), policylang.EffectHold},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := program.Evaluator(engineer(), testSession())
			x, d := e.Explain(tt.facts, noon), e.Decide(tt.facts, noon)
			if x.Decision.Effect != tt.want {
				t.Errorf("explains %s, want %s", x.Decision.Effect, tt.want)
			}
			if diff := cmp.Diff(d, x.Decision); diff != "" {
				t.Errorf("decided (-) and explained (+):\n%s", diff)
			}
			one := program.Decide(policylang.Request{Subject: engineer(), Session: testSession(), Facts: tt.facts, Now: noon})
			if diff := cmp.Diff(d, one); diff != "" {
				t.Errorf("in a session (-) and alone (+):\n%s", diff)
			}
		})
	}
}

// TestExplainNegated writes the ! of a bracket before each part that it turns.
func TestExplainNegated(t *testing.T) {
	p := policylang.Policy{QueryRules: []policylang.QueryRule{{Name: "r", Effect: policylang.EffectAllow, When: "!(statement.writes || statement.ddl)"}}}
	x := mustCompile(t, p, "").Evaluator(engineer(), testSession()).Explain(update(true), noon)
	want := []string{"allow r: false near; !(statement.writes) is false; !(statement.ddl) is true"}
	if diff := cmp.Diff(want, trace(x.Sides[0])); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}
