package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway/internal/pgtest"
)

// TestFailover has a standby promoted while a gateway runs: the session on the
// primary ends, the next one is on what was the standby, masked as before and
// recorded with the server that it was on.
func TestFailover(t *testing.T) {
	primary := pgtest.New(t, pgtest.Options{HBA: []string{"host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"}})
	primary.MustExec(t, "postgres", schema)
	standby := pgtest.NewStandby(t, primary)
	policy := testPolicy()
	u := &policy.Gateways[0].Upstream
	u.Host, u.Port, u.FallbackHosts = standby.Host, standby.Port, []string{fmt.Sprintf("%s:%d", primary.Host, primary.Port)}
	b := newBench(t, policy)

	masked := func(conn *pgx.Conn, when string) {
		t.Helper()
		got, err := column(t.Context(), conn, "SELECT email FROM customers ORDER BY id")
		if err != nil || len(got) != 2 || strings.Contains(strings.Join(got, " "), "ida@") {
			t.Errorf("%s: ana reads %q, %v", when, got, err)
		}
	}
	conn := b.connect("ana")
	masked(conn, "before")

	primary.Kill()
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a session outlives its server")
	}
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn = b.connect("ana")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := conn.Exec(t.Context(), "SELECT email FROM customers")
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("what is masked cannot be read after the failover: %v", err)
		}
	}
	masked(conn, "after")
	if _, err := conn.Exec(t.Context(), "UPDATE carts SET item = 'bowl' WHERE id = 1"); err != nil {
		t.Errorf("write after the failover: %v", err)
	}

	// A policy that no longer lists the server ends what is connected to it.
	u.FallbackHosts, u.TargetSessionAttrs = nil, ""
	b.apply(policy)
	masked(conn, "after another policy with the server")
	u.Port = primary.Port
	b.apply(policy)
	_, err := conn.Exec(t.Context(), "SELECT 1")
	wantError(t, err, "57P01", "moved this gateway to another database")

	for _, c := range []*pgtest.Cluster{primary, standby} {
		b.wantRecorded(fmt.Sprintf("Server:%s:%d", c.Host, c.Port))
	}
}
