package livepolicy_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// publisher seals policies and releases of one gateway.
type publisher struct {
	t   testing.TB
	key *bundle.PrivateKey
}

func newPublisher(t testing.TB) *publisher {
	t.Helper()
	key, err := bundle.GenerateKey("prod")
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{t, key}
}

func (p *publisher) ring() bundle.KeyRing {
	p.t.Helper()
	r, err := bundle.NewKeyRing(p.key.PublicKey())
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// policy is a policy of one rule, so that two can be told apart.
func policy(rule string) *policylang.Policy {
	return &policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name:     "orders",
			Upstream: policylang.Upstream{Host: "db.internal", Credentials: "env:DB"},
			Issuers:  []policylang.Issuer{{Name: "corp", URL: "https://login.example.com", Audience: "postern"}},
		}},
		Identities: []policylang.Identity{{Name: "ana", Kind: "human", When: "token.sub == 'u-17'"}},
		QueryRules: []policylang.QueryRule{{Name: rule, When: "statement.class == 'read'", Effect: policylang.EffectAllow}},
	}
}

func (p *publisher) bundle(policy *policylang.Policy) (data []byte, digest string) {
	p.t.Helper()
	data, err := bundle.Seal(policy, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	if digest, err = policy.Digest(); err != nil {
		p.t.Fatal(err)
	}
	return data, digest
}

func (p *publisher) sign(r bundle.Release) []byte {
	p.t.Helper()
	data, err := bundle.SealRelease(r, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return data
}

// publish seals a policy and a release of it.
func (p *publisher) publish(revision uint64, policy *policylang.Policy) (release, sealedBundle []byte) {
	p.t.Helper()
	sealedBundle, digest := p.bundle(policy)
	return p.sign(bundle.Release{Gateway: "orders", Bundle: digest, Revision: revision, Time: time.Unix(1772600767, 0)}), sealedBundle
}

func (p *publisher) config(dir string) livepolicy.Config {
	p.t.Helper()
	return livepolicy.Config{
		Gateway: "orders", Trusted: p.ring(), Dir: dir, Logger: slog.New(slog.DiscardHandler), Pause: time.Millisecond,
	}
}

func open(t testing.TB, cfg livepolicy.Config) *livepolicy.Live {
	t.Helper()
	l, err := livepolicy.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func apply(t testing.TB, l *livepolicy.Live, release, sealedBundle []byte) *livepolicy.Policy {
	t.Helper()
	p, err := l.Apply(release, sealedBundle)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// applyNew publishes a policy and applies it.
func applyNew(t testing.TB, l *livepolicy.Live, pub *publisher, revision uint64, policy *policylang.Policy) *livepolicy.Policy {
	t.Helper()
	release, sealedBundle := pub.publish(revision, policy)
	return apply(t, l, release, sealedBundle)
}

func rule(p *livepolicy.Policy) string { return p.Program.Policy().QueryRules[0].Name }

func TestApplySwapsThePolicy(t *testing.T) {
	pub := newPublisher(t)
	l := open(t, pub.config(""))
	if l.Current() != nil || l.Status().Release.Revision != 0 {
		t.Fatal("there is a policy before any was released")
	}
	one := applyNew(t, l, pub, 1, policy("one"))
	if l.Current() != one || rule(one) != "one" || one.Digest != one.Release.Bundle || one.KeyID != pub.key.PublicKey().ID() {
		t.Errorf("policy %+v", one)
	}
	if again := applyNew(t, l, pub, 1, policy("one")); again != one {
		t.Error("the release in force was applied anew")
	}
	two := applyNew(t, l, pub, 5, policy("two"))
	if l.Current() != two || rule(two) != "two" {
		t.Errorf("policy %+v", two)
	}
	same := applyNew(t, l, pub, 6, policy("two"))
	if same == two || same.Program != two.Program || same.Release.Revision != 6 {
		t.Error("a release of the same bundle should keep the program and change the release")
	}
	if s := l.Status(); s.Release.Revision != 6 || s.Err != nil || s.Since.IsZero() {
		t.Errorf("status %+v", s)
	}
}

func TestApplyKeepsThePolicyWhenItRefuses(t *testing.T) {
	pub, other := newPublisher(t), newPublisher(t)
	release, sealedBundle := pub.publish(8, policy("new"))
	_, newDigest := pub.bundle(policy("new"))
	lower, lowerBundle := pub.publish(6, policy("new"))
	fork, forkBundle := pub.publish(7, policy("new"))
	stranger, strangerBundle := other.publish(8, policy("new"))
	broken := policy("new")
	broken.QueryRules[0].When = "statement.klass == 'read'"
	uncompiled, uncompiledBundle := pub.publish(8, broken)
	elsewhere := policy("new")
	elsewhere.Gateways[0].Name = "other"
	missing, missingBundle := pub.publish(8, elsewhere)
	tests := []struct {
		name    string
		release []byte
		bundle  []byte
		want    error // nil: a *CompileError
	}{
		{"truncated release", release[:len(release)-3], sealedBundle, bundle.ErrTruncated},
		{"truncated bundle", release, sealedBundle[:len(sealedBundle)-3], bundle.ErrTruncated},
		{"rolled back", lower, lowerBundle, bundle.ErrRolledBack},
		{"fork", fork, forkBundle, bundle.ErrFork},
		{"unknown key", stranger, strangerBundle, bundle.ErrUnknownKey},
		{"bundle of an unknown key", release, strangerBundle, bundle.ErrUnknownKey},
		{"another bundle", release, uncompiledBundle, bundle.ErrWrongBundle},
		{"another gateway's", pub.sign(bundle.Release{Gateway: "other", Bundle: newDigest, Revision: 8, Time: time.Unix(1772600767, 0)}), sealedBundle, bundle.ErrWrongGateway},
		{"swapped", sealedBundle, release, bundle.ErrWrongType},
		{"does not compile", uncompiled, uncompiledBundle, nil},
		{"without this gateway", missing, missingBundle, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, pub.config(dir))
			old := applyNew(t, l, pub, 7, policy("old"))
			l.Subscribe(func(_, _ *livepolicy.Policy) { t.Error("a subscriber was called") })
			p, err := l.Apply(tt.release, tt.bundle)
			var compileErr *livepolicy.CompileError
			switch {
			case p != nil || l.Current() != old:
				t.Error("the policy changed")
			case tt.want == nil && !errors.As(err, &compileErr):
				t.Errorf("got %v, want a CompileError", err)
			case tt.want == nil && (len(compileErr.Problems) == 0 || !strings.HasPrefix(err.Error(), "compile: ")):
				t.Errorf("error %q with problems %v", err, compileErr.Problems)
			case tt.want != nil && !errors.Is(err, tt.want):
				t.Errorf("got %v, want %v", err, tt.want)
			case err == nil:
				t.Error("no error")
			}
			if again := open(t, pub.config(dir)); again.Current() == nil || rule(again.Current()) != "old" {
				t.Error("the policy on disk changed")
			}
		})
	}
}

func TestRestartFromDisk(t *testing.T) {
	pub := newPublisher(t)
	cfg := pub.config(filepath.Join(t.TempDir(), "state"))
	l := open(t, cfg)
	applyNew(t, l, pub, 3, policy("one"))
	two, twoBundle := pub.publish(4, policy("two"))
	apply(t, l, two, twoBundle)

	again := open(t, cfg)
	if p := again.Current(); p == nil || rule(p) != "two" || p.Release.Revision != 4 || again.Status().Release != p.Release {
		t.Fatalf("after a restart: %+v", p)
	}
	if _, err := again.Apply(pub.publish(3, policy("one"))); !errors.Is(err, bundle.ErrRolledBack) {
		t.Errorf("after a restart an older release gives %v, want ErrRolledBack", err)
	}
	entries, err := os.ReadDir(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) != 2 || names[0] != "release.json" || !strings.HasPrefix(names[1], "sha256-") {
		t.Errorf("the directory holds %q", names)
	}
}

func TestOpenDoesNotTrustTheDisk(t *testing.T) {
	pub, other := newPublisher(t), newPublisher(t)
	tests := []struct {
		name  string
		spoil func(t *testing.T, cfg *livepolicy.Config)
		want  error
	}{
		{"revoked key", func(_ *testing.T, cfg *livepolicy.Config) { cfg.Trusted = other.ring() }, bundle.ErrUnknownKey},
		{"another gateway's directory", func(_ *testing.T, cfg *livepolicy.Config) { cfg.Gateway = "other" }, bundle.ErrWrongGateway},
		{"bundle altered", func(t *testing.T, cfg *livepolicy.Config) {
			file := bundleFiles(t, cfg.Dir)[0]
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/2] ^= 1
			write(t, file, data)
		}, nil},
		{"bundle gone", func(t *testing.T, cfg *livepolicy.Config) {
			if err := os.Remove(bundleFiles(t, cfg.Dir)[0]); err != nil {
				t.Fatal(err)
			}
		}, os.ErrNotExist},
		{"release cut", func(t *testing.T, cfg *livepolicy.Config) {
			if err := os.Truncate(filepath.Join(cfg.Dir, "release.json"), 40); err != nil {
				t.Fatal(err)
			}
		}, bundle.ErrTruncated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := pub.config(t.TempDir())
			applyNew(t, open(t, cfg), pub, 1, policy("one"))
			tt.spoil(t, &cfg)
			l := open(t, cfg)
			if l.Current() != nil {
				t.Fatal("a policy that cannot be verified is in force")
			}
			if err := l.Status().Err; err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("the status says %v, want %v", err, tt.want)
			}
		})
	}
}

func bundleFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.bundle.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no bundle in %s: %v", dir, err)
	}
	return files
}

func write(t testing.TB, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCrashWhileKeeping leaves what each step of keeping a policy leaves.
func TestCrashWhileKeeping(t *testing.T) {
	pub := newPublisher(t)
	cfg := pub.config(t.TempDir())
	applyNew(t, open(t, cfg), pub, 1, policy("one"))
	_, twoBundle := pub.publish(2, policy("two"))
	_, twoDigest := pub.bundle(policy("two"))
	write(t, filepath.Join(cfg.Dir, ".tmp-1234"), twoBundle[:10])
	if p := open(t, cfg).Current(); p == nil || rule(p) != "one" {
		t.Fatal("half a bundle: the old policy is not in force")
	}
	if left, err := filepath.Glob(filepath.Join(cfg.Dir, ".tmp-*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	write(t, filepath.Join(cfg.Dir, strings.Replace(twoDigest, ":", "-", 1)+".bundle.json"), twoBundle)
	l := open(t, cfg)
	if p := l.Current(); p == nil || rule(p) != "one" {
		t.Fatal("a bundle without its release: the old policy is not in force")
	}
	applyNew(t, l, pub, 2, policy("two"))
	if files := bundleFiles(t, cfg.Dir); len(files) != 1 {
		t.Errorf("bundles %q are kept", files)
	}
}

func TestOpenRefuses(t *testing.T) {
	pub := newPublisher(t)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	tests := []struct {
		name   string
		change func(*livepolicy.Config)
		want   string
	}{
		{"no gateway", func(c *livepolicy.Config) { c.Gateway = "" }, "no name"},
		{"nobody trusted", func(c *livepolicy.Config) { c.Trusted = bundle.KeyRing{} }, "no key"},
		{"directory is a file", func(c *livepolicy.Config) { c.Dir = file }, "not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := pub.config("")
			tt.change(&cfg)
			if _, err := livepolicy.Open(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestSubscribe(t *testing.T) {
	pub := newPublisher(t)
	l := open(t, pub.config(""))
	var seen []string
	note := func(old, now *livepolicy.Policy) {
		before := "none"
		if old != nil {
			before = rule(old)
		}
		seen = append(seen, before+" to "+rule(now))
		if l.Current() != now {
			t.Error("a subscriber was called before the policy was in force")
		}
	}
	unsubscribe := l.Subscribe(note)
	applyNew(t, l, pub, 1, policy("one"))
	applyNew(t, l, pub, 1, policy("one"))
	applyNew(t, l, pub, 2, policy("two"))
	unsubscribe()
	unsubscribe()
	applyNew(t, l, pub, 3, policy("three"))
	if want := []string{"none to one", "one to two"}; !slices.Equal(seen, want) {
		t.Errorf("saw %q, want %q", seen, want)
	}
}

// TestReadersSeeWholePolicies reads while policies are swapped.
func TestReadersSeeWholePolicies(t *testing.T) {
	pub := newPublisher(t)
	l := open(t, pub.config(""))
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			var last uint64
			for ctx.Err() == nil {
				p := l.Current()
				if p == nil {
					continue
				}
				if p.Program.Digest() != p.Digest || p.Digest != p.Release.Bundle || p.Release.Revision < last {
					t.Errorf("policy %+v after revision %d", p, last)
					return
				}
				last = p.Release.Revision
			}
		})
	}
	for i := range uint64(50) {
		applyNew(t, l, pub, i+1, policy(fmt.Sprintf("r%d", i%3)))
	}
	cancel()
	readers.Wait()
}
