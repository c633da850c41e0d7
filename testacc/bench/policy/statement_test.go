package policy

import (
	"fmt"
	"testing"

	"github.com/posternhq/postern/policylang/statement"
)

// BenchmarkStatement goes from text to decision for a select of pgbench's, in a
// session that has started: a text that differs from earlier ones in its
// constant alone, and one of a form never seen.
func BenchmarkStatement(b *testing.B) {
	for _, form := range []struct{ name, sql string }{
		{"alike", "SELECT abalance FROM public.pgbench_accounts WHERE aid = %d;"},
		{"unseen", "SELECT abalance AS a%d FROM public.pgbench_accounts WHERE aid = 1;"},
	} {
		b.Run("form="+form.name, func(b *testing.B) {
			sizes(b, func(b *testing.B, rules []rule) {
				q := pgbenchRequest()
				e := postern(b, rules).Evaluator(q.subject, q.session)
				cache := statement.NewCache(0, statement.Limits{})
				n := 0
				ask := func() {
					n++
					tree, err := cache.Parse(fmt.Sprintf(form.sql, n))
					if err != nil {
						b.Fatal(err)
					}
					if !e.Decide(tree.Statements[0].Facts, noon).Allowed() {
						b.Fatal("not allowed")
					}
				}
				for range 10_000 { // as many as the cache keeps, so that memory is as in a gateway that runs
					ask()
				}
				loop(b, ask)
			})
		})
	}
}
