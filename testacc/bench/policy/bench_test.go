package policy

import (
	"fmt"
	"syscall"
	"testing"
	"time"
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

// loop runs an operation and reports, besides the time on the clock, that of the
// processors: it stays what it is when others use the machine too.
func loop(b *testing.B, op func()) {
	before := processorTime(b)
	for b.Loop() {
		op()
	}
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCompile makes the policy ready, from each engine's text.
func BenchmarkCompile(b *testing.B) {
	b.Run("engine=postern", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			loop(b, func() {
				postern(b, rules)
			})
		})
	})
	b.Run("engine=opa", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			loop(b, func() {
				opa(b, rules)
			})
		})
	})
	b.Run("engine=cedar", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			loop(b, func() {
				cedarPolicies(b, rules)
			})
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
			loop(b, func() {
				if !e.Decide(q.facts, noon).Allowed() {
					b.Fatal("not allowed")
				}
			})
		})
	})
	b.Run("engine=opa", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			query, input := opa(b, rules), q.opaInput(b)
			loop(b, func() {
				if effect, _ := askOPA(b, query, input); effect != "allow" {
					b.Fatal(effect)
				}
			})
		})
	})
	b.Run("engine=cedar", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			policies, input := cedarPolicies(b, rules), q.cedar()
			loop(b, func() {
				if effect, _ := askCedar(policies, input); effect != "allow" {
					b.Fatal(effect)
				}
			})
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
			loop(b, func() {
				if !e.Decide(pgbenchRequest().facts, noon).Allowed() {
					b.Fatal("not allowed")
				}
			})
		})
	})
	b.Run("engine=opa", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			query := opa(b, rules)
			loop(b, func() {
				if effect, _ := askOPA(b, query, q.opaInput(b)); effect != "allow" {
					b.Fatal(effect)
				}
			})
		})
	})
	b.Run("engine=cedar", func(b *testing.B) {
		sizes(b, func(b *testing.B, rules []rule) {
			policies := cedarPolicies(b, rules)
			loop(b, func() {
				if effect, _ := askCedar(policies, q.cedar()); effect != "allow" {
					b.Fatal(effect)
				}
			})
		})
	})
}
