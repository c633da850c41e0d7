package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway"
)

func limited(l gateway.Limits) func(*gateway.Config) {
	return func(c *gateway.Config) { c.Limits = l }
}

// rawLogin logs in and returns the connection, on which nothing reads ahead.
func (b *bench) rawLogin(user string) net.Conn {
	b.t.Helper()
	conn := b.rawTLS()
	start := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersionNumber, Parameters: map[string]string{"user": user, "database": "postgres"}}
	b.write(conn, must(start.Encode(nil))(b.t))
	b.read(conn, 'R')
	b.write(conn, must((&pgproto3.PasswordMessage{Password: token(user)}).Encode(nil))(b.t))
	b.read(conn, 'Z')
	return conn
}

func (b *bench) rawTLS() net.Conn {
	b.t.Helper()
	plain := must(net.Dial("tcp", b.address.String()))(b.t)
	conn := tls.Client(plain, &tls.Config{RootCAs: b.roots, ServerName: "127.0.0.1", NextProtos: []string{"postgresql"}})
	b.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		b.t.Fatal(err)
	}
	if err := conn.Handshake(); err != nil {
		b.t.Fatal(err)
	}
	return conn
}

func (b *bench) write(conn net.Conn, data []byte) {
	b.t.Helper()
	if _, err := conn.Write(data); err != nil {
		b.t.Fatal(err)
	}
}

// read reads until a message of a type has come, and returns its body.
func (b *bench) read(conn net.Conn, typ byte) string {
	b.t.Helper()
	var header [5]byte
	for {
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			b.t.Fatalf("%v before a message of type %q\nlog:\n%s", err, typ, b.logs)
		}
		body := make([]byte, int(header[1])<<24|int(header[2])<<16|int(header[3])<<8|int(header[4])-4)
		if _, err := io.ReadFull(conn, body); err != nil {
			b.t.Fatal(err)
		}
		if header[0] == typ {
			return string(body)
		}
	}
}

func query(sql string) []byte {
	b, err := (&pgproto3.Query{String: sql}).Encode(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// TestLimits reaches each limit of a gateway and wants the error that is its
// own.
func TestLimits(t *testing.T) {
	t.Run("message", func(t *testing.T) {
		b := newBench(t, testPolicy(), limited(gateway.Limits{Message: 1 << 16}))
		_, err := b.connect("ben", simple).Exec(t.Context(), "SELECT '"+strings.Repeat("x", 1<<16)+"'")
		wantError(t, err, "54000", "message is larger")
		b.awaitLog("code=message_too_large")
	})
	t.Run("statement", func(t *testing.T) {
		l := gateway.Limits{}
		l.Statement.MaxBytes = 1000
		conn := newBench(t, testPolicy(), limited(l)).connect("ben", simple)
		_, err := conn.Exec(t.Context(), "SELECT '"+strings.Repeat("x", 1000)+"'")
		wantError(t, err, "54000", "")
		wantAlive(t, conn)
	})
	t.Run("nesting", func(t *testing.T) {
		l := gateway.Limits{}
		l.Statement.MaxDepth = 50
		conn := newBench(t, testPolicy(), limited(l)).connect("ben", simple)
		_, err := conn.Exec(t.Context(), "SELECT "+strings.Repeat("(", 60)+"1"+strings.Repeat(")", 60))
		wantError(t, err, "54001", "")
		wantAlive(t, conn)
	})
	t.Run("connections", func(t *testing.T) {
		b := newBench(t, testPolicy(), limited(gateway.Limits{Connections: 1}))
		conn := b.connect("ben")
		_, err := pgx.ConnectConfig(t.Context(), b.config("ana", token("ana")))
		wantError(t, err, "53300", "the gateway has 1 connections")
		wantAlive(t, conn)
	})
	t.Run("connections of an identity", func(t *testing.T) {
		b := newBench(t, testPolicy(), limited(gateway.Limits{IdentityConnections: 1}))
		conn := b.connect("ben")
		b.connect("ana")
		_, err := pgx.ConnectConfig(t.Context(), b.config("ben", token("ben")))
		wantError(t, err, "53300", `"ben" has 1 connections`)
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a place is free again", func() bool {
			again, err := pgx.ConnectConfig(t.Context(), b.config("ben", token("ben")))
			if err == nil {
				_ = again.Close(t.Context())
			}
			return err == nil
		})
	})
	t.Run("login", func(t *testing.T) {
		b := newBench(t, testPolicy(), limited(gateway.Limits{LoginTimeout: 2 * time.Second}))
		conn := b.rawTLS()
		start := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersionNumber, Parameters: map[string]string{"user": "ben"}}
		b.write(conn, must(start.Encode(nil))(t))
		if e := b.read(conn, 'E'); !strings.Contains(e, "C57014\x00") || !strings.Contains(e, "login took longer") {
			t.Errorf("error %q", e)
		}
	})
	t.Run("idle", func(t *testing.T) {
		b := newBench(t, testPolicy(), limited(gateway.Limits{Idle: 2 * time.Second})) // it is idle between the login and the query, too
		conn := b.rawLogin("ben")
		b.write(conn, query("SELECT pg_sleep(3)")) // longer than the limit, and not idle
		b.read(conn, 'D')
		b.read(conn, 'Z')
		if e := b.read(conn, 'E'); !strings.Contains(e, "C57P05\x00") {
			t.Errorf("error %q", e)
		}
	})
	t.Run("session", func(t *testing.T) {
		b := newBench(t, testPolicy(), limited(gateway.Limits{SessionTTL: 2 * time.Second}))
		if e := b.read(b.rawLogin("ana"), 'E'); !strings.Contains(e, "C57P01\x00") || !strings.Contains(e, "longest time") {
			t.Errorf("error %q", e)
		}
	})
}

