package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/accept"
	"github.com/posternhq/postern/gateway/approve"
	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// shared is what all tests use: a PostgreSQL and an issuer.
var shared struct {
	cluster *pgtest.Cluster
	issuer  *demoissuer.Issuer
}

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if shared.cluster, err = pgtest.Start(pgtest.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.cluster.Stop()
	if shared.issuer, err = demoissuer.Start(demoissuer.Config{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = shared.issuer.Close() }()
	err = errors.Join(shared.cluster.Exec(context.Background(), "postgres", schema), shared.cluster.Exec(context.Background(), "postgres", "CREATE DATABASE scratch"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		ignore := goleak.IgnoreAnyFunction("github.com/posternhq/postern/gateway/internal/demoissuer.(*Issuer).serveLoop")
		if err := leaktest.Find(ignore, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
			goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("net/http.(*conn).serve"), goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

const schema = `
CREATE ROLE postern LOGIN; CREATE ROLE ana LOGIN; CREATE ROLE ben LOGIN;
CREATE TABLE customers (id int PRIMARY KEY, name text, email text, ssn text, since date);
INSERT INTO customers VALUES (1, 'Ida', 'ida@secret.example', '900-12-3456', '2021-03-04'), (2, 'Joao', 'joao@secret.example', '900-65-4321', '2022-11-30');
CREATE VIEW contacts AS SELECT id, email AS contact FROM customers;
CREATE VIEW contacts2 AS SELECT contact AS c FROM contacts;
CREATE TABLE carts (id int, item text);
INSERT INTO carts VALUES (1, 'cup'), (2, 'mat');
GRANT ALL ON customers, contacts, contacts2, carts TO ana, ben;
CREATE FUNCTION email_of(i int) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT email FROM customers WHERE id = i); END $$;
`

// testPolicy is the policy of most tests.
func testPolicy() *policylang.Policy {
	return &policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name:     "test",
			Upstream: policylang.Upstream{Host: shared.cluster.Host, Port: shared.cluster.Port, TLS: "disable"},
			Issuers:  []policylang.Issuer{{Name: "demo", URL: shared.issuer.URL(), Audience: "postern"}},
		}},
		Identities: []policylang.Identity{
			{Name: "ana", Kind: "human", When: "token.sub == 'ana'", Groups: []string{"engineering"}},
			{Name: "ben", Kind: "human", When: "token.sub == 'ben'", Groups: []string{"dba", "pii"}},
		},
		ApprovalGroups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"ben"}}},
		QueryRules: []policylang.QueryRule{
			{Name: "everybody_reads", When: "statement.read_only", Effect: policylang.EffectAllow},
			{Name: "writes", When: "statement.writes && statement.class == 'write'", Effect: policylang.EffectAllow},
			{Name: "dba_all", When: "'dba' in identity.groups", Effect: policylang.EffectAllow},
			{Name: "no_drop_database", When: "statement.commands.exists(c, c == 'DROP DATABASE')", Effect: policylang.EffectDeny, Message: "Never by hand."},
			{Name: "unfiltered", When: "statement.writes && !statement.filtered", Effect: policylang.EffectHold, ApprovalGroup: "dba"},
		},
		MaskingPolicies: []policylang.MaskingPolicy{
			{Name: "pii", Columns: []string{"public.customers.email", "*.*.ssn"}, Transform: policylang.TransformPartial, KeepLast: 2, Unless: "'pii' in identity.groups"},
		},
	}
}

// broker answers approvals as a test says.
type broker struct {
	mu       sync.Mutex
	created  chan *approve.Request
	outcomes chan approve.Outcome
	withdrew []string
}

func newBroker() *broker {
	return &broker{created: make(chan *approve.Request, 10), outcomes: make(chan approve.Outcome, 10)}
}

func (b *broker) Create(_ context.Context, r *approve.Request) (approve.Pending, error) {
	b.created <- r
	return approve.Pending{ID: "ap_1", URL: "https://control/approvals/ap_1", Expires: time.Now().Add(time.Minute)}, nil
}

func (b *broker) Wait(ctx context.Context, _ string) (approve.Outcome, error) {
	select {
	case o := <-b.outcomes:
		return o, nil
	case <-ctx.Done():
		return approve.Outcome{}, ctx.Err()
	}
}

func (b *broker) Withdraw(_ context.Context, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.withdrew = append(b.withdrew, id)
	return nil
}

