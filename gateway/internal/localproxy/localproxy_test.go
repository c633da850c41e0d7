package localproxy

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// FuzzWithUser shows that whatever a client sends, the session is the
// credential's role's: pgproto3, which is not ours, reads the same.
func FuzzWithUser(f *testing.F) {
	for _, seed := range []string{
		"user\x00app\x00\x00", "user\x00app\x00database\x00shop\x00\x00", "database\x00shop\x00user\x00postgres\x00user\x00root\x00\x00", "", "\x00", "user", "user\x00", "a\x00b",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, params []byte) {
		var m pgproto3.StartupMessage
		body := append(binary.BigEndian.AppendUint32(nil, pgproto3.ProtocolVersionNumber), withUser(params, "ana")...)
		if err := m.Decode(body); err != nil {
			return // the gateway refuses it likewise
		}
		if m.Parameters["user"] != "ana" {
			t.Errorf("%q became %v", params, m.Parameters)
		}
	})
}

// TestDatabase keeps the database that the client meant: by libpq's rule its
// user's name, if it names none.
func TestDatabase(t *testing.T) {
	for params, want := range map[string]string{
		"user\x00app\x00\x00":                      "user\x00ana\x00database\x00app\x00\x00",
		"user\x00app\x00database\x00shop\x00\x00":  "user\x00ana\x00database\x00shop\x00\x00",
		"options\x00-c a=b\x00user\x00app\x00\x00": "user\x00ana\x00options\x00-c a=b\x00database\x00app\x00\x00",
		"user\x00app\x00user\x00postgres\x00\x00":  "user\x00ana\x00database\x00postgres\x00\x00",
	} {
		if got := string(withUser([]byte(params), "ana")); got != want {
			t.Errorf("%q became %q, want %q", params, got, want)
		}
	}
}

// TestRefusals tells a local client why it can't connect.
func TestRefusals(t *testing.T) {
	broken := errors.New("the login has expired; run: postern login")
	for name, c := range map[string]struct {
		proxy  Proxy
		packet []byte
		want   string
	}{
		"an old protocol":   {Proxy{}, startup(2<<16, nil), "only protocol 3"},
		"no credential":     {Proxy{}, startup(3<<16, []byte("user\x00a\x00\x00")), "run: postern login"},
		"no gateway":        {Proxy{Address: "127.0.0.1:1", Credential: func(context.Context) (Credential, error) { return Credential{}, nil }}, startup(3<<16, []byte("\x00")), "cannot be reached"},
		"an endless packet": {Proxy{}, []byte{0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.proxy.Credential == nil {
				c.proxy.Credential = func(context.Context) (Credential, error) { return Credential{}, broken }
			}
			c.proxy.Logger = slog.New(slog.DiscardHandler)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- c.proxy.Serve(ctx, l) }()
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(c.packet); err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(conn)
			if err != nil || !strings.Contains(string(said), c.want) || c.want == "" && len(said) > 0 {
				t.Errorf("it said %q, %v", said, err)
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
