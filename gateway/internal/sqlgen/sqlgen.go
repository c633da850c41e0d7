// Package sqlgen writes random statements over a small schema, most of which a
// server accepts, for tests of the analysis of statements: held against a real
// server's own analysis, and played before two databases that differ in
// protected values alone.
package sqlgen

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Schema is what random statements are about. Columns go by few names, so
// that names clash and resolution matters.
const Schema = `
CREATE TABLE t1 (id int PRIMARY KEY, a text, b text, email text);
CREATE TABLE t2 (id int, a text, c text, t1_id int REFERENCES t1 (id));
CREATE TABLE t3 (x int, email text, b text) PARTITION BY LIST (x);
CREATE TABLE t3_1 PARTITION OF t3 FOR VALUES IN (1);
CREATE TABLE t4 (d text) INHERITS (t2);
CREATE VIEW v1 AS SELECT id, email AS a, b FROM t1 WHERE a <> '';
CREATE VIEW v2 AS SELECT v1.id, v1.a || t2.c AS c, t2 AS r FROM v1 JOIN t2 USING (id);
CREATE MATERIALIZED VIEW m1 AS SELECT id, upper(email) AS email FROM t1;
CREATE FUNCTION f1(i int) RETURNS text LANGUAGE sql AS 'SELECT email FROM t1 WHERE id = i';
CREATE FUNCTION f2() RETURNS TABLE (id int, a text) LANGUAGE sql AS 'SELECT id, a FROM t2';
`

// Protected are the columns whose values differ between the worlds.
var Protected = []string{"public.t1.email", "public.t2.c", "public.t3.email"} //nolint:gochecknoglobals // a constant

// worldData fills the tables. %[1]s differs between the worlds
// and stands in protected columns only; some values equal others in one world
// and not in the other.
const worldData = `
INSERT INTO t1 VALUES (1, 'x', 'y', 'e1%[1]s'), (2, 'y', 'y', 'e2%[1]s'), (3, 'z', 'x', '%[2]s'), (4, NULL, 'a', %[3]s);
INSERT INTO t2 VALUES (1, 'x', 'c1%[1]s', 1), (2, 'q', '%[2]s', 1), (5, 'y', NULL, 2), (NULL, 'x', 'x%[1]s', NULL);
INSERT INTO t3 VALUES (1, 'm1%[1]s', 'x'), (1, '%[2]s', 'y'), (1, NULL, 'z');
INSERT INTO t4 VALUES (7, 'x', 'k%[1]s', 3, 'd'), (1, 'y', '%[2]s', NULL, 'e');
REFRESH MATERIALIZED VIEW m1;
`

// Rows returns SQL that fills the tables with the rows of one of two worlds, 0
// and 1.
func Rows(world int) string {
	if world == 0 {
		return fmt.Sprintf(worldData, "AAA", "x", "'email'")
	}
	return fmt.Sprintf(worldData, "BBB", "y", "NULL")
}

// Generator writes random statements, most of which a server accepts.
type Generator struct {
	// Wild adds expressions that fail, or are evaluated, depending on others, and
	// more kinds of statements.
	Wild bool

	r     *rand.Rand
	alias int
}

// New returns a generator that writes the same statements for the same seed.
func New(seed uint64) *Generator { return &Generator{r: rand.New(rand.NewPCG(seed, seed+1))} } //nolint:gosec // tests must repeat

// source is an item that columns can be named of.
type source struct {
	alias   string
	columns []string
}

var randomTables = []source{
	{"t1", []string{"id", "a", "b", "email"}},
	{"t2", []string{"id", "a", "c", "t1_id"}},
	{"t3", []string{"x", "email", "b"}},
	{"t3_1", []string{"x", "email", "b"}},
	{"t4", []string{"id", "a", "c", "t1_id", "d"}},
	{"v1", []string{"id", "a", "b"}},
	{"v2", []string{"id", "c", "r"}},
	{"m1", []string{"id", "email"}},
}

func (g *Generator) pick(n int) int { return g.r.IntN(n) }

func (g *Generator) fresh() string {
	g.alias++
	return fmt.Sprintf("q%d", g.alias%7) // few names, so that some hide others
}

