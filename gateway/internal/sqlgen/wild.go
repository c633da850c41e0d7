package sqlgen

import "fmt"

// wildText returns an expression of type text that may fail, or whose parts are
// evaluated depending on others.
func (g *Generator) wildText(depth int, sources []source) string {
	a, b := g.text(depth-1, sources), g.text(depth-1, sources)
	n := g.number(depth-1, sources)
	choices := []string{
		fmt.Sprintf("nullif(%s, %s)", a, b),
		fmt.Sprintf("greatest(%s, %s)", a, b),
		fmt.Sprintf("(%s)::text", n),
		fmt.Sprintf("substr(%s, %d, %s)", a, g.pick(3), n),
		fmt.Sprintf("split_part(%s, 'e', %s)", a, n),
		fmt.Sprintf("replace(%s, 'e', %s)", a, b),
		fmt.Sprintf("(ARRAY[%s])[%s]", a, n),
		fmt.Sprintf("(nullif(ARRAY[%s], ARRAY[%s]))[%s]", a, b, n),
		fmt.Sprintf("(ARRAY[ARRAY[%s], CASE WHEN %s THEN ARRAY['x'] END])[1][1]", a, g.condition(depth-1, sources)),
		fmt.Sprintf("(%s)::int::text", a),
		fmt.Sprintf("json_build_object('k', %s)::text", a),
		fmt.Sprintf("json_build_object(%s, 1)::text", a),
		fmt.Sprintf("to_jsonb(%s)::text", a),
		fmt.Sprintf("concat_ws('-', %s, %s)", a, b),
		fmt.Sprintf("CASE %s WHEN %s THEN (%s)::text END", a, b, n),
		fmt.Sprintf("coalesce(%s, (%s)::text)", a, n),
		fmt.Sprintf("left(%s, %s)", a, n),
		fmt.Sprintf("repeat(%s, %s)", a, n),
		fmt.Sprintf("(ROW(%s, %s) = ROW(%s, '1'))::text", a, n, b),
		fmt.Sprintf("(%s)::text", g.wildCondition(depth-1, sources)),
	}
	return choices[g.pick(len(choices))]
}

// number returns an expression of type int, which may fail.
func (g *Generator) number(depth int, sources []source) string {
	if depth <= 0 {
		return []string{"1", "2", "length(" + g.text(0, sources) + ")", "(1 / (length(" + g.text(0, sources) + ") - 1))"}[g.pick(4)]
	}
	return []string{
		fmt.Sprintf("length(%s)", g.text(depth-1, sources)),
		fmt.Sprintf("(%s + %s)", g.number(depth-1, sources), g.number(depth-1, sources)),
		fmt.Sprintf("(6 / nullif(%s, 4))", g.number(depth-1, sources)),
		fmt.Sprintf("ascii(%s)", g.text(depth-1, sources)),
		fmt.Sprintf("(SELECT count(*)::int FROM t1 WHERE %s)", g.condition(depth-1, sources)),
		fmt.Sprintf("num_nulls(%s, %s)", g.text(depth-1, sources), g.text(depth-1, sources)),
	}[g.pick(6)]
}

// wildCondition returns a condition that may fail, or whose parts are evaluated
// depending on others.
func (g *Generator) wildCondition(depth int, sources []source) string {
	a, b, c := g.text(depth-1, sources), g.text(depth-1, sources), g.text(depth-1, sources)
	choices := []string{
		fmt.Sprintf("%s IN (%s, %s)", a, b, c),
		fmt.Sprintf("%s BETWEEN %s AND %s", a, b, c),
		fmt.Sprintf("(%s, %s) < (%s, %s)", a, b, c, a),
		fmt.Sprintf("%s LIKE %s", a, b),
		fmt.Sprintf("%s = ANY (ARRAY[%s, %s])", a, b, c),
		fmt.Sprintf("%s IS DISTINCT FROM %s", a, b),
		fmt.Sprintf("(%s IS NULL OR %s > 0)", a, g.number(depth-1, sources)),
		fmt.Sprintf("%s > %s", g.number(depth-1, sources), g.number(depth-1, sources)),
	}
	if depth > 1 {
		sub, _ := g.query(depth-2, sources, 1)
		choices = append(choices, fmt.Sprintf("%s = ANY (%s)", a, sub), fmt.Sprintf("%s <> ALL (%s)", a, sub))
	}
	return choices[g.pick(len(choices))]
}