func (b *broker) Use(context.Context, *approve.Request) (approve.Outcome, bool, error) {
	return approve.Outcome{}, false, nil
}

// bench is a running gateway.
type bench struct {
	t        *testing.T
	live     *livepolicy.Live
	key      *bundle.PrivateKey
	revision uint64
	broker   *broker
	dir      string // of the evidence
	journal  *evidence.Journal
	address  *net.TCPAddr
	roots    *x509.CertPool
	logs     *logBuffer
	server   *gateway.Server
	stop     func()          // ends the server
	stopped  <-chan struct{} // when it has ended

	certificate *x509.Certificate // the gateway's own
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newBench(t *testing.T, policy *policylang.Policy, change ...func(*gateway.Config)) *bench {
	t.Helper()
	b := &bench{t: t, broker: newBroker(), dir: t.TempDir(), logs: &logBuffer{}}
	log := slog.New(slog.NewTextHandler(b.logs, nil))
	b.key = must(bundle.GenerateKey("test"))(t)
	_, signer, err := evidence.GenerateKey("test")
	if err != nil {
		t.Fatal(err)
	}
	b.journal = must(evidence.Open(evidence.Config{Dir: b.dir, Origin: "test", Key: signer, Logger: log}))(t)
	t.Cleanup(func() { _ = b.journal.Close() })
	b.live = must(livepolicy.Open(livepolicy.Config{Gateway: "test", Trusted: must(bundle.NewKeyRing(b.key.PublicKey()))(t), Logger: log}))(t)
	cert, roots := testCertificate(t)
	b.roots = roots
	b.certificate = must(x509.ParseCertificate(cert.Certificate[0]))(t)
	auth := authenticate.New(authenticate.Config{AllowLoopbackHTTP: true, Logger: log, Issuers: func() []policylang.Issuer {
		if p := b.live.Current(); p != nil {
			return p.Program.Gateway().Issuers
		}
		return nil
	}})
	cfg := gateway.Config{
		Name: "test", Live: b.live, Authenticator: auth, Journal: b.journal, Approvals: b.broker, Logger: log,
		MaskKeys: must(mask.NewKeys(make([]byte, 32)))(t),
		Accept:   accept.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{accept.ALPN}}},
	}
	for _, c := range change {
		c(&cfg)
	}
	server := gateway.New(cfg)
	b.server = server
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	address, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("not a TCP listener")
	}
	b.address = address
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ctx, l); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	b.stop, b.stopped = stop, done
	t.Cleanup(func() { stop(); <-done })
	if policy != nil {
		b.apply(policy)
	}
	return b
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func testCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	roots := x509.NewCertPool()
	roots.AddCert(must(x509.ParseCertificate(der))(t))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// apply releases a policy.
func (b *bench) apply(p *policylang.Policy) {
	b.t.Helper()
	b.revision++
	sealed := must(bundle.Seal(p, b.key))(b.t)
	release := must(bundle.SealRelease(bundle.Release{
		Gateway: "test", Bundle: must(p.Digest())(b.t), Revision: b.revision, Time: time.Now().UTC().Truncate(time.Second),
	}, b.key))(b.t)
	if _, err := b.live.Apply(release, sealed); err != nil {
		b.t.Fatal(err)
	}
}

func claims(sub string) map[string]any { return map[string]any{"sub": sub, "aud": "postern"} }

func token(sub string) string { return shared.issuer.Issue(claims(sub), 5*time.Minute) }

// config is how a client connects.
func (b *bench) config(user, password string) *pgx.ConnConfig {
	b.t.Helper()
	cfg := must(pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=postgres sslmode=disable", b.address.Port, user)))(b.t)
	cfg.Password = password
	cfg.TLSConfig = &tls.Config{RootCAs: b.roots, ServerName: "127.0.0.1"}
	return cfg
}

func (b *bench) connect(user string, change ...func(*pgx.ConnConfig)) *pgx.Conn {
	b.t.Helper()
	cfg := b.config(user, token(user))
	for _, c := range change {
		c(cfg)
	}
	conn, err := pgx.ConnectConfig(b.t.Context(), cfg)
	if err != nil {
		b.t.Fatalf("connect: %v\nlog:\n%s", err, b.logs)
	}
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func simple(c *pgx.ConnConfig) { c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol }

// column returns the first column of a query's rows.
func column(ctx context.Context, conn *pgx.Conn, sql string) ([]string, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		if err != nil || len(values) == 0 {
			return "", err
		}
		return fmt.Sprint(values[0]), nil
	})
}

