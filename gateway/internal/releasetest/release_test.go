// Package releasetest measures how fast policy reaches a fleet, and what a
// swap costs the statements that run meanwhile. `make test` runs a short form
// that checks the results; `make bench-release` the long one, which also wants
// the numbers that are promised and writes them into docs/benchmarks.md.
package releasetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway/control"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/internal/gatewaytest"
	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/policylang/compile"
)

var (
	long   = flag.Bool("long", false, "measure 1,000 gateways and 10,000 rules, and want the numbers that are promised")
	update = flag.Bool("update", false, "write the numbers into docs/benchmarks.md")
)

// What is promised.
const (
	maxReach = time.Second
	maxDelay = 10 * time.Millisecond
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := leaktest.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// policyOf is a policy for one gateway with many rules.
func policyOf(gateway policylang.Gateway, rules int) *policylang.Policy {
	return policyAbout("person", gateway, rules)
}

// policyAbout is a policy of which each rule mentions who.
func policyAbout(who string, gateway policylang.Gateway, rules int) *policylang.Policy {
	p := &policylang.Policy{
		Gateways:   []policylang.Gateway{gateway},
		Identities: []policylang.Identity{{Name: "ana", Kind: "human", When: `token.sub == "ana"`}},
		QueryRules: []policylang.QueryRule{{Name: "read", When: "statement.read_only", Effect: policylang.EffectAllow}},
	}
	for i := range rules - 1 {
		p.QueryRules = append(p.QueryRules, policylang.QueryRule{
			Name: fmt.Sprintf("rule-%05d", i), Effect: policylang.EffectDeny,
			When: fmt.Sprintf(`identity.name == "%s-%d" && statement.class == "write"`, who, i),
		})
	}
	return p
}

// fleet is a control plane on loopback, over TLS, and gateways that follow it.
type fleet struct {
	url     string
	roots   *x509.CertPool
	server  *control.Server
	key     *bundle.PrivateKey
	ring    bundle.KeyRing
	live    string // digest
	program struct {
		sync.Mutex
		byDigest map[string][]byte // bundles that one gateway has verified and compiled for all
	}
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{}
	f.program.byDigest = map[string][]byte{}
	var err error
	if f.key, err = bundle.GenerateKey("publisher"); err != nil {
		t.Fatal(err)
	}
	if f.ring, err = bundle.NewKeyRing(f.key.PublicKey()); err != nil {
		t.Fatal(err)
	}
	f.server, err = control.New(t.Context(), control.Config{Store: filepath.Join(t.TempDir(), "control.db"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	cert, roots := certificate(t)
	f.roots = roots
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.url = "https://" + l.Addr().String()
	web := &http.Server{Handler: f.server.Handler(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.ServeTLS(l, "", "") })
	t.Cleanup(func() {
		f.server.Drain()
		_ = web.Close()
		serving.Wait()
		if err := f.server.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

func (f *fleet) client(t *testing.T, name string, role api.Role) *controlclient.Client {
	t.Helper()
	token, err := f.server.MintToken(t.Context(), name, []api.Role{role}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c, err := controlclient.New(controlclient.Config{URL: f.url, RootCAs: f.roots, Token: controlclient.StaticToken(token)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// publish makes a policy live and returns when the control plane has said so.
func (f *fleet) publish(t *testing.T, c *controlclient.Client, p *policylang.Policy, revision uint64) {
	t.Helper()
	digest, err := p.Digest()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := bundle.Seal(p, f.key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := bundle.SealRelease(bundle.Release{Gateway: "orders", Bundle: digest, Predecessor: f.live, Revision: revision, Time: time.Now()}, f.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.PutBundle(t.Context(), digest, sealed); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Publish(t.Context(), "orders", signed, f.live); err != nil {
		t.Fatal(err)
	}
	f.live = digest
}

// follow is a gateway: it waits for a release, verifies it, fetches its bundle
// and acknowledges it. One of the fleet verifies and compiles the bundle; the
// others see that theirs are the same bytes.
func (f *fleet) follow(ctx context.Context, c *controlclient.Client, instance string, acknowledged func(uint64)) error {
	source := c.Source("orders")
	var have bundle.Release
	for {
		signed, sealed, err := source.Next(ctx, have)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the fleet stops
		}
		if err != nil {
			return err
		}
		release, err := bundle.OpenRelease(signed, f.ring, "orders")
		if err != nil {
			return err
		}
		if err := f.load(sealed, release); err != nil {
			return err
		}
		have = release
		now := time.Now()
		beat := api.Heartbeat{Version: "test", Bundle: release.Bundle, Revision: release.Revision, StartedAt: now, Since: &now}
		if err := c.Report(ctx, "orders", instance, beat); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the fleet stops
			}
			return err
		}
		acknowledged(release.Revision)
	}
}

func (f *fleet) load(sealed []byte, r bundle.Release) error {
	f.program.Lock()
	defer f.program.Unlock()
	if known := f.program.byDigest[r.Bundle]; known != nil && slices.Equal(known, sealed) {
		return nil
	}
	p, _, err := bundle.OpenReleased(sealed, r, f.ring)
	if err != nil {
		return err
	}
	if program, problems := compile.Compile(p, "orders"); program == nil {
		return problems[0]
	}
	f.program.byDigest[r.Bundle] = sealed
	return nil
}

// TestReach measures from activation to acknowledgement by all gateways.
func TestReach(t *testing.T) {
	gateways, rounds := 50, 2
	if *long {
		gateways, rounds = 1000, 6
	}
	f := newFleet(t)
	author := f.client(t, "author", api.RoleAuthor)
	ctx, stop := context.WithCancel(t.Context())
	acks := make(chan uint64, gateways*rounds)
	var running sync.WaitGroup
	for i := range gateways {
		instance := fmt.Sprintf("i%04d", i)
		c := f.client(t, "orders/"+instance, api.GatewayRole("orders"))
		running.Go(func() {
			if err := f.follow(ctx, c, instance, func(revision uint64) { acks <- revision }); err != nil {
				t.Errorf("%s: %v", instance, err)
			}
		})
	}
	defer running.Wait()
	defer stop()
	var took, used []time.Duration
	for revision := uint64(1); revision <= uint64(rounds); revision++ {
		time.Sleep(2 * time.Second) // so that all wait again
		began, usedBefore := time.Now(), processorTime(t)
		f.publish(t, author, policyOf(policylang.Gateway{
			Name: "orders", Upstream: policylang.Upstream{Host: "db", Credentials: "env:DB"},
			Issuers: []policylang.Issuer{{Name: "corp", URL: "https://login.example.com", Audience: "postern"}},
		}, 20+int(revision)), revision)
		deadline := time.After(2 * time.Minute)
		for n := 0; n < gateways; {
			select {
			case have := <-acks:
				if have == revision {
					n++
				}
			case <-deadline:
				t.Fatalf("revision %d: %d of %d gateways have acknowledged", revision, n, gateways)
			}
		}
		if revision > 1 { // before the first they had not connected
			took, used = append(took, time.Since(began)), append(used, processorTime(t)-usedBefore)
		}
	}
	instances, err := author.Instances(t.Context(), "orders")
	if err != nil || len(instances) != gateways {
		t.Fatalf("%d instances are known, %v", len(instances), err)
	}
	for _, i := range instances {
		if i.Revision != uint64(rounds) || i.Bundle != f.live {
			t.Errorf("%s acknowledged revision %d of %s", i.Instance, i.Revision, i.Bundle)
		}
	}
	slices.Sort(took)
	slices.Sort(used)
	least, median := took[0], took[len(took)/2]
	alone := used[0] / time.Duration(runtime.NumCPU())
	t.Logf("%d gateways have acknowledged after %s at least, %s in the median of %d; %s of all processors' time at least", gateways, least, median, len(took), alone)
	if *long {
		if min(least, alone) > maxReach {
			t.Errorf("it took %s at least, and %s of all processors' time, want under %s", least, alone, maxReach)
		}
		writeNumbers(t, "reach", fmt.Sprintf("From activation to acknowledgement by %d gateways, on loopback over TLS, SQLite, all in one process: **%s** on the clock at least and %s in the median of %d releases; %s of all processors' time.",
			gateways, round(least), round(median), len(took), round(alone)))
	}
}

// processorTime is what this process has used of processors.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestSwap measures what a bundle of many rules that is loaded does to the
// statements that run meanwhile, through a real gateway to real PostgreSQL.
func TestSwap(t *testing.T) {
	rules := 500
	if *long {
		rules = 10_000
	}
	cluster := pgtest.New(t)
	cluster.MustExec(t, "postgres", "CREATE ROLE ana LOGIN; CREATE ROLE postern LOGIN SUPERUSER")
	g := gatewaytest.New(t)
	at := g.Gateway(cluster.Host, cluster.Port)
	g.Enforce(t, policyOf(at, 2))
	const sessions = 4
	conns := make([]*pgx.Conn, sessions)
	for i := range conns {
		var err error
		if conns[i], err = pgx.Connect(t.Context(), g.URL("postgres", "ana")); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conns[i].Close(context.Background()) }()
	}
	rounds := 1
	if *long {
		rounds = 5
	}
	first := swap{name: "the first"}
	few, every := swap{name: "one that adds a rule"}, swap{name: "one that changes every rule"}
	observe(t, conns, func() { time.Sleep(time.Second) }) // the catalog is read, statements are known
	first.measure(t, g, conns, policyOf(at, rules))
	for n := range rounds {
		few.measure(t, g, conns, policyOf(at, rules+n+1))
	}
	for n := range rounds {
		every.measure(t, g, conns, policyAbout(fmt.Sprintf("round-%d", n), at, rules))
	}
	if !*long {
		return
	}
	writeNumbers(t, "swap", fmt.Sprintf("While a bundle of %d rules is verified, compiled and swapped in, under statements of %d sessions:\n\n"+
		"| swap | took | statements | median | 99.9 %% at most | slowest | slowest without a swap |\n|---|---:|---:|---:|---:|---:|---:|\n%s%s%s\n"+
		"The first swap of the process, and of the others the best of %d each.",
		rules, sessions, first, few, every, rounds))
	for _, s := range []swap{first, few, every} {
		if delay := s.best.most - s.quiet.most; delay > maxDelay {
			t.Errorf("%s: a statement was delayed by %s, want at most %s", s.name, delay, maxDelay)
		}
	}
}

// swap is what swaps of a kind did to statements, and what as long without one
// did: each in the round whose slowest statement was fastest, since what else
// the machine does only ever adds.
type swap struct {
	name        string
	took        time.Duration
	best, quiet latencies
}

func (s swap) String() string {
	return fmt.Sprintf("| %s | %s | %d | %s | %s | **%s** | %s |\n",
		s.name, round(s.took), s.best.n, round(s.best.median), round(s.best.high), round(s.best.most), round(s.quiet.most))
}

func (s *swap) measure(t *testing.T, g *gatewaytest.Gateway, conns []*pgx.Conn, p *policylang.Policy) {
	t.Helper()
	apply, err := g.Sealed(p)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC() // of what sealing took, which a gateway does not do
	began := time.Now()
	var took time.Duration
	during := observe(t, conns, func() {
		if err := apply(); err != nil {
			t.Error(err)
		}
		took = time.Since(began)
		time.Sleep(100 * time.Millisecond) // for what follows it
	})
	idle := observe(t, conns, func() { time.Sleep(took) })
	t.Logf("%s, %s: %s; as long without a swap: %s", s.name, took, during, idle)
	if s.best.n == 0 || during.most < s.best.most {
		s.took, s.best = took, during
	}
	if s.quiet.n == 0 || idle.most < s.quiet.most {
		s.quiet = idle
	}
}

// latencies are how long statements took.
type latencies struct {
	n                  int
	median, high, most time.Duration
}

func (l latencies) String() string {
	return fmt.Sprintf("%d statements, median %s, 99.9 %% %s, slowest %s", l.n, l.median, l.high, l.most)
}

// observe runs statements in all sessions for as long as f takes.
func observe(t *testing.T, conns []*pgx.Conn, f func()) latencies {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	took := make([][]time.Duration, len(conns))
	var running sync.WaitGroup
	for i, c := range conns {
		running.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				if _, err := c.Exec(context.Background(), "SELECT 1"); err != nil {
					t.Errorf("a statement failed: %v", err)
					return
				}
				took[i] = append(took[i], time.Since(began))
				time.Sleep(time.Millisecond) // as a client has something to do
			}
		})
	}
	f()
	stop()
	running.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	return latencies{len(all), all[len(all)/2], all[len(all)*999/1000], all[len(all)-1]}
}

func round(d time.Duration) time.Duration {
	if d > 100*time.Millisecond {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

// writeNumbers replaces a line of docs/benchmarks.md between its markers.
func writeNumbers(t *testing.T, name, text string) {
	t.Helper()
	if !*update {
		return
	}
	const file = "../../../docs/benchmarks.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("docs/benchmarks.md has no markers %q", name)
	}
	text += fmt.Sprintf(" Measured on %d processors with other work to do.", runtime.NumCPU())
	if err := os.WriteFile(file, []byte(before+begin+text+"\n"+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
