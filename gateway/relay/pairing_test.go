package relay_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgproto3/v2"

	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/relay"
)

// The texts of random pipelines. Those behind the mark are refused by
// testGuard, at Parse or later.
var (
	allowedTexts = []string{
		"select 1", "select generate_series(1,5)", "select generate_series(1,40)", "", "begin", "commit", "rollback", "fails",
		"select nothing", "selec 1", "select 1; select generate_series(1,2); select 3", "select 1; fails; select 2", "begin; select 1; commit",
		"copy t from stdin", "select 1; copy t from stdin; select 2",
		"prepare a as select generate_series(1,3)", "prepare b as select 7", "execute a", "execute b", "deallocate a", "deallocate b",
		"declare a cursor for select generate_series(1,4)", "declare b cursor for select 8", "fetch all in a", "fetch all in b", "close a",
		"prepare a as select 9; select 2", "deallocate a; prepare a as select 1",
	}
	refusedTexts = []string{
		"select forbidden", "select forbidden_later", "select 1; select forbidden; select 2", "prepare a as select forbidden",
		"prepare b as select forbidden_later", "declare a cursor for select forbidden", "copy forbidden from stdin", "begin; select forbidden",
	}
)

var modelNames = []string{"", "a", "b"}

// pipeline makes client messages of arbitrary bytes: two for each message.
func pipeline(data []byte, texts []string) []pgproto3.FrontendMessage {
	var msgs []pgproto3.FrontendMessage
	copies := false // a COPY may be what an Execute runs
	for len(data) >= 2 {
		op, arg := data[0], int(data[1])
		data = data[2:]
		text, name, other := texts[arg%len(texts)], modelNames[arg%3], modelNames[arg/3%3]
		feed := false
		switch op % 16 {
		case 0, 1, 2:
			msgs = append(msgs, &pgproto3.Query{String: text})
			feed = strings.Contains(text, "copy")
		case 3, 4, 5:
			msgs = append(msgs, &pgproto3.Parse{Name: modelNames[op/16%3], Query: text})
			copies = copies || strings.Contains(text, "copy")
		case 6, 7:
			msgs = append(msgs, &pgproto3.Bind{DestinationPortal: name, PreparedStatement: other})
		case 8, 9:
			msgs = append(msgs, &pgproto3.Execute{Portal: name, MaxRows: uint32(arg / 3 % 4)})
			feed = copies
		case 10:
			msgs = append(msgs, &pgproto3.Describe{ObjectType: "SP"[arg/3%2], Name: name})
		case 11:
			msgs = append(msgs, &pgproto3.Close{ObjectType: "SP"[arg/3%2], Name: name})
		case 12, 13:
			msgs = append(msgs, &pgproto3.Sync{})
		case 14:
			msgs = append(msgs, &pgproto3.Flush{})
		case 15:
			if arg%4 == 0 {
				msgs = append(msgs, &functionCall{oid: uint32(arg)})
				break
			}
			msgs = append(msgs, &pgproto3.Parse{Query: text}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{})
			copies = copies || strings.Contains(text, "copy")
			feed = copies
		}
		if feed {
			msgs = append(msgs, &pgproto3.CopyData{Data: []byte("1\n")}, &pgproto3.CopyData{Data: make([]byte, arg)})
			if arg%5 == 0 {
				msgs = append(msgs, &pgproto3.CopyFail{Message: "no"})
			} else {
				msgs = append(msgs, &pgproto3.CopyDone{})
			}
		}
	}
	return append(msgs, &pgproto3.Sync{})
}

