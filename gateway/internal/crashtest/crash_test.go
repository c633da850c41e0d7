// Package crashtest takes a fleet's parts away while it works: a replica of
// the control plane is killed, and PostgreSQL fails over to its synchronous
// standby, under writes and releases. No write that was acknowledged is lost,
// and the gateway enforces some policy that was released, the newest it could
// hear of, at every moment. `make test` runs one round, `make crashtest` more.
package crashtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/control"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/internal/freeport"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

var (
	rounds = flag.Int("rounds", 1, "how often a replica is killed and PostgreSQL fails over")
	pause  = flag.Duration("pause", time.Second, "how long the fleet works between two events")
)

// The environment that makes this binary a replica.
const (
	envAddress = "POSTERN_CRASH_ADDRESS"
	envStore   = "POSTERN_CRASH_STORE"
	envFull    = "POSTERN_CRASH_DISK_FULL"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(envAddress); address != "" {
		if os.Getenv(envFull) != "" {
			fillDisk()
		}
		fmt.Fprintln(os.Stderr, serve(address, os.Getenv(envStore)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serve is a replica of the control plane, until it is killed.
func serve(address, store string) error {
	server, err := control.New(context.Background(), control.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	web := &http.Server{Addr: address, Handler: server.Handler(), ReadHeaderTimeout: time.Minute}
	return web.ListenAndServe()
}

// replica is a control plane in a process of its own.
type replica struct {
	address string
	store   string
	full    bool // its files do not grow
	cmd     *exec.Cmd
}

func startReplica(t *testing.T, address, store string) *replica {
	t.Helper()
	r := &replica{address: address, store: store}
	r.start(t)
	t.Cleanup(r.kill)
	return r
}

func (r *replica) start(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(self)
	r.cmd.Env = append(os.Environ(), envAddress+"="+r.address, envStore+"="+r.store)
	if r.full {
		r.cmd.Env = append(r.cmd.Env, envFull+"=1")
	}
	r.cmd.Stderr = os.Stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica answers", func() bool {
		resp, err := http.Get("http://" + r.address + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
}

// kill ends the replica as kill -9 does.
func (r *replica) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("it did not come to pass: %s", what)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// balancer passes connections on to the first of several addresses that
// accepts one.
type balancer struct {
	listener net.Listener
	to       []string
	wg       sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool
}

func balance(t *testing.T, to ...string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: l, to: to, open: map[net.Conn]bool{}}
	b.wg.Go(b.acceptLoop)
	t.Cleanup(func() {
		_ = l.Close()
		b.mu.Lock()
		for c := range b.open {
			_ = c.Close()
		}
		b.mu.Unlock()
		b.wg.Wait()
	})
	return b
}

func (b *balancer) acceptLoop() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.wg.Go(func() { b.pass(client) })
	}
}

func (b *balancer) pass(client net.Conn) {
	defer client.Close()
	for _, address := range b.to {
		server, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			continue
		}
		defer server.Close()
		b.mu.Lock()
		b.open[client], b.open[server] = true, true
		b.mu.Unlock()
		done := make(chan struct{}, 2)
		for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
			b.wg.Go(func() { _, _ = io.Copy(pair[0], pair[1]); done <- struct{}{} })
		}
		<-done
		b.mu.Lock()
		delete(b.open, client)
		delete(b.open, server)
		b.mu.Unlock()
		return
	}
}

// fleet is what works while parts of it are taken away.
type fleet struct {
	t      *testing.T
	client *controlclient.Client
	key    *bundle.PrivateKey
	url    string
	token  string

	mu       sync.Mutex
	objects  []string        // acknowledged
	releases map[uint64]bool // acknowledged revisions
}

func TestFleetSurvives(t *testing.T) {
	primary := pgtest.New(t)
	standby := pgtest.NewStandby(t, primary)
	store := storeURL(t, primary, standby)
	f := &fleet{t: t, releases: map[uint64]bool{}}
	var err error
	if f.token, err = mintToken(t.Context(), store, api.RoleAuthor, api.GatewayRole("orders")); err != nil {
		t.Fatal(err)
	}
	if f.key, err = bundle.GenerateKey("publisher"); err != nil {
		t.Fatal(err)
	}
	replicas := []*replica{startReplica(t, freeAddress(t), store), startReplica(t, freeAddress(t), store)}
	f.url = "http://" + balance(t, replicas[0].address, replicas[1].address).listener.Addr().String()
	f.client = f.newClient()
	live := f.gateway()

	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for w := range 3 {
		working.Go(func() { f.writeLoop(ctx, w) })
	}
	working.Go(func() { f.publishLoop(ctx) })
	working.Go(func() { f.enforceLoop(ctx, live) })
	defer working.Wait()
	defer stop()

	eventually(t, "a policy is in force", func() bool { return live.Current() != nil })
	for round := range *rounds {
		f.works("in peace")
		replicas[round%2].kill()
		f.works("with one replica")
		replicas[round%2].start(t)
		f.works("with both replicas")
		primary.Kill()
		if err := standby.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.works("on the standby")
		if round < *rounds-1 {
			// The killed one's place is taken by a new standby, on its port.
			primary, standby = standby, pgtest.NewStandby(t, standby, primary.Port)
			f.works("with a new standby")
		}
	}
	last := f.lastRelease()
	eventually(t, "the gateway enforces the newest release", func() bool {
		p := live.Current()
		return p != nil && p.Release.Revision >= last
	})
	stop()
	working.Wait()
	f.checkNothingIsLost()
}

// mintToken makes a token in the store itself, as on the control plane's host.
func mintToken(ctx context.Context, store string, roles ...api.Role) (string, error) {
	server, err := control.New(ctx, control.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", err
	}
	token, err := server.MintToken(ctx, "fleet", roles, time.Hour)
	return token, errors.Join(err, server.Close())
}

// storeURL names both servers: the driver takes the one that can be written to.
func storeURL(t *testing.T, a, b *pgtest.Cluster) string {
	t.Helper()
	return fmt.Sprintf("postgres://postgres@%s:%d,%s:%d/postgres?sslmode=disable&target_session_attrs=read-write&connect_timeout=2", a.Host, a.Port, b.Host, b.Port)
}

func (f *fleet) newClient() *controlclient.Client {
	f.t.Helper()
	c, err := controlclient.New(controlclient.Config{URL: f.url, Token: controlclient.StaticToken(f.token)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(c.Close)
	return c
}

// gateway follows the control plane as a gateway does, its disk included.
func (f *fleet) gateway() *livepolicy.Live {
	f.t.Helper()
	ring, err := bundle.NewKeyRing(f.key.PublicKey())
	if err != nil {
		f.t.Fatal(err)
	}
	live, err := livepolicy.Open(livepolicy.Config{
		Gateway: "orders", Trusted: ring, Dir: f.t.TempDir(), Source: f.newClient().Source("orders"), Logger: slog.New(slog.DiscardHandler), Pause: 50 * time.Millisecond,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { live.Run(ctx) })
	f.t.Cleanup(func() { stop(); running.Wait() })
	return live
}

// writeLoop makes one draft after the other, and notes those acknowledged.
func (f *fleet) writeLoop(ctx context.Context, writer int) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("w%d-%d", writer, i)
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, f.url+"/v1/objects/identity/"+name, strings.NewReader(`{"definition":{"kind":"human","when":"true"}}`))
		if err != nil {
			f.t.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+f.token)
		req.Header.Set("If-None-Match", "*")
		resp, err := client.Do(req)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		_ = resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusCreated:
			f.mu.Lock()
			f.objects = append(f.objects, name)
			f.mu.Unlock()
		case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			time.Sleep(20 * time.Millisecond)
		default:
			f.t.Errorf("a write is answered with %s", resp.Status)
		}
	}
}

