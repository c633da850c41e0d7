package crashtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/internal/gatewaytest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// gatewayName is that of gatewaytest's gateways.
const gatewayName = "test"

// site is a real gateway before real PostgreSQL that follows a control plane in
// a process of its own, under traffic.
type site struct {
	*testing.T
	gateway *gatewaytest.Gateway
	host    string
	port    int
	replica *replica
	client  *controlclient.Client

	adopted    atomic.Pointer[livepolicy.Policy] // by every live session
	statements atomic.Int64
	denials    atomic.Int64
	held       atomic.Int64 // decisions, against the one policy that was in force
}

// policy is one of two that alternate. Each is of two halves, an identity's
// group and a rule that wants it, which belong together: were one half in force
// with the other policy's other half, everything would be denied. An odd one
// allows writes besides.
func (s *site) policy(n int) *policylang.Policy {
	group := fmt.Sprintf("g%d", n)
	p := &policylang.Policy{
		Gateways:   []policylang.Gateway{s.gateway.Gateway(s.host, s.port)},
		Identities: []policylang.Identity{gatewaytest.Person("ana", group)},
		QueryRules: []policylang.QueryRule{{Name: "read", When: fmt.Sprintf("%q in identity.groups && statement.read_only", group), Effect: policylang.EffectAllow}},
	}
	if n%2 == 1 {
		p.QueryRules = append(p.QueryRules, policylang.QueryRule{Name: "write", When: fmt.Sprintf("%q in identity.groups", group), Effect: policylang.EffectAllow})
	}
	return p
}

// TestOldOrNew drives traffic through a publish that is cut short, a full disk,
// two publishers at once, and bundles that this gateway cannot load. Each
// decision is the old policy's or the new one's.
func TestOldOrNew(t *testing.T) {
	cluster := pgtest.New(t)
	cluster.MustExec(t, "postgres", "CREATE ROLE ana LOGIN; CREATE ROLE postern LOGIN SUPERUSER; CREATE TABLE t (x int); GRANT ALL ON t TO ana")
	s := &site{T: t, gateway: gatewaytest.New(t), host: cluster.Host, port: cluster.Port}
	s.start()
	s.publish(1)
	ctx, stop := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	for range 2 {
		conn, err := pgx.Connect(t.Context(), s.gateway.URL("postgres", "ana"))
		if err != nil {
			t.Fatal(err)
		}
		traffic.Go(func() {
			defer func() { _ = conn.Close(context.Background()) }()
			s.traffic(ctx, conn)
		})
	}
	defer traffic.Wait()
	defer stop()

	for _, event := range []struct {
		name string
		run  func()
	}{
		{"releases in peace", func() {
			for range 4 {
				s.publishNext()
			}
		}},
		{"the control plane dies in the middle of a publish", s.cutShort},
		{"the control plane's disk is full", s.diskFull},
		{"two publishers at once", s.race},
		{"bundles that this gateway cannot load", s.unloadable},
		{"releases after all that", s.publishNext},
	} {
		before := s.statements.Load()
		event.run()
		eventually(t, "statements during: "+event.name, func() bool { return s.statements.Load() > before+20 })
		if t.Failed() {
			t.Fatalf("during: %s", event.name)
		}
	}
	stop()
	traffic.Wait()
	if s.denials.Load() == 0 || s.denials.Load() == s.statements.Load() {
		t.Errorf("of %d statements %d were denied: the policies did not alternate", s.statements.Load(), s.denials.Load())
	}
	if s.held.Load() < s.statements.Load()/4 {
		t.Errorf("of %d statements only %d could be held against one policy", s.statements.Load(), s.held.Load())
	}
	t.Logf("%d statements, %d of them denied, each by a whole policy", s.statements.Load(), s.denials.Load())
}

// start starts the control plane, and has the gateway follow it.
func (s *site) start() {
	store := filepath.Join(s.TempDir(), "control.db")
	s.replica = startReplica(s.T, freeAddress(s.T), store)
	token, err := mintToken(s.Context(), store, api.RoleAuthor, api.GatewayRole(gatewayName))
	if err != nil {
		s.Fatal(err)
	}
	s.client, err = controlclient.New(controlclient.Config{URL: "http://" + s.replica.address, Token: controlclient.StaticToken(token)})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(s.client.Close)
	source := s.client.Source(gatewayName)
	ctx, stop := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() {
		for ctx.Err() == nil {
			release, sealed, err := source.Next(ctx, s.gateway.Live().Status().Release)
			if err == nil {
				err = s.apply(release, sealed)
			}
			if err != nil {
				time.Sleep(50 * time.Millisecond)
			}
		}
	})
	s.Cleanup(func() { stop(); following.Wait() })
}

// apply returns when every live session has adopted the policy.
func (s *site) apply(release, sealed []byte) error {
	p, err := s.gateway.Live().Apply(release, sealed)
	if err == nil {
		s.adopted.Store(p)
	}
	return err
}