func wantError(t *testing.T, err error, code, text string) {
	t.Helper()
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		t.Errorf("error %v, want SQLSTATE %s %s", err, code, text)
		return
	}
	if pg.Code != code || !strings.Contains(pg.Message, text) {
		t.Errorf("error %s %q (hint %q), want %s %q", pg.Code, pg.Message, pg.Hint, code, text)
	}
	if pg.Hint == "" && pg.Code != "57014" {
		t.Errorf("error %s %q has no hint", pg.Code, pg.Message)
	}
}

func TestMaskedReads(t *testing.T) {
	b := newBench(t, testPolicy())
	served := []string{
		"SELECT email FROM customers ORDER BY id",
		"SELECT email AS note FROM customers AS c ORDER BY c.id",
		"SELECT contact FROM contacts ORDER BY id",
		"SELECT c FROM contacts2",
		"SELECT e FROM (SELECT email AS e, id FROM customers) s ORDER BY id",
		"WITH w AS (SELECT email, id FROM customers) SELECT email FROM w ORDER BY id",
		"SELECT ssn FROM customers ORDER BY id",
		"SELECT email FROM customers WHERE id = 1",
	}
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			conn := b.connect("ana", func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
			for range 2 { // prepared once, executed twice
				for _, sql := range served {
					got, err := column(t.Context(), conn, sql)
					if err != nil {
						t.Errorf("%s: %v", sql, err)
						continue
					}
					all := strings.Join(got, " ")
					if len(got) == 0 || strings.Contains(all, "ida@") || strings.Contains(all, "900-") || !strings.Contains(all, "*") {
						t.Errorf("%s: %q", sql, got)
					}
				}
			}
		})
	}
	ben := b.connect("ben")
	if got, err := column(t.Context(), ben, served[0]); err != nil || got[0] != "ida@secret.example" {
		t.Errorf("ben sees %q, %v", got, err)
	}
}

// TestMaskedRefusals holds what would reveal a masked value: each is refused
// with 42501, or answered without the value, and the connection survives.
func TestMaskedRefusals(t *testing.T) {
	b := newBench(t, testPolicy())
	for _, sql := range []string{
		"SELECT id FROM customers WHERE email LIKE 'ida%'",
		"SELECT count(*) FROM customers WHERE ssn = '900-12-3456'",
		"SELECT upper(email) FROM customers",
		"SELECT email || '' FROM customers",
		"SELECT max(email) FROM customers",
		"SELECT customers FROM customers",
		"SELECT row_to_json(c) FROM customers c",
		"SELECT id FROM customers ORDER BY email",
		"SELECT email_of(1)",
		"SELECT a.id FROM customers a JOIN customers b ON a.email = b.email",
		"COPY customers TO STDOUT",
		"COPY (SELECT email FROM customers) TO STDOUT",
		"DO $$ BEGIN RAISE NOTICE '%', (SELECT email FROM customers LIMIT 1); END $$",
		"CREATE TABLE stolen AS SELECT email FROM customers",
		"UPDATE carts SET item = (SELECT email FROM customers LIMIT 1) WHERE id = 1",
		"SELECT email::int FROM customers",
		"EXPLAIN ANALYZE SELECT id FROM customers WHERE email > 'a'",
		"SELECT query_to_xml('SELECT email FROM customers', true, false, '')",
		"SET role = 'ben'",
		"SET SESSION AUTHORIZATION ben",
		"SELECT set_config('role', 'ben', false)",
	} {
		t.Run(sql, func(t *testing.T) {
			conn := b.connect("ana", simple)
			results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
			out := fmt.Sprint(err)
			for _, r := range results {
				for _, row := range r.Rows {
					out += string(slices.Concat(row...))
				}
			}
			for _, secret := range []string{"ida@", "secret.example", "900-12", "joao@"} {
				if strings.Contains(out, secret) && !strings.Contains(sql, secret) {
					t.Errorf("revealed: %s", out)
				}
			}
			if err == nil && !strings.Contains(sql, "SELECT upper") && !strings.Contains(sql, "||") {
				t.Logf("served: %s", out)
			}
			if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
				t.Errorf("the connection did not survive: %v", err)
			}
		})
	}
}