// publishLoop releases one policy after the other, and notes those acknowledged.
func (f *fleet) publishLoop(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		if err := f.publish(ctx, n); err != nil && ctx.Err() == nil {
			switch status, _ := controlclient.Status(err); status {
			case 0, http.StatusServiceUnavailable, http.StatusPreconditionFailed, http.StatusTooManyRequests:
			default:
				f.t.Errorf("publish: %v", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func (f *fleet) publish(ctx context.Context, n int) error {
	p := policyOf(n)
	digest, err := p.Digest()
	if err != nil {
		return err
	}
	sealed, err := bundle.Seal(p, f.key)
	if err != nil {
		return err
	}
	live, err := f.client.Live(ctx, "orders", 0, 0)
	if err != nil {
		return err
	}
	if live == nil {
		live = &api.Release{}
	}
	if err := f.client.PutBundle(ctx, digest, sealed); err != nil {
		return err
	}
	signed, err := bundle.SealRelease(bundle.Release{Gateway: "orders", Bundle: digest, Predecessor: live.Bundle, Revision: live.Revision + 1, Time: time.Now()}, f.key)
	if err != nil {
		return err
	}
	now, err := f.client.Publish(ctx, "orders", signed, live.Bundle)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.releases[now.Revision] = true
	return nil
}

// policyOf is a policy whose one rule is named for its number.
func policyOf(n int) *policylang.Policy {
	return &policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name: "orders", Upstream: policylang.Upstream{Host: "db", Credentials: "env:DB"},
			Issuers: []policylang.Issuer{{Name: "corp", URL: "https://login.example.com", Audience: "postern"}},
		}},
		Identities: []policylang.Identity{{Name: "ana", Kind: "human", When: "true"}},
		QueryRules: []policylang.QueryRule{{Name: fmt.Sprintf("rule-%d", n), When: "statement.read_only", Effect: policylang.EffectAllow}},
	}
}

// enforceLoop looks at what is in force, as each statement does: once there is
// a policy there always is one, and it never goes back.
func (f *fleet) enforceLoop(ctx context.Context, live *livepolicy.Live) {
	var newest uint64
	for ctx.Err() == nil {
		p := live.Current()
		switch {
		case p == nil && newest > 0:
			f.t.Error("the gateway has stopped enforcing")
			return
		case p == nil:
		case p.Release.Revision < newest:
			f.t.Errorf("the gateway has gone back from revision %d to %d", newest, p.Release.Revision)
			return
		default:
			newest = p.Release.Revision
		}
		time.Sleep(time.Millisecond)
	}
}

// works waits until each kind of work has gone on, in the state that is named.
func (f *fleet) works(state string) {
	f.t.Helper()
	time.Sleep(*pause)
	f.mu.Lock()
	objects, releases := len(f.objects), len(f.releases)
	f.mu.Unlock()
	eventually(f.t, "writes and releases "+state, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.objects) > objects && len(f.releases) > releases
	})
}

func (f *fleet) lastRelease() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var last uint64
	for revision := range f.releases {
		last = max(last, revision)
	}
	return last
}

func (f *fleet) checkNothingIsLost() {
	f.t.Helper()
	have := map[string]bool{}
	objects, err := f.client.Objects(context.Background(), string(policylang.KindIdentity))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, o := range objects {
		have[o.Name] = true
	}
	history, err := f.client.Releases(context.Background(), "orders", 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	known := map[uint64]bool{}
	for _, r := range history {
		known[r.Revision] = true
	}
	oldest := uint64(0)
	if len(history) > 0 {
		oldest = history[len(history)-1].Revision
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.objects {
		if !have[name] {
			f.t.Errorf("draft %s was acknowledged and is lost", name)
		}
	}
	for revision := range f.releases {
		if revision >= oldest && !known[revision] {
			f.t.Errorf("revision %d was acknowledged and is lost", revision)
		}
	}
	if len(f.objects) == 0 || len(f.releases) == 0 {
		f.t.Error("nothing was written")
	}
	f.t.Logf("%d drafts and %d releases were acknowledged, and all are there", len(f.objects), len(f.releases))
}
