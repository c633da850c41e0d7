package gateway_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/metrics"
	"github.com/posternhq/postern/policylang"
)

// TestBreach has the server announce another column than was foreseen: the
// session ends before a byte of the row is released, and that is evidence, in
// the log and in a metric. Other sessions go on.
func TestBreach(t *testing.T) {
	liar := newLiar(t)
	p := testPolicy()
	p.Gateways[0].Upstream.Host, p.Gateways[0].Upstream.Port = "127.0.0.1", liar.port
	set := metrics.NewGateway(prometheus.NewRegistry())
	b := newBench(t, p, func(c *gateway.Config) { c.Metrics = set })
	for name, mode := range map[string]pgx.QueryExecMode{"simple": pgx.QueryExecModeSimpleProtocol, "extended": pgx.QueryExecModeExec} {
		t.Run(name, func(t *testing.T) {
			before := counted(set.MaskBreaches)
			conn, other := b.connect("ana", func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode }), b.connect("ana")
			mustServe(t, conn, "SELECT name FROM customers WHERE id = 1", "Ida")
			liar.lies.Store(true)
			got, err := column(t.Context(), conn, "SELECT name, id FROM customers WHERE id = 1")
			liar.lies.Store(false)
			wantError(t, err, "58000", "masked column came where another was foreseen")
			if len(got) != 0 {
				t.Errorf("the client got %q", got)
			}
			if !conn.IsClosed() {
				t.Error("the session goes on")
			}
			mustServe(t, other, "SELECT name FROM customers WHERE id = 1", "Ida")
			eventually(t, "postern_mask_breaches_total", func() bool { return counted(set.MaskBreaches)-before == 1 })
			b.awaitLog("mask_breach")
		})
	}
	b.wantRecorded("mask_breach")
}

// wantRecorded wants a text in the evidence.
func (b *bench) wantRecorded(text string) {
	b.t.Helper()
	b.stop()
	<-b.stopped
	for r, err := range evidence.Search(b.dir, evidence.Query{}) {
		if err != nil {
			b.t.Fatal(err)
		}
		if strings.Contains(fmt.Sprintf("%+v", r), text) {
			return
		}
	}
	b.t.Errorf("no record holds %q", text)
}

// counted returns what a counter has come to.
func counted(c prometheus.Counter) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}

// liar passes on what a client and the server say, but for the origin of a
// result's first column: then that is customers.email.
type liar struct {
	port int
	lies atomic.Bool
}

func newLiar(t *testing.T) *liar {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	address, _ := l.Addr().(*net.TCPAddr)
	liar := &liar{port: address.Port}
	var table uint32
	if _, err := fmt.Sscan(ask(t, "SELECT 'customers'::regclass::oid::text"), &table); err != nil {
		t.Fatal(err)
	}
	server := net.JoinHostPort(shared.cluster.Host, fmt.Sprint(shared.cluster.Port))
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			up, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(up, client); _ = up.Close() }()
			go func() { liar.answer(client, up, table); _ = client.Close() }()
		}
	}()
	return liar
}

// answer passes on the server's messages.
func (l *liar) answer(client, server net.Conn, table uint32) {
	header := make([]byte, 5)
	for {
		if _, err := io.ReadFull(server, header); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(header[1:])-4)
		if _, err := io.ReadFull(server, body); err != nil {
			return
		}
		if end := bytes.IndexByte(body[min(2, len(body)):], 0); header[0] == 'T' && l.lies.Load() && end >= 0 {
			binary.BigEndian.PutUint32(body[2+end+1:], table)
			binary.BigEndian.PutUint16(body[2+end+5:], 3) // customers.email
		}
		if _, err := client.Write(append(bytes.Clone(header), body...)); err != nil {
			return
		}
	}
}