func TestDenied(t *testing.T) {
	b := newBench(t, testPolicy())
	for name, change := range map[string]func(*pgx.ConnConfig){"simple": simple, "extended": func(*pgx.ConnConfig) {}} {
		t.Run(name, func(t *testing.T) {
			conn := b.connect("ben", change)
			_, err := conn.Exec(t.Context(), "DROP DATABASE scratch")
			wantError(t, err, "42501", "no_drop_database: Never by hand.")
			if got, err := column(t.Context(), conn, "SELECT 7"); err != nil || got[0] != "7" {
				t.Errorf("afterwards: %q, %v", got, err)
			}
			ana := b.connect("ana", change)
			_, err = ana.Exec(t.Context(), "CREATE TABLE nope (a int)")
			wantError(t, err, "42501", "no rule allows")
			_, err = ana.Exec(t.Context(), "SELECT FROM WHERE")
			wantError(t, err, "42601", "")
			_, err = ana.Exec(t.Context(), strings.Repeat("(", 100_000)+"SELECT 1")
			wantError(t, err, "54001", "")
		})
	}
}

// TestExecuteNothing runs by SQL what the protocol has prepared without a
// statement in it: no rule has to allow it, nor does it matter that columns are
// masked.
func TestExecuteNothing(t *testing.T) {
	conn := newBench(t, testPolicy()).connect("ana").PgConn()
	if _, err := conn.Prepare(t.Context(), "empty", "-- nothing", nil); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"EXECUTE empty", "EXECUTE empty(email_of(1))"} {
		results, err := conn.Exec(t.Context(), sql).ReadAll()
		if err != nil || len(results) != 1 || results[0].CommandTag.String() != "EXECUTE" {
			t.Errorf("%s: got %v, %v, want the tag EXECUTE", sql, results, err)
		}
	}
	_, err := conn.Exec(t.Context(), "EXECUTE another").ReadAll()
	wantError(t, err, "42501", "")
}

func TestLoginRefused(t *testing.T) {
	b := newBench(t, testPolicy())
	other := must(demoissuer.Start(demoissuer.Config{}))(t)
	t.Cleanup(func() { _ = other.Close() })
	expired := func() string {
		c := claims("ana")
		c["iat"], c["exp"] = time.Now().Add(-2*time.Hour).Unix(), time.Now().Add(-time.Hour).Unix()
		return shared.issuer.Issue(c, time.Minute)
	}
	tests := []struct {
		name, user, password string
		change               func(*pgx.ConnConfig)
		code, text           string
	}{
		{name: "no token", user: "ana", password: "hunter2", code: "28P01", text: "not a token"},
		{name: "expired", user: "ana", password: expired(), code: "28P01", text: "expired"},
		{name: "another audience", user: "ana", password: shared.issuer.Issue(map[string]any{"sub": "ana", "aud": "other"}, time.Minute), code: "28P01", text: "somebody else"},
		{name: "another issuer", user: "ana", password: other.Issue(claims("ana"), time.Minute), code: "28P01", text: "issuer"},
		{name: "altered", user: "ana", password: alter(token("ana")), code: "28P01"},
		{name: "nobody", user: "ana", password: token("zoe"), code: "28000", text: "no identity"},
		{name: "another's role", user: "ben", password: token("ana"), code: "28000", text: `as the database role "ana"`},
		{name: "no TLS", user: "ana", password: token("ana"), change: func(c *pgx.ConnConfig) { c.TLSConfig = nil }, code: "28000", text: "TLS"},
		{name: "no such database", user: "ana", password: token("ana"), change: func(c *pgx.ConnConfig) { c.Database = "none" }, code: "3D000", text: "does not exist"},
		{name: "role by option", user: "ana", password: token("ana"), change: func(c *pgx.ConnConfig) { c.RuntimeParams["options"] = "-c role=ben" }, code: "42501", text: "role"},
		{name: "encoding", user: "ana", password: token("ana"), change: func(c *pgx.ConnConfig) { c.RuntimeParams["client_encoding"] = "SJIS" }, code: "22021", text: "UTF8"},
		{name: "replication", user: "ana", password: token("ana"), change: func(c *pgx.ConnConfig) { c.RuntimeParams["replication"] = "database" }, code: "0A000", text: "replication"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := b.config(tt.user, tt.password)
			if tt.change != nil {
				tt.change(cfg)
			}
			conn, err := pgx.ConnectConfig(t.Context(), cfg)
			if err == nil {
				_ = conn.Close(t.Context())
				t.Fatal("let in")
			}
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != tt.code || !strings.Contains(pg.Message, tt.text) {
				t.Errorf("error %v, want %s %q", err, tt.code, tt.text)
			}
			if len(tt.password) > 20 {
				if piece := tt.password[len(tt.password)-20:]; strings.Contains(b.logs.String(), piece) || strings.Contains(err.Error(), piece) {
					t.Error("a piece of the token was logged or sent back")
				}
			}
		})
	}
}

