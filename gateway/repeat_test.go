package gateway_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/policylang"
)

// repeating is a session whose next statement would be permitted as the last
// was.
type repeating struct {
	*bench
	conn  *pgx.Conn
	ahead *atomic.Int64 // by how much the gateway's clock is ahead
}

func (r *repeating) exec(sql string) {
	r.t.Helper()
	r.execOn(r.conn, sql)
}

// execElsewhere is exec in another session.
func (r *repeating) execElsewhere(sql string) {
	r.t.Helper()
	r.execOn(r.connect("ben"), sql)
}

func (r *repeating) execOn(conn *pgx.Conn, sql string) {
	r.t.Helper()
	if _, err := conn.Exec(r.t.Context(), sql); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
}

// TestRepeatedStatement, for somebody from whom nothing is masked, runs a statement until the gateway permits it by what
// it made of it before, changes one thing that this was made from, and wants
// the next run to go by the change.
func TestRepeatedStatement(t *testing.T) {
	deny := func(when string) policylang.QueryRule {
		return policylang.QueryRule{Name: "changed", Effect: policylang.EffectDeny, When: when}
	}
	const repeated = "SELECT item FROM carts WHERE id = 1"
	tests := []struct {
		name   string
		rule   policylang.QueryRule // of the policy, besides the usual
		before string               // a statement of the session
		change func(*repeating)
		then   string // the statement that is refused; repeated, if empty
	}{
		{name: "the policy", change: func(r *repeating) {
			p := testPolicy()
			p.QueryRules = append(p.QueryRules, deny("statement.reads('public.carts')"))
			r.apply(p)
		}},
		{name: "the time", rule: deny("now > timestamp('2040-01-01T00:00:00Z')"), change: func(r *repeating) {
			r.ahead.Store(int64(20 * 365 * 24 * time.Hour))
		}},
		{name: "the session's reason", rule: deny("session.reason == 'curious'"), change: func(r *repeating) {
			r.exec("SET postern.reason = 'curious'")
		}},
		{name: "the search path", rule: deny("statement.reads('elsewhere.*')"), change: func(r *repeating) {
			r.exec("SET search_path = elsewhere, public")
		}},
		{name: "the session's own table", rule: deny("statement.reads('pg_temp*.*')"), change: func(r *repeating) {
			r.exec("CREATE TEMPORARY TABLE carts (id int, item text)")
		}},
		{name: "the catalog", rule: deny("statement.reads('later.*')"), before: "SET search_path = later, public", change: func(r *repeating) {
			r.execElsewhere("CREATE TABLE later.carts (id int, item text)")
		}},
		{
			name: "the text, where a rule reads it", rule: deny("statement.text.contains('= 2')"), change: func(*repeating) {},
			then: "SELECT item FROM carts WHERE id = 2",
		},
	}
	ctx := context.Background()
	err := shared.cluster.Exec(ctx, "postgres", `CREATE SCHEMA later AUTHORIZATION ben; CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.carts (id int, item text);
		GRANT USAGE ON SCHEMA elsewhere TO ana, ben; GRANT SELECT ON elsewhere.carts TO ana, ben`)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shared.cluster.Exec(ctx, "postgres", "DROP SCHEMA elsewhere, later CASCADE") })
	for _, test := range tests {
		for protocol, mode := range map[string]pgx.QueryExecMode{"simple": pgx.QueryExecModeSimpleProtocol, "prepared": pgx.QueryExecModeCacheStatement} {
			t.Run(test.name+", "+protocol, func(t *testing.T) {
				p := testPolicy()
				if test.rule.Name != "" {
					p.QueryRules = append(p.QueryRules, test.rule)
				}
				r := &repeating{ahead: &atomic.Int64{}}
				r.bench = newBench(t, p, func(c *gateway.Config) {
					c.Clock = func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }
				})
				r.conn = r.connect("ben", func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
				if err := shared.cluster.Exec(ctx, "postgres", "DROP TABLE IF EXISTS later.carts"); err != nil {
					t.Fatal(err)
				}
				if test.before != "" {
					r.exec(test.before)
				}
				for range 3 {
					r.exec(repeated)
				}
				test.change(r)
				then := test.then
				if then == "" {
					then = repeated
				}
				_, err := r.conn.Exec(t.Context(), then)
				wantError(t, err, "42501", "changed")
			})
		}
	}
}

// TestRepeatedStatementIsMasked has the masks change instead: with the policy,
// and with the time.
func TestRepeatedStatementIsMasked(t *testing.T) {
	var ahead atomic.Int64
	b := newBench(t, testPolicy(), func(c *gateway.Config) {
		c.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	conn := b.connect("ben")
	const sql = "SELECT item FROM repeats ORDER BY id"
	ctx := context.Background()
	if err := shared.cluster.Exec(ctx, "postgres", "CREATE TABLE repeats AS SELECT 1 AS id, 'cup' AS item; GRANT SELECT ON repeats TO ben"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shared.cluster.Exec(ctx, "postgres", "DROP TABLE repeats") })
	read := func(want string) {
		t.Helper()
		got, err := column(t.Context(), conn, sql)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
	}
	for range 3 {
		read("cup")
	}
	p := testPolicy()
	p.MaskingPolicies = append(p.MaskingPolicies, policylang.MaskingPolicy{
		Name: "items", Columns: []string{"public.repeats.item"}, Transform: policylang.TransformPartial, KeepFirst: 1,
	})
	b.apply(p)
	for range 3 {
		read("c***")
	}
	p.MaskingPolicies[1].Unless = "now < timestamp('2040-01-01T00:00:00Z')"
	b.apply(p)
	for range 3 {
		read("cup")
	}
	ahead.Store(int64(20 * 365 * 24 * time.Hour))
	read("c***")
}

// TestRepeatedStatementIsRecorded has each run in evidence, with its own number
// and parameters.
func TestRepeatedStatementIsRecorded(t *testing.T) {
	b := newBench(t, testPolicy())
	conn := b.connect("ben", func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement })
	want := []string{"1", "2", "7"}
	for _, id := range want {
		if _, err := conn.Exec(t.Context(), "SELECT item FROM carts WHERE id = $1::text::int", id); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.Close(t.Context())
	b.stop()
	<-b.stopped
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	var last uint64
	for r, err := range evidence.Search(b.dir, evidence.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind != evidence.KindStatement || len(r.Params) != 1 {
			continue
		}
		got = append(got, string(r.Params[0].Value))
		if r.StmtNo <= last || r.Session == "" || r.Identity != "ben" || r.SQL == "" {
			t.Errorf("record %d of session %q by %q says %q", r.StmtNo, r.Session, r.Identity, r.SQL)
		}
		last = r.StmtNo
	}
	if !slices.Equal(got, want) {
		t.Errorf("evidence has the parameters %q, want %q", got, want)
	}
}