// traffic reads and writes in turn, and holds each decision against the policy
// that was in force before, meanwhile and after.
func (s *site) traffic(ctx context.Context, conn *pgx.Conn) {
	for ctx.Err() == nil {
		if _, err := conn.Exec(context.Background(), "SELECT count(*) FROM t"); err != nil {
			s.Errorf("every policy allows reading, and it was refused: %v", err)
			return
		}
		before := s.inForce()
		_, err := conn.Exec(context.Background(), "INSERT INTO t VALUES (1)")
		after := s.inForce()
		s.statements.Add(2)
		var refused *pgconn.PgError
		allowed := err == nil
		switch {
		case err != nil && (!errors.As(err, &refused) || refused.Code != "42501"):
			s.Errorf("a write ended with %v", err)
			return
		case !allowed:
			s.denials.Add(1)
		}
		if before == nil || before != after {
			continue // either may have decided
		}
		s.held.Add(1)
		if allowed != (len(before.Program.Policy().QueryRules) == 2) {
			s.Errorf("under the policy of revision %d a write was allowed: %v", before.Release.Revision, allowed)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// inForce is the policy that every session decides by, nil while one takes the
// place of another.
func (s *site) inForce() *livepolicy.Policy {
	if p := s.adopted.Load(); p == s.gateway.Live().Current() {
		return p
	}
	return nil
}

func (s *site) live() api.Release {
	s.Helper()
	live, err := s.client.Live(s.Context(), gatewayName, 0, 0)
	if err != nil {
		s.Fatal(err)
	}
	if live == nil {
		return api.Release{}
	}
	return *live
}

// sign uploads a policy and signs its release after what is live.
func (s *site) sign(p *policylang.Policy, live api.Release) []byte {
	s.Helper()
	digest, err := p.Digest()
	if err != nil {
		s.Fatal(err)
	}
	sealed, err := bundle.Seal(p, s.gateway.Key())
	if err != nil {
		s.Fatal(err)
	}
	if err := s.client.PutBundle(s.Context(), digest, sealed); err != nil {
		s.Fatal(err)
	}
	return s.signOnly(digest, live)
}

func (s *site) signOnly(digest string, live api.Release) []byte {
	s.Helper()
	signed, err := bundle.SealRelease(bundle.Release{
		Gateway: gatewayName, Bundle: digest, Predecessor: live.Bundle, Revision: live.Revision + 1, Time: time.Now(),
	}, s.gateway.Key())
	if err != nil {
		s.Fatal(err)
	}
	return signed
}

// publishNext releases the policy after the one that is live.
func (s *site) publishNext() { s.publish(int(s.live().Revision) + 1) }

// publish releases a policy and waits until the gateway enforces it.
func (s *site) publish(n int) {
	s.Helper()
	live := s.live()
	now, err := s.client.Publish(s.Context(), gatewayName, s.sign(s.policy(n), live), live.Bundle)
	if err != nil {
		s.Fatal(err)
	}
	s.enforced(now.Revision)
}

func (s *site) enforced(revision uint64) {
	s.Helper()
	eventually(s.T, fmt.Sprintf("revision %d is in force", revision), func() bool { return s.gateway.Live().Status().Release.Revision == revision })
}

// cutShort kills the control plane at some moment of each of several publishes.
// Whether a release counts is the control plane's to say when it is back.
func (s *site) cutShort() {
	for i := range 6 {
		live := s.live()
		signed := s.sign(s.policy(int(live.Revision)+1), live)
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			ctx, cancel := context.WithTimeout(s.Context(), time.Second)
			defer cancel()
			_, _ = s.client.Publish(ctx, gatewayName, signed, live.Bundle) // nobody knows what became of it
		}()
		time.Sleep(time.Duration(i*i) * 500 * time.Microsecond)
		s.replica.kill()
		<-answered
		s.replica.start(s.T)
		now := s.live()
		if now.Revision != live.Revision && !bytes.Equal(now.Signed, signed) {
			s.Errorf("live is revision %d, which nobody has published", now.Revision)
		}
		s.enforced(now.Revision)
	}
}

// diskFull has the control plane's files not grow any more: nothing is
// published, it says so, and what is live stays.
func (s *site) diskFull() {
	s.replica.kill()
	s.replica.full = true
	s.replica.start(s.T)
	live := s.live()
	if live.Revision == 0 {
		s.Error("on a full disk nothing can be read any more")
	}
	p := s.policy(int(live.Revision) + 1)
	for i := range 3000 { // so that it does not fit
		p.QueryRules = append(p.QueryRules, policylang.QueryRule{Name: fmt.Sprintf("filler-%d", i), When: "false", Effect: policylang.EffectDeny})
	}
	digest, err := p.Digest()
	if err != nil {
		s.Fatal(err)
	}
	sealed, err := bundle.Seal(p, s.gateway.Key())
	if err != nil {
		s.Fatal(err)
	}
	err = s.client.PutBundle(s.Context(), digest, sealed)
	if status, code := controlclient.Status(err); status != http.StatusServiceUnavailable || code != api.CodeUnavailable || !strings.Contains(err.Error(), "store") {
		s.Errorf("an upload to a full disk: %v", err)
	}
	if now := s.live(); now.Revision != live.Revision {
		s.Errorf("live is revision %d", now.Revision)
	}
	s.replica.kill()
	s.replica.full = false
	s.replica.start(s.T)
	s.publishNext()
}

// race has two publishers release at the same moment: one wins, the other is
// told what is live, and its policy is not enforced at any moment.
func (s *site) race() {
	for range 4 {
		live := s.live()
		next := int(live.Revision) + 1
		signed := [][]byte{s.sign(s.policy(next), live), s.sign(s.policy(next+2), live)}
		errs := make([]error, len(signed))
		var publishing sync.WaitGroup
		for i := range signed {
			publishing.Go(func() { _, errs[i] = s.client.Publish(s.Context(), gatewayName, signed[i], live.Bundle) })
		}
		publishing.Wait()
		won := 0
		for i, err := range errs {
			if err == nil {
				won++
				continue
			}
			if status, code := controlclient.Status(err); status != http.StatusPreconditionFailed || code != api.CodeChanged || !strings.Contains(err.Error(), "that is not what you had seen") {
				s.Errorf("publisher %d: %v", i, err)
			}
		}
		if won != 1 {
			s.Errorf("%d of 2 publishers won", won)
		}
		s.enforced(live.Revision + 1)
	}
}

// unloadable releases what this gateway cannot load: it says why, and keeps
// what it has.
func (s *site) unloadable() {
	had := s.gateway.Live().Status().Release
	newer := s.policy(int(had.Revision) + 1)
	newer.QueryRules[0].When = "statement.attribute_of_a_later_version"
	live := s.live()
	now, err := s.client.Publish(s.Context(), gatewayName, s.sign(newer, live), live.Bundle)
	if err != nil {
		s.Fatal(err)
	}
	var problem *livepolicy.CompileError
	_, err = s.gateway.Live().Apply(now.Signed, s.fetch(now.Bundle))
	if !errors.As(err, &problem) || !strings.Contains(err.Error(), "attribute_of_a_later_version") {
		s.Errorf("a condition of a later version: %v", err)
	}
	if release := s.gateway.Live().Status().Release; release != had {
		s.Errorf("in force is revision %d, want %d", release.Revision, had.Revision)
	}
	// A format of a later version does not even get into the control plane.
	payload := bytes.Replace(canonical(s.T, s.policy(1)), []byte(`"version":1`), []byte(`"version":2,"novelty":{}`), 1)
	later := s.seal(payload)
	digest := policylang.DigestBytes(payload)
	const want = "version 2 is not supported, want 1: what made it and this program are of different versions of Postern"
	if err := s.client.PutBundle(s.Context(), digest, later); err == nil || !strings.Contains(err.Error(), want) {
		s.Errorf("upload a format of a later version: %v", err)
	}
	release := bundle.Release{Gateway: gatewayName, Bundle: digest, Predecessor: now.Bundle, Revision: now.Revision + 1, Time: time.Now()}
	signed, err := bundle.SealRelease(release, s.gateway.Key())
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.gateway.Live().Apply(signed, later); !errors.Is(err, bundle.ErrPayload) || !strings.Contains(err.Error(), want) {
		s.Errorf("a format of a later version: %v", err)
	}
	if release := s.gateway.Live().Status().Release; release != had {
		s.Errorf("in force is revision %d, want %d", release.Revision, had.Revision)
	}
}

func (s *site) fetch(digest string) []byte {
	s.Helper()
	sealed, err := s.client.Bundle(s.Context(), digest)
	if err != nil {
		s.Fatal(err)
	}
	return sealed
}

func canonical(t *testing.T, p *policylang.Policy) []byte {
	t.Helper()
	data, err := p.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// seal signs a payload as the format is specified (docs/bundle.md), since
// package bundle only seals what it can read.
func (s *site) seal(payload []byte) []byte {
	s.Helper()
	key := s.gateway.Key()
	signature, err := key.Sign(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(bundle.TypeBundle), bundle.TypeBundle, len(payload), payload))
	if err != nil {
		s.Fatal(err)
	}
	return fmt.Appendf(nil, `{"payloadType":%q,"payload":%q,"signatures":[{"keyid":%q,"sig":%q}]}`,
		bundle.TypeBundle, base64.StdEncoding.EncodeToString(payload), key.PublicKey().ID(), base64.StdEncoding.EncodeToString(signature))
}
