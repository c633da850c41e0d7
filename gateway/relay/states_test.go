package relay_test

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgproto3/v2"

	"github.com/posternhq/postern/gateway/internal/netloop"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/relay"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/policylang"
)

// rawConversation compares bytes: all messages but errors, of which only the
// severity, since codes and words differ by design.
type rawConversation struct {
	t    *testing.T
	conn net.Conn
}

func (c *rawConversation) send(msgs ...pgproto3.FrontendMessage) {
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

// receive returns what comes until n ReadyForQuery, or the server asks for
// COPY data.
func (c *rawConversation) receive(n int) []string {
	c.t.Helper()
	var out []string
	var header [5]byte
	for n > 0 {
		if _, err := io.ReadFull(c.conn, header[:]); err != nil {
			return append(out, "closed")
		}
		body := make([]byte, int(header[1])<<24|int(header[2])<<16|int(header[3])<<8|int(header[4])-4)
		if _, err := io.ReadFull(c.conn, body); err != nil {
			return append(out, "closed")
		}
		switch header[0] {
		case 'E':
			out = append(out, "E "+severity(body))
			if severity(body) == "FATAL" {
				return out
			}
		case 'G':
			return append(out, "G "+hex.EncodeToString(body))
		case 'Z':
			n--
			out = append(out, "Z "+string(body))
		default:
			out = append(out, string(header[0])+" "+hex.EncodeToString(body))
		}
	}
	return out
}

// severity returns the unlocalised severity of an ErrorResponse.
func severity(body []byte) string {
	for field := range strings.SplitSeq(string(body), "\x00") {
		if strings.HasPrefix(field, "V") {
			return field[1:]
		}
	}
	return "none"
}

// TestDenialInEveryState denies a statement in each state that a session can
// be in, and compares the bytes that the client gets with those that PostgreSQL
// sends when a statement with an unknown column fails there; for a text of
// several statements, one with a syntax error.
func TestDenialInEveryState(t *testing.T) {
	for _, version := range []int{15, 18} {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			c := pgtest.New(t, pgtest.Options{Version: version})
			for _, tt := range deniedStates() {
				t.Run(tt.name, func(t *testing.T) {
					want := talk(straightTo(t, c), tt.straight)
					got := talk(relayTo(t, c), tt.through)
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("straight (-) and through the relay (+):\n%s", diff)
					}
					if !strings.Contains(strings.Join(want, "\n"), "E ERROR") {
						t.Errorf("nothing failed:\n%s", strings.Join(want, "\n"))
					}
				})
			}
		})
	}
}

func talk(c *rawConversation, steps []step) []string {
	var out []string
	for _, s := range steps {
		c.send(s.send...)
		out = append(out, c.receive(s.ready)...)
	}
	return out
}

// deniedState is a conversation, and what it is straight to PostgreSQL if the
// same text cannot fail at the same place there.
type deniedState struct {
	name              string
	through, straight []step
}

