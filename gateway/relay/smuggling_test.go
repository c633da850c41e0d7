package relay_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/posternhq/postern/gateway/relay"
)

// rawMessage makes a message of any type, with the length that its body has.
func rawMessage(typ byte, body string) []byte { return lyingMessage(typ, body, len(body)+4) }

// lyingMessage makes a message with a length of its own.
func lyingMessage(typ byte, body string, length int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{typ}, uint32(length)), body...)
}

// attack is what an attacker sends, byte for byte.
type attack struct {
	name   string
	stream []byte
	forged string // must not be among the messages that reach the server
	want   string // must be in what the client gets, unless empty
}

func attacks(t *testing.T) []attack {
	t.Helper()
	query := func(sql string) []byte { return rawMessage('Q', sql+"\x00") }
	extended := func(msgs ...pgproto3.FrontendMessage) []byte { return encode(t, msgs) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	hidden := query("select forged")
	data := func(b []byte) []byte { return rawMessage('d', string(b)) }
	copies := query("copy t from stdin")
	done := rawMessage('c', "")
	sync := rawMessage('S', "")
	parse := rawMessage('P', "\x00select 1\x00\x00\x00")
	return []attack{
		{name: "behind Terminate", stream: join(rawMessage('X', ""), hidden), forged: "forged"},
		{name: "behind Terminate with a body", stream: join(rawMessage('X', "more"), hidden), forged: "forged"},
		{name: "a Query longer than its text", stream: lyingMessage('Q', "select 1\x00select forged\x00", 4+9+14), forged: "forged", want: "08P01"},
		{name: "a Query shorter than its text", stream: lyingMessage('Q', "select forged\x00", 4+9), forged: "Qselect forged", want: "08P01"},
		{name: "a Query of no length", stream: join(lyingMessage('Q', "", 0), hidden), forged: "forged", want: "08P01"},
		{name: "a negative length", stream: join(lyingMessage('Q', "", -1), hidden), forged: "forged", want: "08P01"},
		{name: "a Query that is never whole", stream: lyingMessage('Q', "select forged\x00", 1000), forged: "forged"},
		{name: "a Parse whose text is not ended", stream: join(rawMessage('P', "\x00select forged"), sync), forged: "forged", want: "08P01"},
		{name: "a Parse that counts more types than it has", stream: join(rawMessage('P', "\x00select 1\x00\x7f\xff"), sync), forged: "select 1", want: "08P01"},
		{name: "a Parse with bytes behind its types", stream: join(rawMessage('P', "\x00select 1\x00\x00\x00Qforged\x00"), sync), forged: "forged", want: "08P01"},
		{name: "a Bind that counts more values than it has", stream: join(parse, rawMessage('B', "\x00\x00\x00\x00\x7f\xff\x00\x00"), sync), forged: "B\x00\x00", want: "08P01"},
		{name: "a Bind whose value is longer than it", stream: join(parse, rawMessage('B', "\x00\x00\x00\x00\x00\x01\x00\x00\x00\x7fx\x00\x00"), sync), forged: "B\x00\x00", want: "08P01"},
		{name: "a Bind with bytes behind its end", stream: join(parse, rawMessage('B', "\x00\x00\x00\x00\x00\x00\x00\x00forged"), sync), forged: "forged", want: "08P01"},
		{name: "an Execute with bytes behind its end", stream: join(parse, rawMessage('B', "\x00\x00\x00\x00\x00\x00\x00\x00"), rawMessage('E', "\x00\x00\x00\x00\x00forged"), sync), forged: "forged", want: "08P01"},
		{name: "a Describe with a second name", stream: join(parse, rawMessage('D', "S\x00forged\x00"), sync), forged: "forged", want: "08P01"},
		{name: "a Close with a second name", stream: join(rawMessage('C', "S\x00forged\x00"), sync), forged: "forged", want: "08P01"},
		{name: "a Sync with a body", stream: rawMessage('S', "Qforged\x00"), forged: "forged", want: "08P01"},
		{name: "a Flush with a body", stream: join(rawMessage('H', "Qforged\x00"), sync), forged: "forged", want: "08P01"},
		{name: "a startup packet in the session", stream: append(binary.BigEndian.AppendUint32(nil, 23), "\x00\x03\x00\x00user\x00forged\x00\x00"...), forged: "forged", want: "08P01"},
		{name: "a cancel request in the session", stream: []byte("\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01abcd"), forged: "abcd", want: "08P01"},
		{name: "a server's message from the client", stream: join(rawMessage('Z', "I"), hidden), forged: "forged", want: "08P01"},

		{name: "a Query during COPY", stream: join(copies, data([]byte("1\n")), hidden), forged: "forged", want: "08P01"},
		{name: "a Parse during COPY", stream: join(copies, rawMessage('P', "\x00select forged\x00\x00\x00")), forged: "forged", want: "08P01"},
		{name: "a Query as COPY data", stream: join(copies, data(hidden), done), forged: "Qselect forged"},
		{name: "a Query as the rest of large COPY data", stream: join(copies, data(append(bytes.Repeat([]byte{'x'}, 1<<17), hidden...)), done), forged: "Qselect forged"},
		{name: "large COPY data to a refused COPY", stream: join(query("copy forbidden from stdin"), data(append(bytes.Repeat([]byte{'x'}, 1<<18), hidden...)), done), forged: "forged", want: "refused"},
		{name: "COPY data without a COPY", stream: join(data(hidden), done, rawMessage('f', "forged\x00")), forged: "forged"},
		{name: "COPY data behind the end of COPY", stream: join(copies, done, data(hidden), done), forged: "forged"},
		{name: "a Query between COPY data of a pipeline", stream: join(extended(prep("", "copy t from stdin"), bind("", ""), exec("", 0)), data([]byte("1\n")), hidden), forged: "forged", want: "08P01"},
		{name: "Terminate during COPY", stream: join(copies, data([]byte("1\n")), rawMessage('X', ""), done, hidden), forged: "forged"},

		{name: "a name closed and made again", stream: extended(prep("a", "select 1"), &pgproto3.Close{ObjectType: 'S', Name: "a"}, prep("a", "select forbidden_later"), bind("", "a"), exec("", 0), syncMsg), want: "refused"},
		{name: "a name made again without a Close", stream: extended(prep("a", "select forbidden_later"), prep("a", "select 1"), bind("", "a"), exec("", 0), syncMsg, bind("", "a"), exec("", 0), syncMsg), want: "refused"},
		{name: "the unnamed statement made again behind its Bind", stream: extended(prep("", "select 1"), bind("p", ""), prep("", "select forbidden_later"), bind("q", ""), exec("p", 0), exec("q", 0), syncMsg), want: "refused"},
		{name: "a portal made again", stream: extended(prep("a", "select 1"), prep("b", "select forbidden_later"), bind("", "a"), bind("", "b"), exec("", 0), syncMsg), want: "refused"},
		{name: "a portal of a refused Bind", stream: extended(prep("a", "select 1"), prep("b", "select forbidden_later"), bind("p", "a"), syncMsg, bind("p", "b"), syncMsg, exec("p", 0), syncMsg), want: "refused"},
		{name: "a name made again behind an error", stream: extended(prep("a", "select forbidden_later"), prep("x", "select nothing"), &pgproto3.Close{ObjectType: 'S', Name: "a"}, prep("a", "select 1"), syncMsg, bind("", "a"), exec("", 0), syncMsg), want: "refused"},
		{name: "the names of SQL and of the protocol", stream: join(extended(prep("a", "select forbidden_later"), syncMsg), query("execute a"), query("deallocate a; prepare a as select 1"), extended(prep("a", "select forbidden_later"), bind("", "a"), exec("", 0), syncMsg)), want: "refused"},
		{name: "a cursor under a portal's name", stream: join(query("begin"), extended(prep("s", "select forbidden_later"), bind("c", "s"), syncMsg), query("rollback"), query("fetch all in c")), want: "refused"},
		{name: "the gateway's own names", stream: extended(bind("", "_postern_denied"), exec("", 0), syncMsg, bind("_postern_path", ""), exec("_postern_path", 0), syncMsg), want: "refused"},
	}
}

// TestSmuggling sends what a client must not send, or not so, in one write and
// byte by byte: what is hidden in it does not reach the server as a message,
// and what is refused does not run.
func TestSmuggling(t *testing.T) {
	for _, a := range attacks(t) {
		for _, slow := range []bool{false, true} {
			if slow && len(a.stream) > 1<<12 {
				continue
			}
			name := a.name
			if slow {
				name += ", slowly"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				messages, answer, server := smuggle(t, a.stream, slow, a.want)
				if slices.ContainsFunc(messages, func(m string) bool { return m[0] != 'd' && strings.Contains(m, a.forged) && a.forged != "" }) {
					t.Errorf("%q reached the server: %q", a.forged, messages)
				}
				if slices.ContainsFunc(server.ran, func(text string) bool { return strings.Contains(text, "forb") || strings.Contains(text, "forged") }) {
					t.Errorf("what is forbidden ran: %q", server.ran)
				}
				if lines := strings.Join(transcript(answer, true), "\n"); a.want != "" && !strings.Contains(lines, a.want) {
					t.Errorf("want %q in the answer:\n%s", a.want, lines)
				}
			})
		}
	}
}