// wildStatement returns a statement of a kind that Statement does not write
// otherwise.
func (g *Generator) wildStatement() string {
	item, sources := g.item(1, nil)
	text := func() string { return g.text(2, sources) }
	t1 := []source{{"t1", []string{"id", "a", "b", "email"}}}
	choices := []func() string{
		func() string { return fmt.Sprintf("SELECT %s, count(*) FROM %s GROUP BY 1", text(), item) },
		func() string {
			return fmt.Sprintf("SELECT max(%s), min(%s), count(%s), string_agg(%s, ',') FROM %s", text(), text(), text(), text(), item)
		},
		func() string {
			return fmt.Sprintf("SELECT count(DISTINCT %s), array_agg(%s) FROM %s", text(), text(), item)
		},
		func() string {
			return fmt.Sprintf("SELECT count(*) FILTER (WHERE %s) FROM %s", g.condition(1, sources), item)
		},
		func() string {
			return fmt.Sprintf("SELECT lag(%s, %s, %s) OVER (ORDER BY %s) FROM %s", text(), g.number(1, sources), text(), text(), item)
		},
		func() string {
			return fmt.Sprintf("SELECT row_number() OVER (PARTITION BY %s ORDER BY %s), %s FROM %s", text(), text(), text(), item)
		},
		func() string { return fmt.Sprintf("SELECT DISTINCT ON (%s) %s FROM %s", text(), text(), item) },
		func() string { return fmt.Sprintf("SELECT %s FROM %s LIMIT %s", text(), item, g.number(0, nil)) },
		func() string {
			return fmt.Sprintf("SELECT json_agg(s) FROM (SELECT %s AS x, %s AS y FROM %s) s", text(), text(), item)
		},
		func() string {
			return fmt.Sprintf("INSERT INTO t1 (id, a, email) VALUES (1, 'n', 'm') ON CONFLICT (id) DO UPDATE SET a = %s RETURNING *", g.text(2, t1))
		},
		func() string {
			return fmt.Sprintf("INSERT INTO t2 (id, a, c) SELECT 1, %s, %s FROM %s RETURNING id, a", text(), text(), item)
		},
		func() string { return fmt.Sprintf("UPDATE t1 SET b = %s WHERE %s", g.text(2, t1), g.condition(1, t1)) },
		func() string {
			return fmt.Sprintf("UPDATE t1 SET (a, b) = (SELECT %s, %s FROM %s LIMIT 1)", text(), text(), item)
		},
		func() string { return fmt.Sprintf("UPDATE t1 SET email = %s RETURNING id, email", g.text(1, t1)) },
		func() string { return "UPDATE t1 SET email = email, id = id + 1" },
		func() string {
			return fmt.Sprintf("MERGE INTO t1 USING t2 ON t1.id = t2.id WHEN MATCHED AND %s THEN UPDATE SET a = 'm' WHEN NOT MATCHED THEN INSERT (id) VALUES (90 + t2.id)", g.condition(1, t1))
		},
		func() string { return fmt.Sprintf("CREATE TEMP TABLE tt AS SELECT %s AS x FROM %s", text(), item) },
		func() string { return fmt.Sprintf("EXPLAIN SELECT %s FROM %s", text(), item) },
		func() string {
			return fmt.Sprintf("EXPLAIN (COSTS OFF) SELECT %s FROM %s WHERE %s", text(), item, g.condition(1, sources))
		},
		func() string {
			return fmt.Sprintf("WITH RECURSIVE r (x, n) AS (SELECT %s, 1 FROM %s UNION ALL SELECT x || 'z', n + 1 FROM r WHERE n < 3) SELECT * FROM r", text(), item)
		},
		func() string {
			return fmt.Sprintf("SELECT * FROM %s ORDER BY %s FETCH FIRST 1 ROWS WITH TIES", item, text())
		},
		func() string { return fmt.Sprintf("TABLE t%d", 1+g.pick(4)) },
		func() string { return fmt.Sprintf("VALUES ((SELECT %s FROM %s LIMIT 1)), ('x')", text(), item) },
		func() string {
			return fmt.Sprintf("SELECT g, %s FROM %s, generate_series(1, %s) g", text(), item, g.number(1, sources))
		},
		func() string {
			return fmt.Sprintf("SELECT x, o FROM %s, unnest(ARRAY[%s, %s]) WITH ORDINALITY u (x, o)", item, text(), text())
		},
		func() string { return fmt.Sprintf("SELECT f1(%s), %s FROM %s", g.number(1, sources), text(), item) },
	}
	return choices[g.pick(len(choices))]()
}
