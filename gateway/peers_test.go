package gateway_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"github.com/posternhq/postern/gateway"
)

// TestCancelAtAnotherInstance sends cancel requests to a gateway whose session
// it is not.
func TestCancelAtAnotherInstance(t *testing.T) {
	first := newBench(t, testPolicy(), func(c *gateway.Config) { c.Peers.Instance = 1 })
	second := newBench(t, testPolicy(), func(c *gateway.Config) {
		c.Peers = gateway.Peers{
			Instance: 2, Addresses: map[uint8]string{1: first.address.String()}, TLS: &tls.Config{RootCAs: first.roots},
		}
	})
	conn := first.connect("ben", simple)
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_sleep(30)")
		done <- err
	}()
	eventually(t, "the statement runs", func() bool {
		got, err := column(t.Context(), directly(t), "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'")
		return err == nil && got[0] == "1"
	})
	send := func(pid uint32, key []byte) {
		t.Helper()
		c := must(net.Dial("tcp", second.address.String()))(t)
		defer c.Close()
		second.write(c, cancelRequest(pid, key))
		var b [1]byte
		if _, err := c.Read(b[:]); err == nil {
			t.Error("a cancel request was answered")
		}
	}
	pid, key := conn.PgConn().PID(), conn.PgConn().SecretKey()
	if pid>>23 != 1 {
		t.Errorf("the key %d does not name its instance", pid)
	}
	send(pid, []byte{1, 2, 3, 4}) // a guess does nothing there either
	select {
	case err := <-done:
		t.Fatalf("a guessed key cancelled: %v", err)
	default:
	}
	send(pid, key)
	wantError(t, <-done, "57014", "canceling statement")
}