func deniedStates() []deniedState {
	const (
		bad = "select forbidden"
		// The straight reference for texts of several statements.
		first  = "selec forbidden; select 1; select 2"
		middle = "select 1; selec forbidden; select 2"
		last   = "insert into ct values (7); select 1; selec forbidden"
		table  = "create temp table ct(a int, b int)"
	)
	data := func(text string) pgproto3.FrontendMessage { return &pgproto3.CopyData{Data: []byte(text)} }
	done := &pgproto3.CopyDone{}
	query := func(sql string) pgproto3.FrontendMessage { return &pgproto3.Query{String: sql} }
	var all []deniedState
	same := func(name string, steps ...step) { all = append(all, deniedState{name, steps, steps}) }
	differ := func(name string, straight, through []step) {
		all = append(all, deniedState{name: name, straight: straight, through: through})
	}
	raw := func(ready int, msgs ...pgproto3.FrontendMessage) step { return step{send: msgs, ready: ready} }

	same("autocommit, simple", q(bad), q("select 1"))
	same("autocommit, extended", batch(one(bad)...), q("select 1"))
	same("autocommit, a Parse alone", batch(prep("", bad)), batch(one("select 1")...))
	same("autocommit, a named Parse", batch(prep("n", bad)), batch(prep("n", "select 1")), batch(bind("", "n"), exec("", 0)))
	same("autocommit, described", batch(prep("", bad), describe('S', "")), q("select 1"))
	same("transaction, simple", q("begin"), q("select 1"), q(bad), q("select 2"), q("commit"), q("select 3"))
	same("transaction, extended", q("begin"), batch(one(bad)...), batch(one("select 2")...), q("rollback"))
	same("transaction by protocol", batch(one("begin")...), batch(one(bad)...), batch(one("rollback")...))
	same("transaction, chained", q("begin"), q(bad), q("rollback and chain"), q("select 1"), q("commit"))
	same("failed transaction, simple", q("begin"), q("select 1/0"), q(bad), q("rollback"), q("select 1"))
	same("failed transaction, extended", q("begin"), q("select 1/0"), batch(one(bad)...), batch(one("rollback")...))
	same("savepoint", q("begin"), q("savepoint a"), q("select 1"), q("savepoint b"), q(bad), q("rollback to b"), q("select 1"), q("commit"))
	same("savepoint, failed", q("begin"), q("savepoint a"), q("select 1/0"), q(bad), q("rollback to a"), q("select 1"), q("commit"))
	same("pipeline, first", batch(join(one(bad), one("select 1"), one("select 2"))...), q("select 3"))
	same("pipeline, middle", batch(join(one("select 1"), one(bad), one("select 2"))...), q("select 3"))
	same("pipeline, last", batch(join(one("select 1"), one("select 2"), one(bad))...), q("select 3"))
	same("pipeline, twice", batch(join(one(bad), one(bad))...), q("select 3"))
	same("pipeline, writes before it are undone", q(table), batch(join(one("insert into ct values (1)"), one(bad))...), q("select a + 0 from ct"))
	same("pipeline, explicit transaction", batch(join(one("begin"), one("select 1"), one(bad), one("commit"))...), q("rollback"))
	same("pipeline, inside a transaction", q("begin"), batch(join(one("select 1"), one(bad), one("select 2"))...), q("commit"))
	same("pipeline, a commit before it", q(table), batch(join(one("begin"), one("insert into ct values (1)"), one("commit"), one(bad))...), q("select a + 0 from ct"))
	same("pipeline, several Syncs", raw(3, join(one(bad), []pgproto3.FrontendMessage{syncMsg}, one("select 1"), []pgproto3.FrontendMessage{syncMsg}, one(bad), []pgproto3.FrontendMessage{syncMsg})...))
	same("pipeline, Flush before it", raw(1, join(one("select 1"), []pgproto3.FrontendMessage{&pgproto3.Flush{}}, one(bad), []pgproto3.FrontendMessage{&pgproto3.Flush{}}, one("select 2"), []pgproto3.FrontendMessage{syncMsg})...))
	same("pipeline, simple queries behind each other", raw(3, query("select 1"), query(bad), query("select 2")))
	same("pipeline, a simple query in the middle", raw(2, join(one("select 1"), []pgproto3.FrontendMessage{query(bad)}, one("select 2"), []pgproto3.FrontendMessage{syncMsg})...))
	same("pipeline, names made before it", batch(prep("k", "select 4"), bind("p", "k"), prep("", bad), exec("p", 0)), batch(bind("", "k"), exec("", 0)))
	same("pipeline, Close behind it", batch(prep("k", "select 4")), batch(prep("", bad), &pgproto3.Close{ObjectType: 'S', Name: "k"}), batch(bind("", "k"), exec("", 0)))
	same("several statements, first", q(first), q("select 1"))
	same("several statements, middle", q(middle), q("select 1"))
	same("several statements, last", q(table), q(last), q("select a + 0 from ct"))
	same("several statements, in a transaction", q("begin"), q(middle), q("select 1"), q("rollback"))
	same("several statements, in a failed transaction", q("begin"), q("select 1/0"), q(middle), q("rollback"))
	same("several statements that end a transaction", q("begin"), q("commit; selec forbidden"), q("select 1"), q("rollback"))
	same("COPY FROM, simple", q(table), q("copy ct(forbidden) from stdin"), q("select 1"))
	same("COPY FROM, data behind it", q(table), raw(2, query("copy ct(forbidden) from stdin"), data("1\t2\n"), done, query("select count(*) from ct")))
	// The server looks at COPY's columns when it executes, the policy at Parse.
	differ("COPY FROM, extended",
		[]step{q(table), batch(one(bad)...), q("select 1")},
		[]step{q(table), batch(one("copy ct(forbidden) from stdin")...), q("select 1")})
	differ("COPY FROM, pipelined data",
		[]step{q(table), raw(1, prep("", bad), bind("", ""), exec("", 0), data("1\t2\n"), done, syncMsg), q("select count(*) from ct")},
		[]step{q(table), raw(1, prep("", "copy ct(forbidden) from stdin"), bind("", ""), exec("", 0), data("1\t2\n"), done, syncMsg), q("select count(*) from ct")})
	same("COPY TO", q(table), q("copy ct(forbidden) to stdout"), q("select 1"))
	same("COPY TO, in a transaction", q("begin"), q(table), q("copy ct(forbidden) to stdout"), q("select 1"), q("rollback"))
	same("COPY TO of a query", q("copy (select forbidden) to stdout"), q("select 1"))
	same("behind COPY FROM", q(table), raw(9, query("copy ct from stdin")), raw(2, data("1\t2\n"), done, query(bad)), q("select count(*) from ct"))
	same("behind COPY FROM in a pipeline", q(table), raw(9, prep("", "copy ct from stdin"), bind("", ""), exec("", 0)), raw(2, data("1\t2\n"), done, syncMsg, query(bad)), q("select count(*) from ct"))
	same("behind COPY FROM that fails", q(table), raw(9, query("copy ct from stdin")), raw(2, data("x\n"), done, query(bad)))
	same("behind COPY TO", raw(2, query("copy (select 1) to stdout"), query(bad)))
	same("between the parts of a portal", q("begin"), batch(prep("", "select generate_series(1,5)"), bind("p", ""), exec("p", 2)), q(bad), batch(exec("p", 2)), q("rollback"))
	same("between the parts, in one pipeline", batch(prep("", "select generate_series(1,5)"), bind("p", ""), describe('P', "p"), exec("p", 2), prep("x", bad), exec("p", 2)), q("select 1"))
	same("between the parts, and a savepoint", q("begin"), q("savepoint s"), batch(prep("", "select generate_series(1,5)"), bind("p", ""), exec("p", 2)), q(bad), q("rollback to s"), batch(exec("p", 2)), q("rollback"))
	same("a cursor with hold is left", q("begin"), q("declare h cursor with hold for select generate_series(1,3)"), q("commit"), q(bad), q("fetch all in h"), q("close h"))
	same("a cursor of a failed transaction", q("begin"), q("declare c cursor for select generate_series(1,3)"), q(bad), q("fetch all in c"), q("rollback"))
	same("SQL PREPARE", q("prepare s as select forbidden"), q("execute s"), q("select 1"))
	same("DECLARE", q("begin"), q("declare c cursor for select forbidden"), q("rollback"))

	// What is refused after it was parsed fails in PostgreSQL for a parameter
	// that cannot be read (Bind), or for another unknown column (Execute).
	late := prep("l", "select 'forbidden later'")
	differ("Bind",
		[]step{batch(prep("l", "select $1::int")), batch(&pgproto3.Bind{PreparedStatement: "l", Parameters: [][]byte{[]byte("x")}}, exec("", 0)), q("select 1")},
		[]step{batch(prep("l", "select '1'::int as forbidden_later where $1::int > 0")), batch(&pgproto3.Bind{PreparedStatement: "l", Parameters: [][]byte{[]byte("1")}}, exec("", 0)), q("select 1")})
	differ("Bind, in a transaction and a pipeline",
		[]step{q("begin"), batch(prep("l", "select 'forbidden later'"), prep("x", "select nothing"), exec("", 0)), q("rollback")},
		[]step{q("begin"), batch(late, bind("", "l"), exec("", 0)), q("rollback")})
	differ("EXECUTE of what was prepared by protocol",
		[]step{batch(late), q("select nothing"), q("select 1")},
		[]step{batch(late), q("execute l"), q("select 1")})
	differ("Execute, a portal in parts",
		[]step{q("begin"), batch(prep("s", "select generate_series(1,5) as sometimes"), bind("p", "s"), exec("p", 2), prep("x", "select nothing"), exec("p", 2)), q("select 1"), q("rollback")},
		[]step{q("begin"), batch(prep("s", "select generate_series(1,5) as sometimes"), bind("p", "s"), exec("p", 2), exec("p", 2), exec("p", 2)), q("select 1"), q("rollback")})
	unknown := &functionCall{oid: 4294967295}
	differ("FunctionCall", []step{raw(1, unknown), q("select 1")}, []step{raw(1, &functionCall{oid: 2026}), q("select 1")})
	differ("FunctionCall, in a transaction", []step{q("begin"), raw(1, unknown), q("select 1"), q("rollback")}, []step{q("begin"), raw(1, &functionCall{oid: 2026}), q("select 1"), q("rollback")})
	differ("FunctionCall, in a failed transaction", []step{q("begin"), q("select 1/0"), raw(1, unknown), q("rollback")}, []step{q("begin"), q("select 1/0"), raw(1, &functionCall{oid: 2026}), q("rollback")})
	return all
}