// Statement writes a statement.
func (g *Generator) Statement() string {
	g.alias = 0
	if g.Wild && g.pick(6) == 0 {
		return g.wildStatement()
	}
	switch g.pick(12) {
	case 0:
		sql, _ := g.query(3, nil, 2)
		return "INSERT INTO t1 (a, b) " + sql + " RETURNING *"
	case 1:
		item, sources := g.item(2, nil)
		sources = append(sources, source{"t1", randomTables[0].columns})
		return fmt.Sprintf("UPDATE t1 SET a = %s FROM %s WHERE %s RETURNING %s, t1", g.text(2, sources), item, g.condition(1, sources), g.text(2, sources))
	case 2:
		item, sources := g.item(2, nil)
		sources = append(sources, source{"t2", randomTables[1].columns})
		return fmt.Sprintf("DELETE FROM t2 USING %s WHERE %s RETURNING *", item, g.condition(1, sources))
	}
	sql, _ := g.query(4, nil, 0)
	return sql
}

// query returns a query and the names of its columns; width 0 is any width.
func (g *Generator) query(depth int, outer []source, width int) (string, []string) {
	with := ""
	if depth > 1 && g.pick(5) == 0 {
		sub, columns := g.query(depth-2, nil, 0)
		name := g.fresh()
		with = fmt.Sprintf("WITH %s AS (%s) ", name, sub)
		outer = append(outer[:len(outer):len(outer)], source{}) // the same scope, seen from inside
		item := source{name, columns}
		sql, names := g.selectFrom(depth-1, outer, width, name, []source{item})
		return with + sql, names
	}
	item, sources := g.item(depth, outer)
	sql, names := g.selectFrom(depth, outer, width, item, sources)
	if depth > 1 && g.pick(6) == 0 {
		w := width
		if w == 0 {
			w = len(names)
		}
		if strings.Contains(sql, "*") || strings.Contains(sql, "LIMIT") {
			return with + sql, names
		}
		other, _ := g.query(depth-2, outer, w)
		op := []string{"UNION ALL", "UNION", "EXCEPT", "INTERSECT"}[g.pick(4)]
		return fmt.Sprintf("%s(%s) %s (%s)", with, sql, op, other), names
	}
	return with + sql, names
}

func (g *Generator) selectFrom(depth int, outer []source, width int, item string, sources []source) (string, []string) {
	all := append(append([]source{}, sources...), outer...)
	n := width
	if n == 0 {
		n = 1 + g.pick(3)
	}
	var targets, names []string
	for i := range n {
		if width == 0 && g.pick(8) == 0 {
			s := sources[g.pick(len(sources))]
			targets = append(targets, s.alias+".*")
			names = append(names, s.columns...)
			continue
		}
		name := []string{"a", "b", "email", "id"}[g.pick(4)] + []string{"", "", fmt.Sprint(i)}[g.pick(3)]
		targets = append(targets, g.text(depth-1, all)+" AS "+name)
		names = append(names, name)
	}
	distinct := ""
	if g.pick(10) == 0 {
		distinct = "DISTINCT "
	}
	sql := fmt.Sprintf("SELECT %s%s FROM %s", distinct, strings.Join(targets, ", "), item)
	if g.pick(2) == 0 {
		sql += " WHERE " + g.condition(depth-1, all)
	}
	if distinct == "" && g.pick(5) == 0 {
		sql += " ORDER BY " + g.text(depth-2, all) + " LIMIT 3"
	}
	return sql, names
}

// item returns an item of FROM and what can be named of it.
func (g *Generator) item(depth int, outer []source) (string, []source) {
	if depth <= 0 {
		t := randomTables[g.pick(len(randomTables))]
		alias := g.fresh()
		return t.alias + " AS " + alias, []source{{alias, t.columns}}
	}
	switch g.pick(9) {
	case 0:
		sub, names := g.query(depth-1, nil, 0)
		alias := g.fresh()
		return fmt.Sprintf("(%s) AS %s", sub, alias), []source{{alias, names}}
	case 1:
		left, ls := g.item(depth-1, outer)
		sub, names := g.query(depth-1, append(append([]source{}, ls...), outer...), 0)
		alias := g.fresh()
		return fmt.Sprintf("%s, LATERAL (%s) AS %s", left, sub, alias), append(ls, source{alias, names})
	case 2:
		left, ls := g.item(depth-1, outer)
		right, rs := g.item(depth-1, outer)
		both := append(append([]source{}, ls...), rs...)
		kind := []string{"JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"}[g.pick(4)]
		return fmt.Sprintf("%s %s %s ON %s", g.joined(left), kind, g.joined(right), g.condition(1, both)), both
	case 3:
		l, r := randomTables[g.pick(2)], randomTables[g.pick(2)]
		la, ra := g.fresh(), g.fresh()
		kind := []string{"JOIN", "LEFT JOIN", "FULL JOIN"}[g.pick(3)]
		using := []string{"id", "a", "id, a"}[g.pick(3)]
		return fmt.Sprintf("%s %s %s %s %s USING (%s)", l.alias, la, kind, r.alias, ra, using), []source{{la, l.columns}, {ra, r.columns}}
	case 4:
		l, r := randomTables[g.pick(5)], randomTables[g.pick(5)]
		la, ra := g.fresh(), g.fresh()
		return fmt.Sprintf("%s %s NATURAL JOIN %s %s", l.alias, la, r.alias, ra), []source{{la, l.columns}, {ra, r.columns}}
	case 5:
		alias := g.fresh()
		return "f2() AS " + alias, []source{{alias, []string{"id", "a"}}}
	case 6:
		alias := g.fresh()
		return fmt.Sprintf("(VALUES ('x', %s), ('y', 'z')) AS %s (a, email)", g.text(1, nil), alias), []source{{alias, []string{"a", "email"}}}
	}
	return g.item(0, outer)
}

