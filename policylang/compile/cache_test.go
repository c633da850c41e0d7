package compile_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/policylang"
)

// TestSharing: what sessions share never mixes them up.
func TestSharing(t *testing.T) {
	p := examplePolicy()
	p.QueryRules = []policylang.QueryRule{
		{Name: "own_table", Effect: policylang.EffectAllow, When: "statement.relations.exists(r, r.name == identity.name)"},
		{Name: "shared", Effect: policylang.EffectAllow, When: "statement.reads('public.shared')"},
	}
	program := mustCompile(t, p, "orders")
	ana := program.Evaluator(&policylang.Subject{Name: "ana"}, testSession())
	ben := program.Evaluator(&policylang.Subject{Name: "ben"}, testSession())
	own, shared := selectFrom("public", "ana"), selectFrom("public", "shared")
	for range 2 {
		if !ana.Decide(own, noon).Allowed() || ben.Decide(own, noon).Allowed() {
			t.Error("a decision that depends on the identity is shared")
		}
		if !ana.Decide(shared, noon).Allowed() || !ben.Decide(shared, noon).Allowed() {
			t.Error("a shared table is not allowed")
		}
	}
}

// TestAlikeTexts: texts of one form share a decision, unless a rule looks at
// the text.
func TestAlikeTexts(t *testing.T) {
	origin := selectFrom("public", "t")
	other := *origin
	other.Text, other.Origin = "select 4711", origin
	p := examplePolicy()
	e := mustCompile(t, p, "orders").Evaluator(engineer(), testSession())
	if e.Decide(origin, noon) != e.Decide(&other, noon) {
		t.Error("alike texts are decided twice")
	}
	p.QueryRules = append(p.QueryRules, policylang.QueryRule{Name: "text", Effect: policylang.EffectDeny, When: "statement.text.contains('4711')"})
	e = mustCompile(t, p, "orders").Evaluator(engineer(), testSession())
	if !e.Decide(origin, noon).Allowed() || e.Decide(&other, noon).Allowed() {
		t.Error("a rule that looks at the text met another text")
	}
}

// TestTime: a decision that depends on now changes with it, though its facts
// were decided before.
func TestTime(t *testing.T) {
	p := examplePolicy()
	p.QueryRules = []policylang.QueryRule{
		{Name: "office_hours", Effect: policylang.EffectAllow, When: "now.hour('UTC') >= 9 && now.hour('UTC') < 17"},
		{Name: "not_on_sundays", Effect: policylang.EffectDeny, When: "now.weekday('UTC') == 7 && statement.read_only"},
	}
	p.MaskingPolicies[0].Unless = "now.hour('UTC') < 12"
	e := mustCompile(t, p, "orders").Evaluator(engineer(), testSession())
	f := selectFrom("public", "t")
	for range 3 {
		for hour := range 24 * 14 {
			now := noon.Add(time.Duration(hour) * time.Hour)
			want := now.Hour() >= 9 && now.Hour() < 17 && now.Weekday() != time.Sunday
			if got := e.Decide(f, now).Allowed(); got != want {
				t.Fatalf("at %v allowed is %v", now, got)
			}
			if got := len(e.Masks(now).Masks) == 2; got != (now.Hour() >= 12) {
				t.Fatalf("at %v masked is %v", now, got)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { e.Decide(f, noon) }); n > 0 {
		t.Errorf("a decision seen before allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { e.Masks(noon) }); n > 0 {
		t.Errorf("masks seen before allocate %v times", n)
	}
}

// TestNoAllocation: a repeated statement costs no allocation, of an agent too.
func TestNoAllocation(t *testing.T) {
	program := mustCompile(t, mixedPolicy(200), "orders")
	byAgent := engineer()
	byAgent.Actor = &policylang.Subject{Name: "bot", Kind: "agent", Groups: []string{"engineering"}}
	for _, s := range []*policylang.Subject{engineer(), byAgent} {
		e := program.Evaluator(s, testSession())
		f := pgbenchSelect()
		e.Decide(f, noon)
		if n := testing.AllocsPerRun(100, func() { e.Decide(f, noon) }); n > 0 {
			t.Errorf("a repeated decision allocates %v times", n)
		}
	}
}

// TestConcurrent: sessions of many classes decide at once, more statements than
// the caches hold.
func TestConcurrent(t *testing.T) {
	program := mustCompile(t, mixedPolicy(100), "orders")
	shared := pgbenchSelect()
	var sessions sync.WaitGroup
	for i := range 8 {
		sessions.Go(func() {
			s := engineer()
			s.Groups = append(s.Groups, fmt.Sprintf("group%d", i/2))
			e := program.Evaluator(s, testSession())
			for range 3000 {
				if !e.Decide(shared, noon).Allowed() || !e.Decide(pgbenchSelect(), noon).Allowed() {
					t.Error("not allowed")
					return
				}
			}
		})
	}
	sessions.Wait()
}
