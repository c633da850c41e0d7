package statement

import (
	"strconv"
	"testing"
)

// pgbenchTexts returns texts of pgbench -S that differ in their constant.
func pgbenchTexts(n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = "SELECT abalance FROM pgbench_accounts WHERE aid = " + strconv.Itoa(i+1) + ";"
	}
	return texts
}

func BenchmarkCache(b *testing.B) {
	b.Run("repeated", func(b *testing.B) {
		c := NewCache(0, Limits{})
		sql := pgbenchTexts(1)[0]
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Parse(sql); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new text of a known form", func(b *testing.B) {
		c := NewCache(0, Limits{})
		texts := pgbenchTexts(1 << 18)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := c.Parse(texts[i%len(texts)]); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("repeated, in parallel", func(b *testing.B) {
		c := NewCache(0, Limits{})
		texts := pgbenchTexts(64)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := c.Parse(texts[i%len(texts)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func BenchmarkParse(b *testing.B) {
	texts := map[string]string{
		"pgbench select": pgbenchTexts(1)[0],
		"pgbench update": "UPDATE pgbench_accounts SET abalance = abalance + -4711 WHERE aid = 17",
		"join": `SELECT o.id, o.created_at, c.name, sum(i.price * i.quantity) AS total
			FROM orders o JOIN customers c ON c.id = o.customer_id LEFT JOIN items i ON i.order_id = o.id
			WHERE o.status IN ('open', 'paid') AND o.created_at > now() - interval '7 days' AND lower(c.country) = $1
			GROUP BY 1, 2, 3 HAVING count(*) > 2 ORDER BY total DESC LIMIT 50`,
	}
	for name, sql := range texts {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(sql, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGuard(b *testing.B) {
	sql := pgbenchTexts(1)[0]
	l := Limits{}.withDefaults()
	b.ReportAllocs()
	for b.Loop() {
		if err := check(sql, l); err != nil {
			b.Fatal(err)
		}
	}
}
