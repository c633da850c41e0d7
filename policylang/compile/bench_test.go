package compile_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/posternhq/postern/policylang"
)

// mixedPolicy returns a policy of n rules of a realistic mix: allows by group
// and relation, denies of writes to a schema, limits by group and command,
// allows by name, holds of commands.
func mixedPolicy(n int) policylang.Policy {
	p := examplePolicy()
	p.QueryRules = []policylang.QueryRule{{
		Name: "pgbench", Effect: policylang.EffectAllow,
		When: `identity.in_group("engineering") && statement.reads("public.pgbench_accounts")`,
	}}
	for i := 1; i < n; i++ {
		r := policylang.QueryRule{Name: fmt.Sprintf("rule_%05d", i)}
		group, table := i/10, i/2
		switch i % 5 {
		case 0:
			r.Effect = policylang.EffectAllow
			r.When = fmt.Sprintf(`identity.in_group("group%d") && statement.read_only && statement.reads("app%d.table%d")`, group, group, table)
		case 1:
			r.Effect = policylang.EffectDeny
			r.When = fmt.Sprintf(`statement.writes_to("audit%d.*") && !identity.in_group("auditors%d")`, table, group)
		case 2:
			r.Effect, r.MaxRows = policylang.EffectLimit, int64(100+i)
			r.When = fmt.Sprintf(`"group%d" in identity.groups && statement.command == "SELECT"`, group)
		case 3:
			r.Effect = policylang.EffectAllow
			r.When = fmt.Sprintf(`identity.name == "user%d" && statement.command in ["SELECT", "INSERT"] && statement.within("app%d.*")`, i, group)
		case 4:
			r.Effect, r.ApprovalGroup = policylang.EffectHold, "dba"
			r.When = fmt.Sprintf(`session.database == "db%d" && statement.commands.exists(c, c == "DROP TABLE")`, group)
		}
		p.QueryRules = append(p.QueryRules, r)
	}
	return p
}

func pgbenchSelect() *policylang.Facts {
	f := selectFrom("public", "pgbench_accounts")
	f.Text = "SELECT abalance FROM pgbench_accounts WHERE aid = $1"
	f.Columns = []string{"public.pgbench_accounts.abalance", "public.pgbench_accounts.aid"}
	f.Parameters = 1
	return f
}

func ruleCounts(b *testing.B, run func(b *testing.B, n int)) {
	for _, n := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) { run(b, n) })
	}
}

func engineer() *policylang.Subject {
	return &policylang.Subject{Name: "ana", Identity: "ana", Kind: "human", Groups: []string{"engineering", "group1", "group7"}}
}

func BenchmarkCompile(b *testing.B) {
	ruleCounts(b, func(b *testing.B, n int) {
		p := mixedPolicy(n)
		b.ReportAllocs()
		for b.Loop() {
			mustCompile(b, p, "orders")
		}
	})
}

// BenchmarkCompileHeap reports what a compiled policy keeps alive.
func BenchmarkCompileHeap(b *testing.B) {
	ruleCounts(b, func(b *testing.B, n int) {
		p := mixedPolicy(n)
		var before, after runtime.MemStats
		for b.Loop() {
			runtime.GC()
			runtime.ReadMemStats(&before)
			program := mustCompile(b, p, "orders")
			runtime.GC()
			runtime.ReadMemStats(&after)
			runtime.KeepAlive(program)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "live-MB")
		}
	})
}

func BenchmarkDecideRepeated(b *testing.B) {
	ruleCounts(b, func(b *testing.B, n int) {
		e := mustCompile(b, mixedPolicy(n), "orders").Evaluator(engineer(), testSession())
		f := pgbenchSelect()
		b.ReportAllocs()
		for b.Loop() {
			if !e.Decide(f, noon).Allowed() {
				b.Fatal("denied")
			}
		}
	})
}

func BenchmarkDecideNew(b *testing.B) {
	ruleCounts(b, func(b *testing.B, n int) {
		e := mustCompile(b, mixedPolicy(n), "orders").Evaluator(engineer(), testSession())
		b.ReportAllocs()
		for b.Loop() {
			if !e.Decide(pgbenchSelect(), noon).Allowed() {
				b.Fatal("denied")
			}
		}
	})
}

// BenchmarkEvaluator is a session's start, of a class known and of a new one.
func BenchmarkEvaluator(b *testing.B) {
	ruleCounts(b, func(b *testing.B, n int) {
		program := mustCompile(b, mixedPolicy(n), "orders")
		b.ReportAllocs()
		for b.Loop() {
			program.Evaluator(engineer(), testSession())
		}
	})
}

func BenchmarkIdentify(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("identities=%d", n), func(b *testing.B) {
			p := examplePolicy()
			p.Identities = nil
			for i := range n {
				p.Identities = append(p.Identities, policylang.Identity{
					Name: fmt.Sprintf("user%d", i), Kind: "human",
					When: fmt.Sprintf("token.iss == 'https://login.example.com' && token.sub == 'u-%d'", i),
				})
			}
			program := mustCompile(b, p, "orders")
			claims := map[string]any{"iss": "https://login.example.com", "sub": "u-7", "aud": "postern", "exp": 1e9}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := program.Identify(claims, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEvaluatorNewClass is the start of a session unlike all before.
func BenchmarkEvaluatorNewClass(b *testing.B) {
	ruleCounts(b, func(b *testing.B, n int) {
		program := mustCompile(b, mixedPolicy(n), "orders")
		groups := 0
		b.ReportAllocs()
		for b.Loop() {
			s := engineer()
			for bit := range 20 {
				if groups>>bit&1 == 1 {
					s.Groups = append(s.Groups, fmt.Sprintf("group%d", bit))
				}
			}
			groups++
			program.Evaluator(s, testSession())
		}
	})
}
