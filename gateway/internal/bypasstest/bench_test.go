package bypasstest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/accept"
	"github.com/posternhq/postern/gateway/approve"
	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/testacc/bypass"
)

var (
	long    = flag.Bool("long", false, "run every case instead of a sample")
	version = flag.Int("pg", 0, "run on this major of PostgreSQL alone: 15 or 18")
)

// versions are the majors of PostgreSQL that the tests run on.
func versions() []int {
	if *version != 0 {
		return []int{*version}
	}
	return []int{15, 18}
}

// onEach runs a test on every major, on a server on which every attack of the
// corpus can work. The servers live as long as the test program.
func onEach(t *testing.T, test func(t *testing.T, c *pgtest.Cluster)) {
	t.Helper()
	for _, v := range versions() {
		t.Run("PostgreSQL "+strconv.Itoa(v), func(t *testing.T) { test(t, clusterOf(t, v)) })
	}
}

// clusters are the running servers, by major.
var clusters = map[int]*pgtest.Cluster{}

func clusterOf(t *testing.T, version int) *pgtest.Cluster {
	t.Helper()
	if c := clusters[version]; c != nil {
		return c
	}
	c := must(pgtest.Start(pgtest.Options{Version: version, Settings: map[string]string{
		"wal_level": "logical", "max_replication_slots": "5", "max_prepared_transactions": "5", "shared_buffers": "128MB",
		"full_page_writes": "off", "max_wal_size": "4GB", "autovacuum": "off", // plans must not change under a comparison
	}}))(t)
	clusters[version] = c
	if err := c.Exec(t.Context(), "postgres", "CREATE ROLE postern LOGIN; CREATE ROLE maker LOGIN"); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	flag.Parse()
	defer func() {
		for _, c := range clusters {
			c.Stop()
		}
	}()
	return m.Run()
}

// newRunner returns a runner whose target is the server itself.
func newRunner(cluster *pgtest.Cluster) *bypass.Runner {
	server := bypass.Endpoint{Address: net.JoinHostPort(cluster.Host, strconv.Itoa(cluster.Port))}
	return &bypass.Runner{
		Server: server, Target: server, Directory: filepath.Dir(cluster.LogFile()),
		Use:      func(context.Context, bypass.Policy) error { return nil },
		Patience: time.Minute, // the machine may be busy
	}
}

// bench is a gateway before the cluster.
type bench struct {
	cluster  *pgtest.Cluster
	issuer   *demoissuer.Issuer
	live     *livepolicy.Live
	key      *bundle.PrivateKey
	revision uint64
	target   bypass.Endpoint
}

func newBench(t *testing.T, cluster *pgtest.Cluster) *bench {
	t.Helper()
	b := &bench{cluster: cluster}
	log := slog.New(slog.NewTextHandler(logFile(t), nil))
	b.issuer = must(demoissuer.Start(demoissuer.Config{}))(t)
	t.Cleanup(func() { _ = b.issuer.Close() })
	b.key = must(bundle.GenerateKey("bypass"))(t)
	_, signer, err := evidence.GenerateKey("bypass")
	if err != nil {
		t.Fatal(err)
	}
	journal := must(evidence.Open(evidence.Config{Dir: t.TempDir(), Origin: "bypass", Key: signer, Logger: log}))(t)
	t.Cleanup(func() { _ = journal.Close() })
	b.live = must(livepolicy.Open(livepolicy.Config{Gateway: "bypass", Trusted: must(bundle.NewKeyRing(b.key.PublicKey()))(t), Logger: log}))(t)
	cert, roots := newCertificate(t)
	server := gateway.New(gateway.Config{
		Name: "bypass", Live: b.live, Journal: journal, Approvals: nobody{}, Logger: log,
		Authenticator: authenticate.New(authenticate.Config{AllowLoopbackHTTP: true, Logger: log, Issuers: func() []policylang.Issuer {
			if p := b.live.Current(); p != nil {
				return p.Program.Gateway().Issuers
			}
			return nil
		}}),
		MaskKeys: must(mask.NewKeys(make([]byte, 32)))(t),
		Accept:   accept.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{accept.ALPN}}},
	})
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ctx, l); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	b.target = bypass.Endpoint{
		Address: l.Addr().String(), TLS: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"},
		Password: func(role string) (string, error) {
			return b.issuer.Issue(map[string]any{"sub": role, "aud": "postern"}, time.Hour), nil
		},
	}
	return b
}

// logFile is where the gateways log: nowhere, unless POSTERN_BYPASS_LOG says.
func logFile(t *testing.T) *os.File {
	t.Helper()
	name := os.Getenv("POSTERN_BYPASS_LOG")
	if name == "" {
		name = os.DevNull
	}
	f := must(os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600))(t)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func newCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
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

// enforce releases a policy.
func (b *bench) enforce(p *policylang.Policy) error {
	sealed, err := bundle.Seal(p, b.key)
	if err != nil {
		return err
	}
	digest, err := p.Digest()
	if err != nil {
		return err
	}
	b.revision++
	release, err := bundle.SealRelease(bundle.Release{
		Gateway: "bypass", Bundle: digest, Revision: b.revision, Time: time.Now().UTC().Truncate(time.Second),
	}, b.key)
	if err != nil {
		return err
	}
	_, err = b.live.Apply(release, sealed)
	return err
}

// nobody approves: each request is refused at once.
type nobody struct{}

func (nobody) Create(context.Context, *approve.Request) (approve.Pending, error) {
	return approve.Pending{ID: "ap_1", Expires: time.Now().Add(time.Minute)}, nil
}

func (nobody) Wait(context.Context, string) (approve.Outcome, error) {
	return approve.Outcome{ID: "ap_1", Status: approve.Refused, RefusedBy: "dba", Reason: "no"}, nil
}

func (nobody) Withdraw(context.Context, string) error { return nil }

func (nobody) Use(context.Context, *approve.Request) (approve.Outcome, bool, error) {
	return approve.Outcome{}, false, nil
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