func alter(token string) string {
	i := len(token) - 10
	c := byte('A')
	if token[i] == c {
		c = 'B'
	}
	return token[:i] + string(c) + token[i+1:]
}

func TestNoPolicy(t *testing.T) {
	b := newBench(t, nil)
	_, err := pgx.ConnectConfig(t.Context(), b.config("ana", token("ana")))
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "57P03" || !strings.Contains(pg.Message, "no verified policy") {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(b.logs.String(), "no verified policy") {
		t.Errorf("the log does not say so:\n%s", b.logs)
	}
}

func TestUpstreamDown(t *testing.T) {
	p := testPolicy()
	p.Gateways[0].Upstream.Port = 1
	b := newBench(t, p)
	_, err := pgx.ConnectConfig(t.Context(), b.config("ana", token("ana")))
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "08001" {
		t.Errorf("error %v", err)
	}
}

func TestHold(t *testing.T) {
	const sql = "DELETE FROM carts"
	reset := func(t *testing.T) {
		shared.cluster.MustExec(t, "postgres", "TRUNCATE carts; INSERT INTO carts VALUES (1, 'cup'), (2, 'mat')")
	}
	count := func(t *testing.T, conn *pgx.Conn) string {
		t.Helper()
		got, err := column(t.Context(), conn, "SELECT count(*) FROM carts")
		if err != nil {
			t.Fatal(err)
		}
		return got[0]
	}
	for name, change := range map[string]func(*pgx.ConnConfig){"simple": simple, "extended": func(*pgx.ConnConfig) {}} {
		t.Run(name, func(t *testing.T) {
			reset(t)
			b := newBench(t, testPolicy())
			var notices []string
			conn := b.connect("ana", change, func(c *pgx.ConnConfig) {
				c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices = append(notices, n.Message+" "+n.Hint) }
			})
			run := func() chan error {
				done := make(chan error, 1)
				go func() { _, err := conn.Exec(context.Background(), sql); done <- err }()
				return done
			}

			done := run()
			r := <-b.broker.created
			if r.SQL != sql || r.Subject.Name != "ana" || r.Groups[0].Name != "dba" || r.Rules[0] != "unfiltered" {
				t.Errorf("request = %+v", r)
			}
			b.broker.outcomes <- approve.Outcome{ID: "ap_1", Status: approve.Refused, RefusedBy: "ben", Reason: "not today"}
			wantError(t, <-done, "42501", "not today")
			if got := count(t, conn); got != "2" {
				t.Errorf("%s rows are left", got)
			}

			done = run()
			<-b.broker.created
			b.broker.outcomes <- approve.Outcome{ID: "ap_1", Status: approve.Approved, Approvers: []string{"ana"}}
			if err := <-done; err == nil {
				t.Error("an approval by the requester let the statement pass")
			}

			done = run()
			<-b.broker.created
			if err := conn.PgConn().CancelRequest(t.Context()); err != nil {
				t.Error(err)
			}
			wantError(t, <-done, "57014", "user request")
			b.broker.mu.Lock()
			if len(b.broker.withdrew) == 0 {
				t.Error("the request was not withdrawn")
			}
			b.broker.mu.Unlock()

			done = run()
			<-b.broker.created
			b.broker.outcomes <- approve.Outcome{ID: "ap_1", Status: approve.Approved, Approvers: []string{"ben"}}
			if err := <-done; err != nil {
				t.Errorf("approved, but %v", err)
			}
			if got := count(t, conn); got != "0" {
				t.Errorf("%s rows are left", got)
			}
			if len(notices) == 0 || !strings.Contains(notices[0], "waiting for approval ap_1 by dba") || !strings.Contains(notices[0], "https://control/") {
				t.Errorf("notices = %q", notices)
			}

			// In a transaction the client cannot wait: it is told to come again.
			tx := must(conn.Begin(t.Context()))(t)
			_, err := tx.Exec(t.Context(), sql)
			wantError(t, err, "42501", "needs approval")
			_ = tx.Rollback(t.Context())
		})
	}
}

