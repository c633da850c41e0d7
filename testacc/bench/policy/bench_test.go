package policy

import (
	"fmt"
	"testing"
)

// sizes runs a benchmark for each size of policy.
func sizes(b *testing.B, run func(b *testing.B, rules []rule)) {
	for _, n := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			run(b, mix(n))
		})
	}
}

// BenchmarkCompile makes the policy ready, from each engine's text.
func BenchmarkCompile(b *testing.B) {
	b.Run("engine=postern", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			for b.Loop() {
				postern(b, rules)
			}
		})
	})
	b.Run("engine=opa", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			for b.Loop() {
				opa(b, rules)
			}
		})
	})
	b.Run("engine=cedar", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			for b.Loop() {
				cedarPolicies(b, rules)
			}
		})
	})
}

// BenchmarkRepeated decides a statement that was decided before in the session:
// its facts, or its input, are ready.
func BenchmarkRepeated(b *testing.B) {
	q := pgbenchRequest()
	b.Run("engine=postern", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			e := postern(b, rules).Evaluator(q.subject, q.session)
			for b.Loop() {
				if !e.Decide(q.facts, noon).Allowed() {
					b.Fatal("not allowed")
				}
			}
		})
	})
	b.Run("engine=opa", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			query, input := opa(b, rules), q.opaInput(b)
			for b.Loop() {
				if effect, _ := askOPA(b, query, input); effect != "allow" {
					b.Fatal(effect)
				}
			}
		})
	})
	b.Run("engine=cedar", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			policies, input := cedarPolicies(b, rules), q.cedar()
			for b.Loop() {
				if effect, _ := askCedar(policies, input); effect != "allow" {
					b.Fatal(effect)
				}
			}
		})
	})
}

// BenchmarkNew decides a statement never seen before in a session that has
// started: its facts, or its input, are made anew.
func BenchmarkNew(b *testing.B) {
	q := pgbenchRequest()
	b.Run("engine=postern", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			e := postern(b, rules).Evaluator(q.subject, q.session)
			for b.Loop() {
				if !e.Decide(pgbenchRequest().facts, noon).Allowed() {
					b.Fatal("not allowed")
				}
			}
		})
	})
	b.Run("engine=opa", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			query := opa(b, rules)
			for b.Loop() {
				if effect, _ := askOPA(b, query, q.opaInput(b)); effect != "allow" {
					b.Fatal(effect)
				}
			}
		})
	})
	b.Run("engine=cedar", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			policies := cedarPolicies(b, rules)
			for b.Loop() {
				if effect, _ := askCedar(policies, q.cedar()); effect != "allow" {
					b.Fatal(effect)
				}
			}
		})
	})
}