// functionCall is a FunctionCall without arguments.
type functionCall struct{ oid uint32 }

func (*functionCall) Frontend()           {}
func (*functionCall) Decode([]byte) error { return errors.New("only sent") }
func (f *functionCall) Encode(dst []byte) ([]byte, error) {
	return append(dst, 'F', 0, 0, 0, 14, byte(f.oid>>24), byte(f.oid>>16), byte(f.oid>>8), byte(f.oid), 0, 0, 0, 0, 0, 0), nil
}

func straightTo(t *testing.T, c *pgtest.Cluster) *rawConversation {
	t.Helper()
	conn := upstreamOf(t, c)
	return raw(t, conn)
}

func raw(t *testing.T, conn net.Conn) *rawConversation {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &rawConversation{t: t, conn: conn}
}

func upstreamOf(t *testing.T, c *pgtest.Cluster) *upstream.Conn {
	t.Helper()
	target := &policylang.Upstream{Host: c.Host, Port: c.Port, TLS: "disable"}
	up, err := upstream.Dial(t.Context(), target, upstream.Login{Role: "postgres", Database: "postgres"})
	if err != nil {
		t.Fatal(err)
	}
	return up
}

// relayTo returns a connection through a relay that denies what is forbidden,
// each FunctionCall, and the second execution of what is allowed sometimes.
func relayTo(t *testing.T, c *pgtest.Cluster) *rawConversation {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	executions := 0
	g := &testGuard{decide: func(_ context.Context, ask *relay.Ask) *refusal.Refusal {
		if ask.Stage == relay.StageExecute && strings.Contains(ask.Text.SQL, "sometimes") {
			if executions++; executions > 1 {
				return refusal.New(refusal.PolicyDenied, "no")
			}
		}
		if ask.Stage == relay.StageFunction {
			return refusal.New(refusal.PolicyDenied, "no")
		}
		if ask.Stage != relay.StageParse && strings.Contains(ask.Text.SQL, "forbidden_later") {
			return refusal.New(refusal.PolicyDenied, "no")
		}
		return nil
	}}
	s := relay.New(relay.Config{Client: netloop.Wrap(server), Upstream: upstreamOf(t, c), Guard: g, Loops: loops, Logger: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(context.Background()) // the transcripts say how it ended
	}()
	conversation := raw(t, client)
	t.Cleanup(func() { client.Close(); <-done })
	return conversation
}