func encode(t testing.TB, msgs []pgproto3.FrontendMessage) []byte {
	t.Helper()
	var b []byte
	for _, m := range msgs {
		var err error
		if b, err = m.Encode(b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// modelGuard is testGuard with a ledger of what it allowed and what it was
// told became of that.
type modelGuard struct {
	testGuard
	mu       sync.Mutex
	allowAll bool
	fence    bool // rows must be planned: the relay asks for columns by itself
	restless *rand.Rand

	allowed  map[relay.Stage]map[string]bool
	permits  []*relay.Permit
	outcomes map[*relay.Permit][]relay.Outcome
	order    []string
}

func (g *modelGuard) Decide(ctx context.Context, ask *relay.Ask) (*relay.Permit, *refusal.Refusal) {
	if !g.allowAll {
		if _, r := g.testGuard.Decide(ctx, ask); r != nil {
			return nil, r
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.allowed[ask.Stage] == nil {
		g.allowed[ask.Stage] = map[string]bool{}
	}
	g.allowed[ask.Stage][ask.Text.SQL] = true
	p := &relay.Permit{Fenced: g.fence, CopyOut: true, Data: ask.Text.SQL}
	if ask.Stage == relay.StageQuery || ask.Stage == relay.StageExecute || ask.Stage == relay.StageFunction {
		g.permits = append(g.permits, p)
	}
	return p, nil
}

func (g *modelGuard) Finished(p *relay.Permit, o relay.Outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if o.Kind == relay.OutcomeRunning {
		return
	}
	g.outcomes[p] = append(g.outcomes[p], o)
	switch o.Kind {
	case relay.OutcomeDone:
		g.order = append(g.order, fmt.Sprintf("done %s rows=%d", o.Tag, o.Rows))
	case relay.OutcomeSuspended:
		g.order = append(g.order, fmt.Sprintf("suspended rows=%d", o.Rows))
	case relay.OutcomeFailed:
		g.order = append(g.order, "failed "+o.SQLSTATE)
	case relay.OutcomeSkipped, relay.OutcomeLost, relay.OutcomeRunning:
	}
}

// Stale makes the relay read the search path at arbitrary moments.
func (g *modelGuard) Stale() string {
	if g.restless != nil && g.restless.IntN(4) == 0 {
		return "SELECT unnest(pg_catalog.current_schemas(true))"
	}
	return ""
}

func (g *modelGuard) Refresh([][]string) {}

// Columns plans to rewrite the rows of fenced results.
func (g *modelGuard) Columns(*relay.Permit, int, []relay.Field) (relay.RowRewriter, *refusal.Refusal) {
	if g.fence {
		return upper{}, nil
	}
	return nil, nil
}

// modelUpstream is the model behind a connection.
type modelUpstream struct{ net.Conn }

func (modelUpstream) Cancel(context.Context) error { return nil }

// serve has the model answer a connection, a flush at a time and each in pieces,
// until it is closed. seen gets each message.
func (m *model) serve(conn net.Conn, pieces *rand.Rand, seen func(typ byte, body []byte)) {
	defer conn.Close()
	var header [5]byte
	for {
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(header[1:])-4)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		seen(header[0], body)
		flush, quit := m.handle(header[0], body)
		if flush {
			if err := writePieces(conn, m.out, pieces); err != nil {
				return
			}
			m.out = nil
		}
		if quit {
			return
		}
	}
}

// writePieces writes b in pieces of arbitrary sizes.
func writePieces(conn net.Conn, b []byte, pieces *rand.Rand) error {
	for len(b) > 0 {
		n := min(len(b), 1+pieces.IntN(1<<pieces.IntN(12)))
		if _, err := conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// passed is what a pipeline through the relay came to.
type passed struct {
	answer []byte // to the client
	extra  []byte // behind the last ReadyForQuery
	sent   []byte // to the server, without what is the gateway's own
	server *model
	guard  *modelGuard
}

// pass plays a stream of messages through the relay to a model.
func pass(t *testing.T, stream []byte, syncs int, server *model, g *modelGuard, seed uint64) *passed {
	t.Helper()
	g.allowed, g.outcomes = map[relay.Stage]map[string]bool{}, map[*relay.Permit][]relay.Outcome{}
	clientEnd, relayClient := net.Pipe()
	relayUpstream, serverEnd := net.Pipe()
	deadline := time.Now().Add(time.Minute)
	for _, c := range []net.Conn{clientEnd, serverEnd} {
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	r := &passed{server: server, guard: g}
	var all sync.WaitGroup
	all.Go(func() {
		server.serve(serverEnd, rand.New(rand.NewPCG(seed, 1)), func(typ byte, body []byte) {
			if typ != 'X' {
				r.sent = append(binary.BigEndian.AppendUint32(append(r.sent, typ), uint32(len(body)+4)), body...)
			}
		})
	})
	session := relay.New(relay.Config{Client: relayClient, Upstream: modelUpstream{relayUpstream}, Guard: g, Logger: slog.New(slog.DiscardHandler)})
	all.Go(func() { _ = session.Run(context.Background()) })
	all.Go(func() { _ = writePieces(clientEnd, stream, rand.New(rand.NewPCG(seed, 2))) })
	r.answer = readAnswers(t, clientEnd, syncs)
	if _, err := clientEnd.Write([]byte{'X', 0, 0, 0, 4}); err != nil {
		t.Errorf("the session ended by itself: %v", err)
	}
	r.extra, _ = io.ReadAll(clientEnd)
	clientEnd.Close()
	all.Wait()
	return r
}

// readAnswers reads until n ReadyForQuery have come.
func readAnswers(t *testing.T, conn net.Conn, n int) []byte {
	t.Helper()
	var all []byte
	var header [5]byte
	for n > 0 {
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			t.Errorf("%d ReadyForQuery are missing: %v", n, err)
			return all
		}
		body := make([]byte, binary.BigEndian.Uint32(header[1:])-4)
		if _, err := io.ReadFull(conn, body); err != nil {
			t.Errorf("a message is cut short: %v", err)
			return all
		}
		if header[0] == 'Z' {
			n--
		}
		all = append(append(all, header[:]...), body...)
	}
	return all
}

// transcript is what the client sees, a line a message; with coarse, errors
// that the relay puts in the place of others are all the same.
func transcript(stream []byte, coarse bool) []string {
	var out []string
	each(stream, func(typ byte, body []byte) {
		line := fmt.Sprintf("%c %q", typ, body)
		if typ == 'E' {
			code := ""
			for field := range strings.SplitSeq(string(body), "\x00") {
				if strings.HasPrefix(field, "C") {
					code = field
				}
			}
			if coarse && slices.Contains([]string{"C42703", "C42501", "C42601", "C26000", "C34000", "C42883", "C0A000", "C25P02"}, code) {
				code = "refused"
			}
			line = "E " + code
		}
		out = append(out, line)
	})
	return out
}

// noise is what a server may send at any time, at arbitrary moments.
func noise(seed uint64) func(int) []byte {
	return func(n int) []byte {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		var msg pgproto3.BackendMessage
		switch r.IntN(24) {
		case 0:
			msg = &pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000", Message: strings.Repeat("x", r.IntN(300))}
		case 1:
			msg = &pgproto3.NotificationResponse{PID: 7, Channel: "c", Payload: "p"}
		case 2:
			msg = &pgproto3.ParameterStatus{Name: "TimeZone", Value: "UTC"}
		default:
			return nil
		}
		b, _ := msg.Encode(nil)
		return b
	}
}

func seedOf(data []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(data)
	return h.Sum64()
}

// checkAllowed plays a pipeline that nobody refuses: what the client gets and
// what the server gets is to the byte what it is without a relay, and each
// execution has the outcome that it had.
func checkAllowed(t *testing.T, data []byte) {
	t.Helper()
	seed := seedOf(data)
	stream := encode(t, pipeline(data, allowedTexts))
	straight := newModel()
	straight.noise = noise(seed)
	each(stream, func(typ byte, body []byte) { straight.handle(typ, body) })
	server := newModel()
	server.noise = straight.noise
	got := pass(t, stream, syncsIn(straight.out), server, &modelGuard{allowAll: true}, seed)
	if diff := cmp.Diff(transcript(straight.out, false), transcript(append(got.answer, got.extra...), false)); diff != "" {
		t.Errorf("to the client, straight (-) and through the relay (+):\n%s\n%s", diff, strings.Join(transcript(stream, false), "\n"))
	}
	if !strings.Contains(string(stream), "copy") {
		if diff := cmp.Diff(transcript(stream, false), transcript(got.sent, false)); diff != "" {
			t.Errorf("to the server, straight (-) and through the relay (+):\n%s", diff)
		}
	}
	if diff := cmp.Diff(straight.acted, got.server.acted); diff != "" {
		t.Errorf("what the server acts on, straight (-) and through the relay (+):\n%s", diff)
	}
	if diff := cmp.Diff(straight.results, got.guard.order); diff != "" {
		t.Errorf("outcomes by the server (-) and by the guard (+):\n%s\n%s", diff, strings.Join(transcript(stream, false), "\n"))
	}
	checkOutcomes(t, got.guard)
}

// checkOutcomes says that each permitted execution has its outcomes once.
func checkOutcomes(t *testing.T, g *modelGuard) {
	t.Helper()
	for _, p := range g.permits {
		outcomes := g.outcomes[p]
		if len(outcomes) == 0 {
			t.Errorf("%q was permitted and nothing says what became of it", p.Data)
		}
		for i, o := range outcomes {
			if o.Index != i || i < len(outcomes)-1 && o.Kind != relay.OutcomeDone {
				t.Errorf("%q: outcome %d is of statement %d, kind %d", p.Data, i, o.Index, o.Kind)
			}
		}
	}
	if len(g.outcomes) > len(g.permits) {
		t.Errorf("%d outcomes for %d permits", len(g.outcomes), len(g.permits))
	}
}

// checkRefused plays a pipeline of which the guard refuses a part. The client
// sees what it would if the refused statements named an unknown column, or for
// texts of several statements had a syntax error; nothing reaches the server
// that was not decided, and nothing that is refused runs.
func checkRefused(t *testing.T, data []byte, change func(*modelGuard)) {
	t.Helper()
	seed := seedOf(data)
	single := slices.DeleteFunc(slices.Clone(allowedTexts), func(s string) bool {
		return strings.Contains(s, ";") && (strings.Contains(s, "execute") || strings.Contains(s, "fetch"))
	})
	msgs := pipeline(data, append(single, refusedTexts...))
	straight := newModel()
	straight.strict = true
	each(encode(t, asReference(msgs)), func(typ byte, body []byte) { straight.handle(typ, body) })
	g := &modelGuard{}
	if change != nil {
		change(g)
	}
	got := pass(t, encode(t, msgs), syncsIn(straight.out), newModel(), g, seed)
	want := straight.out
	if g.fence {
		want = upperRows(want)
	}
	if diff := cmp.Diff(transcript(want, true), transcript(append(got.answer, got.extra...), true)); diff != "" {
		t.Errorf("to the client, straight (-) and through the relay (+):\n%s\n%s", diff, strings.Join(transcript(encode(t, msgs), false), "\n"))
	}
	for _, text := range got.server.ran {
		if strings.Contains(text, "forbidden") {
			t.Errorf("%q ran", text)
		}
	}
	checkDecided(t, got)
	checkOutcomes(t, got.guard)
}

// asReference puts what fails in the same way in PostgreSQL in the place of
// what is refused.
func asReference(msgs []pgproto3.FrontendMessage) []pgproto3.FrontendMessage {
	out := slices.Clone(msgs)
	for i, m := range out {
		if q, ok := m.(*pgproto3.Query); ok && strings.Contains(q.String, "forbidden") {
			out[i] = &pgproto3.Query{String: "selec forbidden"}
		}
	}
	return out
}

// checkDecided says that each text that reached the server, and each portal
// that it was asked to make or run, was allowed at that stage, or is the
// relay's own.
func checkDecided(t *testing.T, got *passed) {
	t.Helper()
	each(got.sent, func(typ byte, body []byte) {
		var text string
		stage := relay.StageQuery
		switch typ {
		case 'Q':
			text = strings.TrimSuffix(string(body), "\x00")
		case 'P':
			var msg pgproto3.Parse
			if err := msg.Decode(body); err != nil {
				t.Fatal(err)
			}
			text, stage = msg.Query, relay.StageParse
		case 'F':
			stage = relay.StageFunction
		default:
			return
		}
		standIn := strings.HasPrefix(text, `SELECT "postern: denied d_`) || strings.HasPrefix(text, "SELECT unnest(")
		if !standIn && !got.guard.allowed[stage][text] {
			t.Errorf("%c %q reached the server and was not decided", typ, text)
		}
	})
	for _, text := range got.server.ran {
		decided := got.guard.allowed[relay.StageExecute][text]
		for query := range got.guard.allowed[relay.StageQuery] {
			decided = decided || strings.Contains(query, text)
		}
		for query := range got.guard.allowed[relay.StageParse] { // run by EXECUTE or FETCH, which were decided as this
			decided = decided || strings.Contains(query, text)
		}
		if !decided && !strings.HasPrefix(text, "SELECT unnest(") {
			t.Errorf("%q ran and was not decided", text)
		}
	}
}

func upperRows(stream []byte) []byte {
	var out []byte
	each(stream, func(typ byte, body []byte) {
		if typ == 'D' {
			body, _ = upper{}.AppendRow(nil, body)
		}
		out = append(binary.BigEndian.AppendUint32(append(out, typ), uint32(len(body)+4)), body...)
	})
	return out
}

func syncsIn(stream []byte) int {
	n := 0
	each(stream, func(typ byte, _ []byte) {
		if typ == 'Z' {
			n++
		}
	})
	return n
}

// checkPipeline plays one pipeline under each guard.
func checkPipeline(t *testing.T, data []byte) {
	t.Helper()
	checkAllowed(t, data)
	checkRefused(t, data, nil)
	checkRefused(t, data, func(g *modelGuard) { g.fence = true })
	checkRefused(t, data, func(g *modelGuard) { g.restless = rand.New(rand.NewPCG(seedOf(data), 3)) })
}

// TestPairing plays random pipelines against the model.
func TestPairing(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, 2*(1+r.IntN(40)))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		checkPipeline(t, data)
		if t.Failed() {
			t.Fatalf("the pipeline of seed %d", seed)
		}
	}
}

// FuzzPairing plays arbitrary pipelines against the model.
func FuzzPairing(f *testing.F) {
	f.Add([]byte{15, 1, 12, 0, 3, 4, 6, 0, 8, 0})
	f.Add([]byte{19, 29, 6, 3, 8, 0, 12, 0, 19, 0, 6, 3, 8, 0})
	f.Add([]byte{0, 13, 0, 14, 15, 13, 12, 0})
	f.Add([]byte{19, 3, 0, 17, 15, 17, 12, 0, 6, 0, 8, 0, 8, 0}) // an EXECUTE of an empty text
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 200 {
			return
		}
		checkPipeline(t, data)
	})
}