func TestPolicyChangeOnLiveSessions(t *testing.T) {
	b := newBench(t, testPolicy())
	ana, ben := b.connect("ana", simple), b.connect("ben", simple)

	// A rule that comes is obeyed by the next statement of an open session.
	changed := testPolicy()
	changed.QueryRules = append(changed.QueryRules, policylang.QueryRule{Name: "no_carts", When: "statement.reads('*.carts')", Effect: policylang.EffectDeny})
	b.apply(changed)
	_, err := ben.Exec(t.Context(), "SELECT * FROM carts")
	wantError(t, err, "42501", "no_carts")

	// An identity that goes ends its session, in the middle of a statement.
	done := sleepIn(t, ana)
	changed.Identities = changed.Identities[1:]
	b.apply(changed)
	select {
	case err := <-done:
		wantError(t, err, "57P01", `no longer lets "ana" in`)
	case <-time.After(30 * time.Second): // half of what the statement takes
		t.Fatal("the session goes on")
	}
	if _, err := ben.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("another's session ended: %v", err)
	}
}

func TestLimitRules(t *testing.T) {
	p := testPolicy()
	p.QueryRules = append(p.QueryRules,
		policylang.QueryRule{Name: "ceiling", When: "identity.name == 'ana'", Effect: policylang.EffectLimit, MaxRows: 5, StatementTimeout: "2s"},
		policylang.QueryRule{Name: "why", When: "statement.writes", Effect: policylang.EffectLimit, RequireReason: true},
	)
	b := newBench(t, p)
	conn := b.connect("ana", simple)
	_, err := conn.Exec(t.Context(), "SELECT generate_series(1, 100)")
	wantError(t, err, "54000", "more than the 5 rows")
	_, err = conn.Exec(t.Context(), "SELECT pg_sleep(20)")
	wantError(t, err, "57014", "")
	_, err = conn.Exec(t.Context(), "INSERT INTO carts VALUES (9, 'x')")
	wantError(t, err, "42501", "wants a reason")
	if _, err := conn.Exec(t.Context(), "SET postern.reason = 'ticket 7'"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "INSERT INTO carts VALUES (9, 'x')"); err != nil {
		t.Error(err)
	}
}

// TestEvidence checks that what happened is in the evidence, once.
func TestEvidence(t *testing.T) {
	b := newBench(t, testPolicy())
	conn := b.connect("ana", simple)
	_, _ = conn.Exec(t.Context(), "SELECT name, email FROM customers")
	_, _ = conn.Exec(t.Context(), "DROP DATABASE scratch")
	_, _ = conn.Exec(t.Context(), "SELECT 1/0")
	_ = conn.Close(t.Context())
	_, _ = pgx.ConnectConfig(t.Context(), b.config("ben", token("ana")))
	deadline := time.Now().Add(30 * time.Second)
	var got []string
	for time.Now().Before(deadline) {
		got = got[:0]
		for r, err := range evidence.Search(b.dir, evidence.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Kind == evidence.KindJournal || r.Kind == evidence.KindHeartbeat {
				continue
			}
			got = append(got, fmt.Sprintf("%s %s %s %s %s %s", r.Kind, r.Identity, r.Command, r.Effect, r.Outcome, r.SQLState))
		}
		if len(got) >= 6 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(got)
	want := []string{
		"denied ana DROP DATABASE deny refused 42501",
		"denied ana LOGIN deny refused 28000",
		"session_end ana    completed ",
		"session_start ana    ",
		"statement ana SELECT allow completed ",
		"statement ana SELECT allow failed 22012",
	}
	for i, w := range want {
		if i >= len(got) || strings.Join(strings.Fields(got[i]), " ") != strings.Join(strings.Fields(w), " ") {
			t.Fatalf("evidence:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestEvidenceFailsClosed: without evidence nothing runs.
func TestEvidenceFailsClosed(t *testing.T) {
	b := newBench(t, testPolicy())
	conn := b.connect("ben", simple)
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Exec(t.Context(), "CREATE TABLE unrecorded (a int)")
	wantError(t, err, "58030", "evidence")
	var exists bool
	direct := must(pgx.Connect(t.Context(), shared.cluster.URL("postgres", "postgres")))(t)
	defer direct.Close(context.Background())
	if err := direct.QueryRow(t.Context(), "SELECT to_regclass('unrecorded') IS NOT NULL").Scan(&exists); err != nil || exists {
		t.Errorf("it ran: %v, %v", exists, err)
	}
	_, err = conn.Exec(t.Context(), "SELECT 1")
	if err == nil {
		t.Error("a statement's result was released without evidence")
	}
}
