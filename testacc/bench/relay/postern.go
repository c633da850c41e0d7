package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/accept"
	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// postern sets up a gateway in a process of its own, as postern gateway would
// run it, but for the control plane.
func (p *proxy) postern(dir string, upstream int, profile string) error {
	p.cmd = exec.Command("/proc/self/exe", "postern", "-listen", address(p.port), "-upstream", fmt.Sprint(upstream), "-dir", dir, "-pprof", profile)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	issuer, err := startIssuer(key)
	if err != nil {
		return err
	}
	p.cmd.Args = append(p.cmd.Args, "-issuer", issuer.url)
	p.passwords = map[string]string{}
	for _, name := range []string{role, maskedRole} {
		if p.passwords[name], err = issuer.token(name); err != nil {
			return err
		}
	}
	return nil
}

// issuer is an OpenID Connect issuer with one key.
type issuer struct {
	url string
	key *ecdsa.PrivateKey
}

const (
	gatewayName = "bench"
	audience    = "postern"
)

func startIssuer(key *ecdsa.PrivateKey) (*issuer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &issuer{url: "http://" + l.Addr().String(), key: key}
	mux := http.NewServeMux()
	serve := func(path string, body any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(body) // a client that left is no matter
		})
	}
	serve("/.well-known/openid-configuration", map[string]any{
		"issuer": i.url, "jwks_uri": i.url + "/jwks", "id_token_signing_alg_values_supported": []string{"ES256"},
	})
	serve("/jwks", jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	go func() { _ = http.Serve(l, mux) }() // until the process ends
	return i, nil
}

// token returns a token that outlives the benchmark.
func (i *issuer) token(subject string) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "1"}}, nil)
	if err != nil {
		return "", err
	}
	now := time.Now()
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: i.url, Subject: subject, Audience: jwt.Audience{audience}, IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(12 * time.Hour)),
	}).Serialize()
}

// benchPolicy has a hundred rules, of which the last allows everything that
// the workloads do, and masks two columns of one table for everybody but role.
func benchPolicy(upstream int, issuer string) *policylang.Policy {
	unless := fmt.Sprintf("identity.name == %q", role)
	p := &policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name: gatewayName, Upstream: policylang.Upstream{Host: "127.0.0.1", Port: upstream, TLS: "disable"},
			Issuers: []policylang.Issuer{{Name: "bench", URL: issuer, Audience: audience}},
		}},
		Identities: []policylang.Identity{
			{Name: role, Kind: "service", When: fmt.Sprintf("token.sub == %q", role), Groups: []string{"load"}},
			{Name: maskedRole, Kind: "service", When: fmt.Sprintf("token.sub == %q", maskedRole), Groups: []string{"load"}},
		},
		MaskingPolicies: []policylang.MaskingPolicy{
			{Name: "addresses", Unless: unless, Columns: []string{"public.masked.email"}, Transform: policylang.TransformPartial, Format: "email", KeepFirst: 1},
			{Name: "cards", Unless: unless, Columns: []string{"public.masked.card"}, Transform: policylang.TransformPartial, Format: "card", KeepLast: 4},
		},
	}
	for i := range 99 {
		r := policylang.QueryRule{Name: fmt.Sprintf("rule_%02d", i)}
		switch i % 3 {
		case 0:
			r.Effect, r.When = policylang.EffectAllow, fmt.Sprintf(`"team_%d" in identity.groups && statement.relations.exists(r, r.name.matches("^app_%d_"))`, i, i)
		case 1:
			r.Effect, r.When = policylang.EffectDeny, fmt.Sprintf(`statement.command == "DROP TABLE" && session.database == "db_%d"`, i)
		case 2:
			r.Effect, r.MaxRows, r.When = policylang.EffectLimit, int64(1000+i), fmt.Sprintf(`identity.name == "user_%d" && statement.class == "read"`, i)
		}
		p.QueryRules = append(p.QueryRules, r)
	}
	p.QueryRules = append(p.QueryRules, policylang.QueryRule{
		Name: "workloads", Effect: policylang.EffectAllow, When: `"load" in identity.groups && statement.class in ["read", "write", "misc"]`,
	})
	return p
}

// runPostern is the gateway's process, until SIGTERM.
func runPostern(args []string) error {
	flags := flag.NewFlagSet("postern", flag.ExitOnError)
	listen := flags.String("listen", "", "")
	upstream := flags.Int("upstream", 0, "")
	dir := flags.String("dir", "", "")
	issuer := flags.String("issuer", "", "")
	profile := flags.String("pprof", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server, journal, err := newGateway(*dir, *upstream, *issuer)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return errors.Join(server.Serve(ctx, l), journal.Close())
}

func newGateway(dir string, upstream int, issuer string) (*gateway.Server, *evidence.Journal, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	_, signer, err := evidence.GenerateKey(gatewayName)
	if err != nil {
		return nil, nil, err
	}
	journal, err := evidence.Open(evidence.Config{Dir: filepath.Join(dir, "evidence"), Origin: gatewayName, Key: signer, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	live, err := release(benchPolicy(upstream, issuer), log)
	if err != nil {
		return nil, nil, err
	}
	keys, err := mask.NewKeys(make([]byte, 32))
	if err != nil {
		return nil, nil, err
	}
	cert, err := certificate()
	if err != nil {
		return nil, nil, err
	}
	return gateway.New(gateway.Config{
		Name: gatewayName, Live: live, Journal: journal, MaskKeys: keys, Logger: log,
		Authenticator: authenticate.New(authenticate.Config{AllowLoopbackHTTP: true, Logger: log, Issuers: func() []policylang.Issuer {
			return live.Current().Program.Gateway().Issuers
		}}),
		Limits: gateway.Limits{Connections: 20_000, IdentityConnections: 20_000, Spares: 2}, // as the flags have it
		Accept: accept.Config{AllowPlaintext: true, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{accept.ALPN}}},
	}), journal, nil
}

// release puts a policy in force.
func release(p *policylang.Policy, log *slog.Logger) (*livepolicy.Live, error) {
	key, err := bundle.GenerateKey(gatewayName)
	if err != nil {
		return nil, err
	}
	ring, err := bundle.NewKeyRing(key.PublicKey())
	if err != nil {
		return nil, err
	}
	live, err := livepolicy.Open(livepolicy.Config{Gateway: gatewayName, Trusted: ring, Logger: log})
	if err != nil {
		return nil, err
	}
	sealed, err := bundle.Seal(p, key)
	if err != nil {
		return nil, err
	}
	digest, err := p.Digest()
	if err != nil {
		return nil, err
	}
	r, err := bundle.SealRelease(bundle.Release{Gateway: gatewayName, Bundle: digest, Revision: 1, Time: time.Now().UTC().Truncate(time.Second)}, key)
	if err != nil {
		return nil, err
	}
	_, err = live.Apply(r, sealed)
	return live, err
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