// joined makes an item fit to stand in a join.
func (g *Generator) joined(item string) string {
	item = strings.ReplaceAll(item, ", LATERAL", " CROSS JOIN LATERAL")
	if strings.Contains(item, " JOIN ") && !strings.HasPrefix(item, "(") {
		return "(" + item + ")"
	}
	return item
}

// text returns an expression of type text.
func (g *Generator) text(depth int, sources []source) string {
	named := 0
	for _, s := range sources {
		named += len(s.columns)
	}
	if g.Wild && depth > 0 && named > 0 && g.pick(3) == 0 {
		return g.wildText(depth, sources)
	}
	if depth <= 0 || named == 0 {
		if named == 0 || g.pick(6) == 0 {
			return []string{"'x'", "NULL::text", "f1(1)", "current_user::text"}[g.pick(4)]
		}
		return g.column(sources) + "::text"
	}
	switch g.pick(14) {
	case 0:
		return fmt.Sprintf("lower(%s)", g.text(depth-1, sources))
	case 1:
		return fmt.Sprintf("(%s || %s)", g.text(depth-1, sources), g.text(depth-1, sources))
	case 2:
		return fmt.Sprintf("CASE WHEN %s THEN %s ELSE %s END", g.condition(depth-1, sources), g.text(depth-1, sources), g.text(depth-1, sources))
	case 3:
		return fmt.Sprintf("coalesce(%s, %s)", g.text(depth-1, sources), g.text(depth-1, sources))
	case 4:
		sub, _ := g.query(depth-1, sources, 1)
		return fmt.Sprintf("(SELECT zz FROM (%s) AS s (zz) LIMIT 1)", sub)
	case 5:
		return fmt.Sprintf("(ARRAY[%s, %s])[1]", g.text(depth-1, sources), g.text(depth-1, sources))
	case 6:
		return fmt.Sprintf("ROW(%s, %s)::text", g.text(depth-1, sources), g.column(sources))
	case 7:
		s := sources[g.pick(len(sources))]
		if s.alias != "" {
			return s.alias + "::text" // a whole row
		}
	case 8:
		s := sources[g.pick(len(sources))]
		if len(s.columns) > 0 {
			return fmt.Sprintf("((%s).%s)::text", s.alias, s.columns[g.pick(len(s.columns))])
		}
	case 9:
		return fmt.Sprintf("to_json(%s)::text", g.column(sources))
	}
	return g.column(sources) + "::text"
}

// column names a column, qualified or not.
func (g *Generator) column(sources []source) string {
	for {
		s := sources[g.pick(len(sources))]
		if len(s.columns) == 0 {
			continue
		}
		name := s.columns[g.pick(len(s.columns))]
		if g.pick(3) == 0 {
			return name
		}
		return s.alias + "." + name
	}
}

func (g *Generator) condition(depth int, sources []source) string {
	if g.Wild && depth > 0 && len(sources) > 0 && g.pick(4) == 0 {
		return g.wildCondition(depth, sources)
	}
	switch g.pick(6) {
	case 0:
		if depth > 0 {
			sub, _ := g.query(depth-1, sources, 0)
			return fmt.Sprintf("EXISTS (%s)", sub)
		}
	case 1:
		if depth > 0 {
			sub, _ := g.query(depth-1, sources, 1)
			return fmt.Sprintf("%s IN (%s)", g.text(depth-1, sources), sub)
		}
	case 2:
		return g.text(depth-1, sources) + " IS NULL"
	case 3:
		return fmt.Sprintf("NOT (%s AND %s)", g.condition(depth-1, sources), g.condition(depth-2, sources))
	}
	return fmt.Sprintf("%s = %s", g.text(depth-1, sources), g.text(depth-1, sources))
}
