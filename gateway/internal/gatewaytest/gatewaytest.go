// Package gatewaytest runs a gateway inside a test: on loopback, over TLS, with
// an issuer of its own, a journal in a temporary directory and a policy that the
// test changes as it likes.
//
//	g := gatewaytest.New(t)
//	g.Enforce(t, &policylang.Policy{Gateways: []policylang.Gateway{g.Gateway(cluster.Host, cluster.Port)}, …})
//	conn, err := pgx.Connect(ctx, g.URL("app", "ana"))
//
// A token's sub is the name that it is issued for.
package gatewaytest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/accept"
	"github.com/posternhq/postern/gateway/approve"
	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// name is the gateway's in its policy, and the audience of its tokens.
const (
	name     = "test"
	audience = "postern"
)

// Gateway is a running gateway.
type Gateway struct {
	Address  string // host:port
	CAFile   string // PEM: the certificate that clients trust
	Evidence string // the journal's directory
	Server   *gateway.Server

	issuer   *demoissuer.Issuer
	live     *livepolicy.Live
	key      *bundle.PrivateKey
	revision uint64
}

// New starts a gateway without a policy, which stops when the test ends.
func New(tb testing.TB, logs ...io.Writer) *Gateway {
	tb.Helper()
	return NewLimited(tb, gateway.Limits{}, logs...)
}

// NewLimited is New for a gateway with limits of its own.
func NewLimited(tb testing.TB, limits gateway.Limits, logs ...io.Writer) *Gateway {
	tb.Helper()
	log := slog.New(slog.NewTextHandler(io.MultiWriter(logs...), nil))
	g := &Gateway{Evidence: tb.TempDir()}
	g.issuer = must(demoissuer.Start(demoissuer.Config{}))(tb)
	tb.Cleanup(func() { _ = g.issuer.Close() })
	g.key = must(bundle.GenerateKey(name))(tb)
	_, signer, err := evidence.GenerateKey(name)
	if err != nil {
		tb.Fatal(err)
	}
	journal := must(evidence.Open(evidence.Config{Dir: g.Evidence, Origin: name, Key: signer, Logger: log}))(tb)
	tb.Cleanup(func() { _ = journal.Close() })
	g.live = must(livepolicy.Open(livepolicy.Config{Gateway: name, Trusted: must(bundle.NewKeyRing(g.key.PublicKey()))(tb), Logger: log}))(tb)
	cert := g.certificate(tb)
	g.Server = gateway.New(gateway.Config{
		Name: name, Live: g.live, Journal: journal, Approvals: nobody{}, Logger: log, Limits: limits,
		Authenticator: authenticate.New(authenticate.Config{AllowLoopbackHTTP: true, Logger: log, Issuers: func() []policylang.Issuer {
			if p := g.live.Current(); p != nil {
				return p.Program.Gateway().Issuers
			}
			return nil
		}}),
		MaskKeys: must(mask.NewKeys(make([]byte, 32)))(tb),
		Accept:   accept.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{accept.ALPN}}},
	})
	g.serve(tb)
	return g
}

func (g *Gateway) serve(tb testing.TB) {
	tb.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(tb)
	g.Address = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := g.Server.Serve(ctx, l); err != nil {
			tb.Errorf("serve: %v", err)
		}
	}()
	tb.Cleanup(func() { stop(); <-done })
}

func (g *Gateway) certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(tb)
	template := &x509.Certificate{
		Subject:      pkix.Name{CommonName: name},
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames: []string{"localhost"},
		IsCA:     true, BasicConstraintsValid: true,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(tb)
	g.CAFile = filepath.Join(tb.TempDir(), "ca.pem")
	if err := os.WriteFile(g.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Gateway is the object that a policy needs of this gateway, before an upstream
// without TLS.
func (g *Gateway) Gateway(host string, port int) policylang.Gateway {
	return policylang.Gateway{
		Name:     name,
		Upstream: policylang.Upstream{Host: host, Port: port, TLS: "disable"},
		Issuers:  []policylang.Issuer{{Name: "demo", URL: g.issuer.URL(), Audience: audience}},
	}
}

// Person is an identity whose tokens are those issued for the name.
func Person(name string, groups ...string) policylang.Identity {
	return policylang.Identity{Name: name, Kind: "human", When: fmt.Sprintf("token.sub == %q", name), Groups: groups}
}

// Token issues a token.
func (g *Gateway) Token(subject string) string {
	return g.issuer.Issue(map[string]any{"sub": subject, "aud": audience}, time.Hour)
}

// URL is how somebody connects to a database as the role of their name.
func (g *Gateway) URL(database, subject string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(subject, g.Token(subject)), Host: g.Address, Path: database}
	u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {g.CAFile}}.Encode()
	return u.String()
}

// Live is the gateway's live policy, for tests that feed it by themselves.
func (g *Gateway) Live() *livepolicy.Live { return g.live }

// Key is what the gateway trusts.
func (g *Gateway) Key() *bundle.PrivateKey { return g.key }

// Enforce releases a policy, which is in force when it returns.
func (g *Gateway) Enforce(tb testing.TB, p *policylang.Policy) {
	tb.Helper()
	if err := g.Release(p); err != nil {
		tb.Fatalf("release a policy: %v", err)
	}
}

// Release is Enforce with an error.
func (g *Gateway) Release(p *policylang.Policy) error {
	apply, err := g.Sealed(p)
	if err != nil {
		return err
	}
	return apply()
}

// Sealed signs a policy and the release of it, which apply has the gateway load.
func (g *Gateway) Sealed(p *policylang.Policy) (apply func() error, err error) {
	sealed, err := bundle.Seal(p, g.key)
	if err != nil {
		return nil, err
	}
	digest, err := p.Digest()
	if err != nil {
		return nil, err
	}
	g.revision++
	release, err := bundle.SealRelease(bundle.Release{
		Gateway: name, Bundle: digest, Revision: g.revision, Time: time.Now().UTC().Truncate(time.Second),
	}, g.key)
	if err != nil {
		return nil, err
	}
	return func() error {
		_, err := g.live.Apply(release, sealed)
		return err
	}, nil
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

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}
