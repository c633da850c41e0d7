package relay_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/posternhq/postern/gateway/internal/netloop"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/gateway/relay"
)

// allowing is a guard that permits one text and allocates nothing.
type allowing struct {
	text   *relay.Text
	permit relay.Permit
	memo   relay.Memo
}

func newAllowing() *allowing {
	g := &allowing{text: &relay.Text{SQL: "SELECT 1", Statements: []*relay.Statement{{}}}}
	g.permit.Memo = &g.memo
	return g
}

func (g *allowing) Read(string) (*relay.Text, *refusal.Refusal) { return g.text, nil }
func (g *allowing) Unknown(string) *relay.Statement             { return g.text.Statements[0] }
func (g *allowing) Decide(context.Context, *relay.Ask) (*relay.Permit, *refusal.Refusal) {
	return &g.permit, nil
}

func (g *allowing) Columns(*relay.Permit, int, []relay.Field) (relay.RowRewriter, *refusal.Refusal) {
	return nil, nil
}
func (g *allowing) Finished(*relay.Permit, relay.Outcome) {}
func (g *allowing) Flush() error                          { return nil }
func (g *allowing) Settled()                              {}
func (g *allowing) Checked(*relay.Permit, string, bool)   {}
func (g *allowing) Payloads() bool                        { return true }
func (g *allowing) Stale() string                         { return "" }
func (g *allowing) Refresh([][]string)                    {}

type benchUpstream struct{ net.Conn }

func (benchUpstream) Cancel(context.Context) error { return nil }
func (u benchUpstream) NetConn() net.Conn          { return u.Conn }

func tcpPair(b *testing.B) (client, server net.Conn) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		b.Fatal(err)
	}
	return client, server
}

func encodeAll(b *testing.B, messages ...interface{ Encode([]byte) ([]byte, error) }) []byte {
	b.Helper()
	var out []byte
	for _, m := range messages {
		var err error
		if out, err = m.Encode(out); err != nil {
			b.Fatal(err)
		}
	}
	return out
}

// BenchmarkPrepared is a transaction of pgbench -S -M prepared through a relay,
// before a server that answers at once and a guard that costs nothing. Look at
// the allocations: time is for the most part that of eight system calls.
func BenchmarkPrepared(b *testing.B) {
	loops, err := netloop.Start()
	if err != nil {
		b.Fatal(err)
	}
	defer loops.Close()
	client, relayClient := tcpPair(b)
	relayUpstream, server := tcpPair(b)
	request := encodeAll(b, &pgproto3.Bind{PreparedStatement: "P_0", Parameters: [][]byte{[]byte("12345")}},
		&pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{})
	answer := encodeAll(b, &pgproto3.BindComplete{}, &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("abalance"), DataTypeOID: 23, DataTypeSize: 4}}},
		&pgproto3.DataRow{Values: [][]byte{[]byte("0")}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	parse := encodeAll(b, &pgproto3.Parse{Name: "P_0", Query: "SELECT 1"}, &pgproto3.Sync{})
	parsed := encodeAll(b, &pgproto3.ParseComplete{}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			reply := answer
			if buf[0] == 'P' {
				reply = parsed
			}
			if bytes.HasSuffix(buf[:n], []byte{'S', 0, 0, 0, 4}) {
				_, _ = server.Write(reply) // the benchmark notices
			}
		}
	}()
	s := relay.New(relay.Config{
		Client: netloop.Wrap(relayClient), Upstream: benchUpstream{netloop.Wrap(relayUpstream)}, Guard: newAllowing(), Loops: loops,
		Logger: slog.New(slog.DiscardHandler),
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(context.Background()) // until the client leaves
	}()
	defer func() { client.Close(); <-done; server.Close() }()
	buf := make([]byte, len(answer))
	ask := func(request []byte, size int) {
		if _, err := client.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(client, buf[:size]); err != nil {
			b.Fatal(err)
		}
	}
	ask(parse, len(parsed))
	b.ReportAllocs()
	for b.Loop() {
		ask(request, len(answer))
	}
}
