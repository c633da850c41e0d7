package livepolicy_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/policylang/bundle"
)

func ringOf(t *testing.T, pubs ...*publisher) bundle.KeyRing {
	t.Helper()
	var keys []bundle.PublicKey
	for _, p := range pubs {
		keys = append(keys, p.key.PublicKey())
	}
	r, err := bundle.NewKeyRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestKeysRotate replaces a key without a restart and without a moment in which
// no policy is in force.
func TestKeysRotate(t *testing.T) {
	old, next := newPublisher(t), newPublisher(t)
	l := open(t, old.config(t.TempDir()))
	var withdrawn atomic.Int32
	defer l.Subscribe(func(_, now *livepolicy.Policy) {
		if now == nil {
			withdrawn.Add(1)
		}
	})()
	applyNew(t, l, old, 1, policy("one"))
	release, sealedBundle := next.publish(2, policy("two"))
	if _, err := l.Apply(release, sealedBundle); !errors.Is(err, bundle.ErrUnknownKey) {
		t.Errorf("before the new key is trusted: %v", err)
	}
	if err := l.Trust(ringOf(t, old, next)); err != nil {
		t.Fatal(err)
	}
	apply(t, l, release, sealedBundle)
	if err := l.Trust(ringOf(t, next)); err != nil {
		t.Fatal(err)
	}
	if rule(l.Current()) != "two" || withdrawn.Load() != 0 {
		t.Errorf("the rule in force is %q, withdrawn %d times", rule(l.Current()), withdrawn.Load())
	}
	release, sealedBundle = old.publish(3, policy("three"))
	if _, err := l.Apply(release, sealedBundle); !errors.Is(err, bundle.ErrUnknownKey) {
		t.Errorf("after the old key is dropped: %v", err)
	}
	if err := l.Trust(bundle.KeyRing{}); err == nil || rule(l.Current()) != "two" {
		t.Errorf("trusting nobody: %v", err)
	}
}

// TestRevokedKeyWithdrawsItsPolicy revokes a stolen key: what it signed is out
// at once, and the revision that the thief claimed blocks nobody.
func TestRevokedKeyWithdrawsItsPolicy(t *testing.T) {
	pub, thief := newPublisher(t), newPublisher(t)
	cfg := pub.config("")
	cfg.Trusted = ringOf(t, pub, thief)
	source := newFakeSource()
	cfg.Source = source
	reports := make(chan livepolicy.Status, 100)
	cfg.Report = func(_ context.Context, s livepolicy.Status) { reports <- s }
	l := open(t, cfg)
	stop := run(t, l)
	defer stop()
	source.answers <- released(pub, 7, "seven")
	source.answers <- released(thief, bundle.MaxRevision, "theft")
	until := func(what string, ok func(livepolicy.Status) bool) {
		t.Helper()
		for {
			select {
			case s := <-reports:
				if ok(s) {
					return
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("%s is not reported; status %+v", what, l.Status())
			}
		}
	}
	until("the theft", func(s livepolicy.Status) bool { return s.Release.Revision == bundle.MaxRevision })
	if err := l.Trust(ringOf(t, pub)); !errors.Is(err, livepolicy.ErrWithdrawn) {
		t.Fatalf("revoking the key: %v", err)
	}
	if l.Current() != nil {
		t.Fatal("the thief's policy is still in force")
	}
	until("the withdrawal", func(s livepolicy.Status) bool {
		return s.Release.Revision == 0 && errors.Is(s.Err, livepolicy.ErrWithdrawn)
	})
	// The good key's own releases still never go back.
	source.answers <- released(pub, 6, "six")
	until("the rollback", func(s livepolicy.Status) bool { return errors.Is(s.Err, bundle.ErrRolledBack) })
	source.answers <- released(pub, 8, "eight")
	until("the good key's release", func(s livepolicy.Status) bool { return s.Release.Revision == 8 && s.Err == nil })
	source.mu.Lock()
	defer source.mu.Unlock()
	if n := len(source.asked); source.asked[n-2] != 0 {
		t.Errorf("after the withdrawal the source was asked to go beyond %d", source.asked[n-2])
	}
}