// TestLookupBudget spends what predicates = "equality" lets an identity compare,
// in two sessions together, by statements of all kinds.
func TestLookupBudget(t *testing.T) {
	p := testPolicy()
	p.MaskingPolicies[0].Predicates = policylang.KnobEquality
	b := newBench(t, p, limited(gateway.Limits{Lookups: 8}))
	conn, other := b.connect("ana"), b.connect("ana", simple)
	const sql = "SELECT name FROM customers WHERE email = 'ida@secret.example'"
	mustServe(t, conn, sql, "Ida")                                                                // 1
	mustServe(t, conn, sql, "Ida")                                                                // 2
	mustServe(t, other, sql, "Ida")                                                               // 3
	mustServe(t, other, "SELECT name FROM customers WHERE ssn = '900-12-3456' AND id = 1", "Ida") // 4
	for _, miss := range []string{"SELECT name FROM customers WHERE email = 'nobody'", "SELECT 1 UNION ALL SELECT id FROM customers WHERE email = 'x'"} {
		if _, err := column(t.Context(), other, miss); err != nil { // 5, 6: a guess that is wrong is one, too
			t.Fatal(err)
		}
	}
	if _, err := column(t.Context(), conn, "SELECT name FROM customers WHERE email LIKE 'i%'"); err == nil { // none: it is refused
		t.Error("LIKE was served")
	}
	mustServe(t, conn, sql, "Ida") // 7
	// Two in one statement are more than is left.
	_, err := column(t.Context(), conn, "SELECT name FROM customers WHERE email = 'a' UNION ALL SELECT name FROM customers WHERE email = 'b'")
	wantError(t, err, "42501", "as often as you may in an hour, which is 8 times")
	mustServe(t, conn, sql, "Ida") // 8
	for _, c := range []*pgx.Conn{conn, other} {
		_, err := column(t.Context(), c, sql)
		wantError(t, err, "42501", "as often as you may in an hour")
		mustServe(t, c, "SELECT name FROM customers WHERE id = 1", "Ida")
	}
	mustServe(t, b.connect("ben"), sql, "Ida") // nothing is masked for
	b.wantRecorded("lookup_limit")
}

// TestCatalogUnavailable takes the catalog away: whoever is masked is refused,
// others go on, and so does whoever was refused once it is back.
func TestCatalogUnavailable(t *testing.T) {
	const sql = "SELECT name FROM customers WHERE id = 1"
	tests := []struct {
		name       string
		away, back string
	}{
		{"unreachable", "ALTER ROLE postern NOLOGIN", "ALTER ROLE postern LOGIN"},
		{"half-loaded", "REVOKE SELECT ON pg_catalog.pg_cast FROM PUBLIC", "GRANT SELECT ON pg_catalog.pg_cast TO PUBLIC"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			onServer(t, test.away)
			t.Cleanup(func() { onServer(t, test.back) })
			b := newBench(t, testPolicy())
			masked, free := b.connect("ana"), b.connect("ben")
			for range 2 {
				_, err := column(t.Context(), masked, sql)
				wantError(t, err, "57P03", "the database's catalog cannot be read, and columns are masked for you")
				mustServe(t, free, sql, "Ida")
			}
			onServer(t, test.back)
			awaitServed(t, masked, sql)
		})
	}
	t.Run("stale", func(t *testing.T) {
		set := metrics.NewGateway(prometheus.NewRegistry())
		b := newBench(t, testPolicy(), func(c *gateway.Config) { c.Metrics, c.Limits.CatalogAge = set, 2*time.Second })
		masked, free := b.connect("ana"), b.connect("ben")
		mustServe(t, masked, sql, "Ida")
		onServer(t, "ALTER ROLE postern NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postern'")
		t.Cleanup(func() { onServer(t, "ALTER ROLE postern LOGIN") })
		deadline := time.Now().Add(30 * time.Second)
		for {
			if _, err := column(t.Context(), masked, sql); err != nil {
				wantError(t, err, "57P03", "catalog cannot be read")
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("a catalog that cannot be compared is used for ever")
			}
			time.Sleep(50 * time.Millisecond)
		}
		mustServe(t, free, sql, "Ida")
		if counted(set.CatalogFailures) == 0 {
			t.Error("postern_catalog_failures_total is 0")
		}
		onServer(t, "ALTER ROLE postern LOGIN")
		awaitServed(t, masked, sql)
	})
}

// awaitServed wants a statement served soon.
func awaitServed(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := column(t.Context(), conn, sql)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
