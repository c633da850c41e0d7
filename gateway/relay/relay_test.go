package relay_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgproto3/v2"

	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/gateway/internal/netloop"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/policylang"
)

// started is the cluster that the tests share, once one of them needs it.
var started struct {
	sync.Once
	cluster *pgtest.Cluster
}

func cluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	started.Do(func() {
		var err error
		if started.cluster, err = pgtest.Start(pgtest.Options{}); err != nil {
			t.Error(err)
		}
	})
	if started.cluster == nil {
		t.Fatal("there is no PostgreSQL to test with")
	}
	return started.cluster
}

// loops serve the sessions of the tests; nil in the second run, in which each
// session has goroutines of its own.
var loops *netloop.Loops

func TestMain(m *testing.M) {
	var err error
	if loops, err = netloop.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	loops.Close()
	loops = nil
	code = max(code, m.Run())
	if started.cluster != nil {
		started.cluster.Stop()
	}
	if code == 0 {
		if err := leaktest.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// testGuard denies texts that hold "forbidden" and records what happened.
type testGuard struct {
	mu       sync.Mutex
	finished []string
	maxRows  int64
	timeout  time.Duration
	decide   func(ctx context.Context, ask *relay.Ask) *refusal.Refusal
	rewriter relay.RowRewriter
	fenced   bool
	columns  [][]relay.Field
	stale    bool
	path     []string
}

func (g *testGuard) Read(sql string) (*relay.Text, *refusal.Refusal) {
	var t relay.Text
	t.SQL = sql
	for part := range strings.SplitSeq(sql, ";") {
		if part = strings.TrimSpace(part); part != "" {
			t.Statements = append(t.Statements, testStatement(part))
		}
	}
	return &t, nil
}

var (
	prepareRE = regexp.MustCompile(`(?i)^prepare (\w+) as (.*)$`)
	declareRE = regexp.MustCompile(`(?i)^declare (\w+) cursor (?:with hold )?for (.*)$`)
	wordRE    = regexp.MustCompile(`(?i)^(execute|fetch all in|deallocate|close) (\w+)$`)
	exitRE    = regexp.MustCompile(`(?i)^(commit|end|rollback|abort|prepare transaction)`)
	copyRE    = regexp.MustCompile(`(?i)^copy .* from stdin`)
)

func testStatement(sql string) *relay.Statement {
	s := &relay.Statement{Data: sql, CopyIn: copyRE.MatchString(sql), Exits: exitRE.MatchString(sql)}
	if m := prepareRE.FindStringSubmatch(sql); m != nil {
		s.Effect, s.Name, s.Inner = relay.EffectPrepare, m[1], testStatement(m[2])
	}
	if m := declareRE.FindStringSubmatch(sql); m != nil {
		s.Effect, s.Name, s.Inner = relay.EffectDeclare, m[1], testStatement(m[2])
	}
	if m := wordRE.FindStringSubmatch(sql); m != nil {
		s.Name = m[2]
		switch strings.ToLower(m[1]) {
		case "execute":
			s.Effect = relay.EffectExecute
		case "deallocate":
			s.Effect = relay.EffectDeallocate
		case "close":
			s.Effect = relay.EffectCloseCursor
		default:
			s.Effect = relay.EffectFetch
		}
	}
	return s
}

func (g *testGuard) Unknown(command string) *relay.Statement {
	return &relay.Statement{Data: "unknown " + command + " forbidden", Exits: true}
}

func (g *testGuard) Decide(ctx context.Context, ask *relay.Ask) (*relay.Permit, *refusal.Refusal) {
	if g.decide != nil {
		if r := g.decide(ctx, ask); r != nil {
			return nil, r
		}
	}
	for _, s := range ask.Targets {
		text, _ := s.Data.(string)
		if strings.Contains(text, "forbidden") && (ask.Stage != relay.StageParse || !strings.Contains(text, "later")) {
			return nil, refusal.New(refusal.PolicyDenied, "no")
		}
	}
	return &relay.Permit{MaxRows: g.maxRows, Timeout: g.timeout, Fenced: g.fenced, Data: ask.Text.SQL}, nil
}

func (g *testGuard) Columns(_ *relay.Permit, _ int, fields []relay.Field) (relay.RowRewriter, *refusal.Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.columns = append(g.columns, fields)
	return g.rewriter, nil
}

func (g *testGuard) Finished(_ *relay.Permit, o relay.Outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.finished = append(g.finished, fmt.Sprintf("%d %d %s%s rows=%d", o.Index, o.Kind, o.Tag, o.SQLSTATE, o.Rows))
}

func (g *testGuard) Flush() error                        { return nil }
func (g *testGuard) Checked(*relay.Permit, string, bool) {}

func (g *testGuard) Payloads() bool { return !g.fenced }
func (g *testGuard) Settled()       {}

func (g *testGuard) Stale() string {
	if !g.stale {
		return ""
	}
	return "SELECT unnest(pg_catalog.current_schemas(true))"
}

func (g *testGuard) Refresh(rows [][]string) {
	g.stale, g.path = false, slices.Concat(rows...)
}

// conversation is a raw protocol connection.
type conversation struct {
	t    *testing.T
	conn net.Conn
	fe   *pgproto3.Frontend
}

func direct(t *testing.T) *conversation {
	t.Helper()
	up := dial(t)
	return newConversation(t, up)
}

func newConversation(t *testing.T, conn net.Conn) *conversation {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &conversation{t: t, conn: conn, fe: pgproto3.NewFrontend(pgproto3.NewChunkReader(conn), conn)}
}

func dial(t *testing.T) *upstream.Conn {
	t.Helper()
	c := cluster(t)
	target := &policylang.Upstream{Host: c.Host, Port: c.Port, TLS: "disable"}
	up, err := upstream.Dial(t.Context(), target, upstream.Login{Role: "postgres", Database: "postgres"})
	if err != nil {
		t.Fatal(err)
	}
	return up
}

// through returns a connection through a relay with the guard.
func through(t *testing.T, g *testGuard) (*conversation, *relay.Session) {
	t.Helper()
	return throughTo(t, g, dial(t))
}

func throughTo(t *testing.T, g *testGuard, up relay.Upstream) (*conversation, *relay.Session) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	clientEnd, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	serverEnd, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := relay.New(relay.Config{Client: netloop.Wrap(serverEnd), Upstream: up, Guard: g, Loops: loops, Logger: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(context.Background()); err != nil {
			t.Logf("the session ended: %v", err)
		}
	}()
	c := newConversation(t, clientEnd)
	t.Cleanup(func() { c.conn.Close(); <-done })
	return c, s
}

func (c *conversation) send(msgs ...pgproto3.FrontendMessage) {
	c.t.Helper()
	var b []byte
	for _, m := range msgs {
		var err error
		if b, err = m.Encode(b); err != nil {
			c.t.Fatal(err)
		}
	}
	if _, err := c.conn.Write(b); err != nil {
		c.t.Logf("write: %v", err)
	}
}

// receive returns the transcript of what comes until n ReadyForQuery.
func (c *conversation) receive(n int) []string {
	c.t.Helper()
	var out []string
	for n > 0 {
		msg, err := c.fe.Receive()
		if err != nil {
			return append(out, "closed")
		}
		switch m := msg.(type) {
		case *pgproto3.ReadyForQuery:
			n--
			out = append(out, "ready "+string(m.TxStatus))
		case *pgproto3.ErrorResponse:
			state, message := m.Code, m.Message
			if state == "42703" || state == "42501" || state == "42601" {
				state, message = "refused", "" // what is compared is that it fails here
			}
			out = append(out, strings.TrimSpace(fmt.Sprintf("error %s %s", state, message)))
			if m.Severity == "FATAL" {
				n = 0
			}
		case *pgproto3.DataRow:
			var cells []string
			for _, v := range m.Values {
				cells = append(cells, string(v))
			}
			out = append(out, "row "+strings.Join(cells, "|"))
		case *pgproto3.CopyData:
			out = append(out, "copydata "+hex.EncodeToString(m.Data))
		case *pgproto3.CommandComplete:
			out = append(out, "complete "+string(m.CommandTag))
		case *pgproto3.RowDescription:
			var names []string
			for _, f := range m.Fields {
				names = append(names, fmt.Sprintf("%s:%d", f.Name, f.Format))
			}
			out = append(out, "columns "+strings.Join(names, ","))
		case *pgproto3.CopyInResponse:
			return append(out, "copyin")
		case *pgproto3.NotificationResponse:
			out = append(out, "notified "+m.Channel+" "+m.Payload)
		default:
			out = append(out, strings.TrimPrefix(fmt.Sprintf("%T", msg), "*pgproto3."))
		}
	}
	return out
}

type step struct {
	send  []pgproto3.FrontendMessage
	ready int
}

func q(sql string) step {
	return step{send: []pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}, ready: 1}
}

func prep(name, sql string) pgproto3.FrontendMessage {
	return &pgproto3.Parse{Name: name, Query: sql}
}

func bind(portal, stmt string) pgproto3.FrontendMessage {
	return &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: stmt}
}

