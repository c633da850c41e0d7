package gateway_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/metrics"
)

// spareMetrics has a gateway keep spares, and tells how many wait and how many
// were given.
func spareMetrics(t *testing.T) (change func(*gateway.Config), waiting, given func() float64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	value := func(name, kind string) float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != name {
				continue
			}
			for _, m := range f.GetMetric() {
				if kind == "" {
					return m.GetGauge().GetValue()
				}
				if m.GetLabel()[0].GetValue() == kind {
					return m.GetCounter().GetValue()
				}
			}
		}
		return 0
	}
	change = func(c *gateway.Config) { c.Limits.Spares, c.Metrics = 1, metrics.NewGateway(registry) }
	return change, func() float64 { return value("postern_upstream_spares", "") },
		func() float64 { return value("postern_upstream_connections_total", "spare") }
}

// await waits until that many spares wait.
func await(t *testing.T, waiting func() float64, want float64) {
	t.Helper()
	for range 3000 {
		if waiting() == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%v spares wait, want %v", waiting(), want)
}

// login is one session that says who it is.
func (b *bench) login(t *testing.T, user string) {
	t.Helper()
	conn := b.connect(user)
	defer conn.Close(context.Background())
	var name string
	if err := conn.QueryRow(t.Context(), "SELECT current_user::text", pgx.QueryExecModeSimpleProtocol).Scan(&name); err != nil || name != user {
		t.Fatalf("the session of %s is that of %q: %v", user, name, err)
	}
}

// TestSpares follows the spares of a gateway: they are made when logins repeat,
// given to the same identity alone, and dropped with a new policy, a revocation
// and the gateway.
func TestSpares(t *testing.T) {
	change, waiting, given := spareMetrics(t)
	b := newBench(t, testPolicy(), change)
	warm := func() {
		t.Helper()
		for waiting() == 0 { // until two logins follow each other soon enough
			b.login(t, "ana")
			b.login(t, "ana")
			time.Sleep(100 * time.Millisecond)
		}
	}
	warm()
	before := given()
	b.login(t, "ben")
	if given() != before {
		t.Error("a spare of one identity was given to another")
	}
	b.login(t, "ana")
	if given() == before {
		t.Error("the spare was not given to the login that repeats")
	}
	warm()
	b.apply(testPolicy())
	await(t, waiting, 0)
	b.login(t, "ana")
	warm()
	list := []api.Revocation{{Kind: api.RevokeToken, Value: "another", CreatedAt: time.Now()}}
	b.server.Revoke(list)
	await(t, waiting, 0)
	warm()
	b.server.Revoke(list) // the same again changes nothing
	if waiting() != 1 {
		t.Error("a list of revocations that was known dropped a spare")
	}
	b.stop()
	<-b.stopped
	await(t, waiting, 0)
}