// smuggle plays a stream to a model through a relay. It returns the messages
// that reached the server, and what the client was answered, once that has want
// in it.
func smuggle(t *testing.T, stream []byte, slow bool, want string) (messages []string, answer []byte, server *model) {
	t.Helper()
	clientEnd, relayClient := net.Pipe()
	relayUpstream, serverEnd := net.Pipe()
	for _, c := range []net.Conn{clientEnd, serverEnd} {
		if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	server = newModel()
	var all sync.WaitGroup
	all.Go(func() {
		server.serve(serverEnd, rand.New(rand.NewPCG(1, 1)), func(typ byte, body []byte) {
			messages = append(messages, string(typ)+string(body))
		})
	})
	g := &modelGuard{allowed: map[relay.Stage]map[string]bool{}, outcomes: map[*relay.Permit][]relay.Outcome{}}
	s := relay.New(relay.Config{Client: relayClient, Upstream: modelUpstream{relayUpstream}, Guard: g, Logger: slog.New(slog.DiscardHandler)})
	all.Go(func() { _ = s.Run(context.Background()) })
	answered, wanted := make(chan struct{}), make(chan struct{})
	came := sync.OnceFunc(func() { close(wanted) })
	all.Go(func() {
		defer close(answered)
		for buf := make([]byte, 4096); ; {
			if want == "" || strings.Contains(strings.Join(transcript(whole(answer), true), "\n"), want) {
				came()
			}
			n, err := clientEnd.Read(buf)
			answer = append(answer, buf[:n]...)
			if err != nil {
				return
			}
		}
	})
	chunk := len(stream)
	if slow {
		chunk = 1
	}
	for part := range slices.Chunk(stream, max(chunk, 1)) {
		if _, err := clientEnd.Write(part); err != nil {
			break // the session ended, as it may
		}
	}
	select {
	case <-wanted:
	case <-answered: // the relay has closed the connection
	}
	select {
	case <-answered:
	case <-time.After(200 * time.Millisecond): // for what must not happen
	}
	clientEnd.Close()
	all.Wait()
	return messages, whole(answer), server
}

// whole returns the messages of a stream without one that is cut short.
func whole(stream []byte) []byte {
	n := 0
	for len(stream)-n >= 5 {
		next := n + 1 + int(binary.BigEndian.Uint32(stream[n+1:]))
		if next > len(stream) {
			break
		}
		n = next
	}
	return stream[:n]
}