// TestStuckClient has a client ask for much and read nothing: the gateway
// keeps little of it, and ends the session in time.
func TestStuckClient(t *testing.T) {
	b := newBench(t, testPolicy(), limited(gateway.Limits{Stuck: time.Second}))
	conn := b.rawLogin("ben")
	before := heap()
	b.write(conn, query("SELECT repeat('x', 10000) FROM generate_series(1, 100000)")) // 1 GB
	b.awaitLog("code=client_stuck")
	if grown := int64(heap()) - int64(before); grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// TestStuckUpstream has a client send COPY data to a server that does not read
// it.
func TestStuckUpstream(t *testing.T) {
	b := newBench(t, testPolicy(), limited(gateway.Limits{Stuck: time.Second}))
	blocker := directly(t)
	for _, sql := range []string{"BEGIN", "LOCK TABLE carts"} {
		if _, err := blocker.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	conn := b.rawLogin("ben")
	before := heap()
	b.write(conn, query("SELECT 1"))
	b.read(conn, 'Z')
	// The server waits for the lock and reads nothing of what is pipelined.
	b.write(conn, query("INSERT INTO carts VALUES (78, 'x')"))
	go func() {
		more := bytes.Repeat(query("SELECT '"+strings.Repeat("x", 100_000)+"'"), 10)
		for {
			if _, err := conn.Write(more); err != nil {
				return
			}
		}
	}()
	b.awaitLog("code=upstream_stuck")
	if grown := int64(heap()) - int64(before); grown > 64<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if _, err := blocker.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Error(err)
	}
}

// TestDrain stops a gateway: an idle session ends at once, a transaction may
// end first, nobody new is let in, and what takes too long is ended.
func TestDrain(t *testing.T) {
	b := newBench(t, testPolicy(), limited(gateway.Limits{Drain: 20 * time.Second}))
	idle, busy := b.rawLogin("ben"), b.connect("ana", simple)
	if _, err := busy.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	b.stop()
	if e := b.read(idle, 'E'); !strings.Contains(e, "C57P01\x00") {
		t.Errorf("error %q", e)
	}
	if conn, err := pgx.ConnectConfig(t.Context(), b.config("ben", token("ben"))); err == nil {
		_ = conn.Close(t.Context())
		t.Error("somebody was let in")
	}
	if _, err := busy.Exec(t.Context(), "INSERT INTO carts VALUES (77, 'drained'); COMMIT"); err != nil {
		t.Errorf("the end of a transaction: %v", err)
	}
	eventually(t, "the gateway has ended", b.ended)
	if got, err := column(t.Context(), directly(t), "SELECT count(*) FROM carts WHERE id = 77"); err != nil || got[0] != "1" {
		t.Errorf("the transaction left %v rows, %v", got, err)
	}

	b = newBench(t, testPolicy(), limited(gateway.Limits{Drain: 300 * time.Millisecond}))
	held := b.connect("ana", simple)
	failed := make(chan error, 1)
	go func() {
		_, err := held.Exec(context.Background(), "SELECT pg_sleep(60)")
		failed <- err
	}()
	eventually(t, "the statement runs", func() bool {
		got, err := column(t.Context(), directly(t), "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'")
		return err == nil && got[0] == "1"
	})
	b.stop()
	wantError(t, <-failed, "57P01", "shutting down")
	eventually(t, "the gateway has ended", b.ended)
}

// TestGuessedKeys sends cancel requests with keys that are nobody's, or nearly.
func TestGuessedKeys(t *testing.T) {
	b := newBench(t, testPolicy())
	conn := b.connect("ben", simple)
	pid, key := conn.PgConn().PID(), conn.PgConn().SecretKey()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_sleep(1)")
		done <- err
	}()
	near := bytes.Clone(key)
	near[len(near)-1] ^= 1
	for _, guess := range []struct {
		pid uint32
		key []byte
	}{{pid, near}, {pid + 1, key}, {pid, key[:3]}, {pid, append(bytes.Clone(key), 0)}, {pid, nil}, {0, key}} {
		cancel := must(net.Dial("tcp", b.address.String()))(t)
		b.write(cancel, cancelRequest(guess.pid, guess.key))
		if rest, err := io.ReadAll(cancel); err != nil && !errors.Is(err, net.ErrClosed) || len(rest) != 0 {
			t.Errorf("the answer to a cancel request is %q, %v", rest, err)
		}
		cancel.Close()
	}
	if err := <-done; err != nil {
		t.Errorf("a guessed key cancelled the statement: %v", err)
	}
}

func cancelRequest(pid uint32, key []byte) []byte {
	b := []byte{0, 0, 0, byte(12 + len(key)), 0x04, 0xd2, 0x16, 0x2e, byte(pid >> 24), byte(pid >> 16), byte(pid >> 8), byte(pid)}
	return append(b, key...)
}

func (b *bench) ended() bool {
	select {
	case <-b.stopped:
		return true
	default:
		return false
	}
}

func (b *bench) awaitLog(text string) {
	b.t.Helper()
	eventually(b.t, text, func() bool { return strings.Contains(b.logs.String(), text) })
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}

func wantAlive(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	if got, err := column(t.Context(), conn, "SELECT 42"); err != nil || got[0] != "42" {
		t.Errorf("the session is not usable any more: %v, %v", got, err)
	}
}

// directly connects to the database itself.
func directly(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), shared.cluster.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