func exec(portal string, max uint32) pgproto3.FrontendMessage {
	return &pgproto3.Execute{Portal: portal, MaxRows: max}
}

func describe(typ byte, name string) pgproto3.FrontendMessage {
	return &pgproto3.Describe{ObjectType: typ, Name: name}
}

var syncMsg = &pgproto3.Sync{}

// batch is messages with a Sync behind them.
func batch(msgs ...pgproto3.FrontendMessage) step {
	return step{send: append(msgs, syncMsg), ready: 1}
}

// one is Parse, Bind, Describe and Execute of the unnamed statement.
func one(sql string) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{prep("", sql), bind("", ""), describe('P', ""), exec("", 0)}
}

func join(lists ...[]pgproto3.FrontendMessage) []pgproto3.FrontendMessage {
	var out []pgproto3.FrontendMessage
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// TestDenialIsPostgreSQLs compares, message by message, a conversation through
// the relay in which a statement is denied with one straight to PostgreSQL in
// which that statement names an unknown column.
func TestDenialIsPostgreSQLs(t *testing.T) {
	const bad = `select forbidden`
	tests := []struct {
		name  string
		steps []step
	}{
		{"allowed alone", []step{q("select 1"), q(""), q("select 1; select 2"), batch(one("select 3")...)}},
		{"autocommit", []step{q(bad), q("select 1")}},
		{"in a transaction", []step{q("begin"), q("select 1"), q(bad), q("select 2"), q("rollback"), q("select 3")}},
		{"in a failed transaction", []step{q("begin"), q("select 1/0"), q(bad), q("commit"), q("select 1")}},
		{"savepoint", []step{q("begin"), q("savepoint s"), q(bad), q("rollback to s"), q("select 1"), q("commit")}},
		{"first in a pipeline", []step{batch(join(one(bad), one("select 1"), one("select 2"))...), q("select 3")}},
		{"middle of a pipeline", []step{batch(join(one("select 1"), one(bad), one("select 2"))...), q("select 3")}},
		{"last in a pipeline", []step{batch(join(one("select 1"), one("select 2"), one(bad))...), q("select 3")}},
		{"several syncs in flight", []step{{send: join(one(bad), []pgproto3.FrontendMessage{syncMsg}, one("select 1"), []pgproto3.FrontendMessage{syncMsg}, one(bad), []pgproto3.FrontendMessage{syncMsg}, one("select 2"), []pgproto3.FrontendMessage{syncMsg}), ready: 4}}},
		{"a refused Parse keeps the named statement", []step{batch(prep("a", "select 1")), batch(prep("a", bad)), batch(bind("", "a"), exec("", 0))}},
		{"a refused Parse destroys the unnamed statement", []step{batch(prep("", "select 1")), batch(prep("", bad))}},
		{"a query behind an unsynced error is skipped", []step{{send: join(one(bad), []pgproto3.FrontendMessage{&pgproto3.Query{String: "select 1"}, syncMsg}), ready: 1}, q("select 2")}},
		{"transaction in a pipeline", []step{batch(join(one("begin"), one(bad))...), q("rollback")}},
		{"a portal in parts", []step{batch(prep("", "select generate_series(1,5)"), bind("", ""), describe('P', ""), exec("", 2), exec("", 2), exec("", 9)), q("select 1")}},
		{"flush and close", []step{{send: []pgproto3.FrontendMessage{prep("x", "select 1"), &pgproto3.Flush{}, describe('S', "x"), bind("p", "x"), exec("p", 0), &pgproto3.Close{ObjectType: 'P', Name: "p"}, &pgproto3.Close{ObjectType: 'S', Name: "x"}, syncMsg}, ready: 1}}},
		{"sql-level names", []step{q("prepare a as select 1"), q("execute a"), q("deallocate a"), q("begin; declare c cursor for select 1; fetch all in c; close c; commit")}},
		{"wire and sql share names", []step{batch(prep("w", "select 7")), q("execute w"), q("prepare v as select 8"), batch(bind("", "v"), describe('P', ""), exec("", 0))}},
		{"EXECUTE of an empty text", []step{batch(prep("e", "")), q("execute e"), q("select 1; execute e; select 2"), batch(prep("", "execute e"), describe('S', ""), bind("", ""), describe('P', ""), exec("", 0), exec("", 0)), q("begin"), q("select 1/0"), q("execute e"), q("rollback")}},
		{"copy in", []step{q("create temp table ct(a int)"), {send: []pgproto3.FrontendMessage{&pgproto3.Query{String: "copy ct from stdin"}, &pgproto3.CopyData{Data: []byte("1\n2\n")}, &pgproto3.CopyDone{}}, ready: 9}, {ready: 1}, q("select count(*) from ct")}},
		{"copy in by pipeline", []step{q("create temp table ct(a int)"), {send: []pgproto3.FrontendMessage{prep("", "copy ct from stdin"), bind("", ""), exec("", 0), syncMsg, &pgproto3.CopyData{Data: []byte("1\n")}, &pgproto3.CopyDone{}, syncMsg}, ready: 9}, {ready: 1}, q("select count(*) from ct")}},
		{"copy in with bad data", []step{q("create temp table ct(a int)"), {send: []pgproto3.FrontendMessage{&pgproto3.Query{String: "copy ct from stdin"}, &pgproto3.CopyData{Data: []byte("x\n")}, &pgproto3.CopyDone{}, &pgproto3.Query{String: "select 5"}}, ready: 9}, {ready: 2}}},
		{"copy in given up", []step{q("create temp table ct(a int)"), {send: []pgproto3.FrontendMessage{&pgproto3.Query{String: "copy ct from stdin"}, &pgproto3.CopyData{Data: []byte("1\n")}, &pgproto3.CopyFail{Message: "no"}}, ready: 9}, {ready: 1}}},
		{"copy out", []step{q("copy (select generate_series(1,3)) to stdout")}},
		{"an error at commit", []step{q("create temp table dc(a int unique deferrable initially deferred)"), q("begin"), q("insert into dc values (1),(1)"), batch(one("commit")...), batch(one("insert into dc values (2),(2)")...), q("select 1")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			talk := func(c *conversation) []string {
				var out []string
				for _, s := range tt.steps {
					c.send(s.send...)
					out = append(out, c.receive(s.ready)...)
				}
				return out
			}
			want := talk(direct(t))
			c, _ := through(t, &testGuard{})
			if diff := cmp.Diff(want, talk(c)); diff != "" {
				t.Errorf("straight (-) and through the relay (+):\n%s", diff)
			}
		})
	}
}

// TestNamesAreNotGuessed drives the attacks on what a name stands for: each
// tries to run the statement "forbidden later", which may be parsed but not
// run, under the name of another.
func TestNamesAreNotGuessed(t *testing.T) {
	const secret = "select 'leaked' as forbidden_later"
	msgs := func(m ...pgproto3.FrontendMessage) []pgproto3.FrontendMessage { return m }
	tests := []struct {
		name  string
		steps []step
	}{
		{"refused at Bind", []step{batch(prep("s", secret)), batch(bind("", "s"), exec("", 0))}},
		{"a Parse that fails leaves the old statement", []step{batch(prep("s", secret)), {
			send: msgs(prep("x", "select 1/0 from nowhere"), prep("s", "select 1"), syncMsg, bind("", "s"), exec("", 0), syncMsg), ready: 2,
		}}},
		{"a skipped Close leaves the old statement", []step{batch(prep("s", secret)), {
			send: msgs(prep("x", "select nothing"), &pgproto3.Close{ObjectType: 'S', Name: "s"}, prep("s", "select 1"), syncMsg, bind("", "s"), exec("", 0), syncMsg), ready: 2,
		}}},
		{"sql EXECUTE of a wire statement", []step{batch(prep("s", secret)), q("execute s")}},
		{"PREPARE that fails", []step{q("prepare s as " + secret), q("prepare s as select 1"), q("execute s")}},
		{"FETCH from a cursor", []step{q("begin"), q("declare c cursor for " + secret), q("fetch all in c"), q("rollback")}},
		{"protocol Execute of a cursor", []step{q("begin"), q("declare c cursor for " + secret), batch(exec("c", 0)), q("rollback")}},
		{"an unknown statement", []step{batch(bind("", "never"), exec("", 0))}},
		{"an unknown portal", []step{batch(exec("never", 0))}},
		{"deallocated in the same text", []step{batch(prep("s", secret)), q("deallocate s; prepare s as select 1; execute s"), q("execute s")}},
		{"reserved names", []step{batch(prep("_postern_denied", "select 1")), batch(prep("_postern_path", secret))}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := through(t, &testGuard{})
			var transcript []string
			for _, s := range tt.steps {
				c.send(s.send...)
				transcript = append(transcript, c.receive(s.ready)...)
			}
			all := strings.Join(transcript, "\n")
			if strings.Contains(all, "leaked") {
				t.Errorf("a forbidden statement ran:\n%s", all)
			}
			if strings.Contains(all, "closed") {
				t.Errorf("the connection did not survive:\n%s", all)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	c, _ := through(t, &testGuard{maxRows: 10})
	for _, s := range []step{q("select generate_series(1,1000000)"), q("select generate_series(1,11)"), batch(one("select generate_series(1,100000)")...)} {
		c.send(s.send...)
		got := strings.Join(c.receive(1), "\n")
		if !strings.Contains(got, "error 54000") || strings.Contains(got, "complete") || strings.Count(got, "row ") > 10 {
			t.Errorf("transcript:\n%s", got)
		}
	}
	c.send(q("select generate_series(1,10)").send...)
	if got := strings.Join(c.receive(1), "\n"); !strings.Contains(got, "complete SELECT 10") {
		t.Errorf("transcript:\n%s", got)
	}

	c, _ = through(t, &testGuard{timeout: 50 * time.Millisecond})
	c.send(q("select pg_sleep(600)").send...)
	if got := strings.Join(c.receive(1), "\n"); !strings.Contains(got, "that a rule allows") {
		t.Errorf("transcript:\n%s", got)
	}
}

// deaf ignores the first cancel request, as a server does to which the
// statement has not come yet.
type deaf struct {
	*upstream.Conn
	asked atomic.Int32
}

func (d *deaf) Cancel(ctx context.Context) error {
	if d.asked.Add(1) == 1 {
		return nil
	}
	return d.Conn.Cancel(ctx)
}

// TestTimeLimitIsAskedAgain has a cancel request for a statement whose time is
// up come to nothing.
func TestTimeLimitIsAskedAgain(t *testing.T) {
	up := &deaf{Conn: dial(t)}
	c, _ := throughTo(t, &testGuard{timeout: 50 * time.Millisecond}, up)
	c.send(q("select pg_sleep(600)").send...)
	if got := strings.Join(c.receive(1), "\n"); !strings.Contains(got, "that a rule allows") {
		t.Errorf("transcript:\n%s", got)
	}
	if n := up.asked.Load(); n < 2 {
		t.Errorf("asked %d times", n)
	}
}

// late has cancel requests come when what they were meant for has ended.
type late struct{ *upstream.Conn }

func (l late) Cancel(ctx context.Context) error {
	time.Sleep(100 * time.Millisecond)
	return l.Conn.Cancel(ctx)
}

// TestCancelIsNotForTheNext has the server end a statement before it is
// cancelled for its rows: the one behind it must not be cancelled instead.
func TestCancelIsNotForTheNext(t *testing.T) {
	c, _ := throughTo(t, &testGuard{maxRows: 10}, late{dial(t)})
	for _, s := range []step{q("select generate_series(1,11)"), batch(one("select generate_series(1,11)")...)} {
		c.send(s.send...)
		if got := strings.Join(c.receive(1), "\n"); !strings.Contains(got, "error 54000") {
			t.Errorf("transcript:\n%s", got)
		}
		c.send(q("select 'next' from pg_sleep(0.3)").send...)
		if got := strings.Join(c.receive(1), "\n"); !strings.Contains(got, "row next") {
			t.Errorf("behind it: transcript:\n%s", got)
		}
	}
}

type upper struct{}

func (upper) AppendRow(dst, body []byte) ([]byte, error) {
	return append(dst, []byte(strings.ToUpper(string(body)))...), nil
}

// TestRowsAreRewritten covers each way in which rows come, with and without a
// Describe by the client.
func TestRowsAreRewritten(t *testing.T) {
	const sql = "select 'abc' as v union all select 'def'"
	steps := []step{
		q(sql),
		batch(one(sql)...),
		batch(prep("s", sql)),
		batch(bind("", "s"), exec("", 1), exec("", 0)),
		batch(bind("", "s"), exec("", 0)),
		batch(describe('S', "s")),
		batch(bind("", "s"), exec("", 0)),
	}
	c, _ := through(t, &testGuard{fenced: true, rewriter: upper{}})
	for i, s := range steps {
		c.send(s.send...)
		got := strings.Join(c.receive(s.ready), "\n")
		if strings.Contains(got, "abc") || strings.Contains(got, "row") && !strings.Contains(got, "row ABC") {
			t.Errorf("step %d:\n%s", i, got)
		}
		if described := strings.Contains(got, "columns"); described != (i == 0 || i == 1 || i == 5) {
			t.Errorf("step %d: the client saw a description: %v\n%s", i, described, got)
		}
	}
}

func TestHold(t *testing.T) {
	approved := make(chan struct{})
	g := &testGuard{}
	waiting := make(chan struct{}, 1)
	var s *relay.Session
	g.decide = func(ctx context.Context, ask *relay.Ask) *refusal.Refusal {
		if !strings.Contains(ask.Text.SQL, "held") {
			return nil
		}
		ctx, stop := relay.Watch(ctx)
		defer stop()
		s.Notice("waiting for approval", "somewhere")
		waiting <- struct{}{}
		select {
		case <-approved:
			return nil
		case <-ctx.Done():
			return refusal.New(refusal.ApprovalWithdrawn, "cancelled")
		}
	}
	c, session := through(t, g)
	s = session
	c.send(q("select 'held'").send...)
	<-waiting
	c.send(q("select 'pipelined'").send...) // is read ahead, and runs later
	time.Sleep(10 * time.Millisecond)
	approved <- struct{}{}
	got := strings.Join(c.receive(2), "\n")
	if !strings.HasPrefix(got, "NoticeResponse\n") || !strings.Contains(got, "row held") || !strings.Contains(got, "row pipelined") {
		t.Errorf("transcript:\n%s", got)
	}

	c.send(q("select 'held'").send...)
	<-waiting
	if err := session.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.receive(1), "\n"); !strings.Contains(got, "error 57014") {
		t.Errorf("transcript:\n%s", got)
	}

	c.send(q("select 'held'").send...)
	<-waiting
	c.conn.Close() // the session must end by itself: goleak and Cleanup tell
}

// TestCancelWhileDeciding has a cancel request come before the statement that it
// is meant for has come to the server, which would ignore it: the statement must
// not run, in either protocol, and what comes next must.
func TestCancelWhileDeciding(t *testing.T) {
	var session *relay.Session
	g := &testGuard{}
	g.decide = func(ctx context.Context, ask *relay.Ask) *refusal.Refusal {
		runs := ask.Stage == relay.StageQuery || ask.Stage == relay.StageExecute
		if runs && strings.Contains(ask.Text.SQL, "slowly decided") {
			back := relay.Slow(ctx)
			defer back()
			if err := session.Cancel(ctx); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	var c *conversation
	c, session = through(t, g)
	const sql = "select 'slowly decided'"
	for protocol, ask := range map[string]step{"simple": q(sql), "extended": batch(one(sql)...)} {
		c.send(ask.send...)
		if got := strings.Join(c.receive(1), "\n"); !strings.Contains(got, "error 57014") || strings.Contains(got, "row") || !strings.HasSuffix(got, "ready I") {
			t.Errorf("%s: transcript:\n%s", protocol, got)
		}
		c.send(q("select 'next'").send...)
		if got := strings.Join(c.receive(1), "\n"); !strings.Contains(got, "row next") {
			t.Errorf("%s, and then: transcript:\n%s", protocol, got)
		}
	}
}

func TestPayloadsOfNotifications(t *testing.T) {
	for want, g := range map[string]*testGuard{"notified z secret": {}, "notified z ": {fenced: true}} {
		c, _ := through(t, g)
		c.send(q("listen z").send...)
		c.receive(1)
		other := direct(t)
		other.send(q("notify z, 'secret'").send...)
		other.receive(1)
		c.send(q("select 1").send...)
		if got := strings.Join(c.receive(1), "\n"); !strings.HasPrefix(got, want+"\n") {
			t.Errorf("want %q in transcript:\n%s", want, got)
		}
	}
}

func TestSearchPathIsReadAgain(t *testing.T) {
	g := &testGuard{stale: true}
	c, _ := through(t, g)
	c.send(q("select 1").send...)
	if got := strings.Join(c.receive(1), "\n"); !strings.Contains(got, "row 1") || strings.Contains(got, "pg_catalog") {
		t.Errorf("transcript:\n%s", got)
	}
	if diff := cmp.Diff([]string{"pg_catalog", "public"}, g.path); diff != "" {
		t.Error(diff)
	}
}

func TestEnd(t *testing.T) {
	c, s := through(t, &testGuard{})
	c.send(q("select pg_sleep(601)").send...) // longer than the conversation waits
	awaitActive(t, "select pg_sleep(601)", 1)
	start := time.Now()
	s.End(refusal.New(refusal.IdentityRemoved, "gone"))
	got := strings.Join(c.receive(1), "\n")
	t.Logf("after %v", time.Since(start))
	if !strings.Contains(got, "error 57P01 gone") {
		t.Errorf("transcript:\n%s", got)
	}
	awaitActive(t, "select pg_sleep(601)", 0)
}

// awaitActive waits until the server runs a text so many times.
func awaitActive(t *testing.T, text string, times int) {
	t.Helper()
	look := direct(t)
	for {
		look.send(q("select count(*) from pg_stat_activity where state = 'active' and query = '" + text + "'").send...)
		got := strings.Join(look.receive(1), "\n")
		if strings.Contains(got, fmt.Sprintf("row %d\n", times)) {
			return
		}
		if !strings.Contains(got, "row ") {
			t.Fatalf("%q does not run %d times; the server answers:\n%s", text, times, got)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestProtocolViolations(t *testing.T) {
	tests := []struct {
		name string
		raw  []byte
	}{
		{"length of zero", []byte{'Q', 0, 0, 0, 0}},
		{"length that is huge", []byte{'Q', 0x7f, 0xff, 0xff, 0xff}},
		{"unknown type", []byte{'!', 0, 0, 0, 4}},
		{"password out of place", []byte{'p', 0, 0, 0, 4}},
		{"two strings in a Query", append([]byte{'Q', 0, 0, 0, 8}, "a\x00b\x00"...)},
		{"Query without an end", append([]byte{'Q', 0, 0, 0, 5}, 'a')},
		{"Describe of nothing", append([]byte{'D', 0, 0, 0, 6}, "Z\x00"...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := through(t, &testGuard{})
			if _, err := c.conn.Write(tt.raw); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(c.receive(1), "\n")
			if !strings.HasPrefix(got, "error 08P01") && !strings.HasPrefix(got, "error 54000") {
				t.Errorf("transcript:\n%s", got)
			}
		})
	}
}
