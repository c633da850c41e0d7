package livepolicy_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/policylang/bundle"
)

// answer is what a fake source says once.
type answer struct {
	release, bundle []byte
	err             error
}

// fakeSource gives its answers one by one, then waits.
type fakeSource struct {
	answers chan answer
	mu      sync.Mutex
	asked   []uint64 // revisions that Next was asked to go beyond
}

func newFakeSource(answers ...answer) *fakeSource {
	s := &fakeSource{answers: make(chan answer, 100)}
	for _, a := range answers {
		s.answers <- a
	}
	return s
}

func (s *fakeSource) Next(ctx context.Context, after bundle.Release) (release, sealedBundle []byte, err error) {
	s.mu.Lock()
	s.asked = append(s.asked, after.Revision)
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case a := <-s.answers:
		return a.release, a.bundle, a.err
	}
}

func released(pub *publisher, revision uint64, rule string) answer {
	release, sealedBundle := pub.publish(revision, policy(rule))
	return answer{release: release, bundle: sealedBundle}
}

// run runs l until the test calls stop.
func run(t *testing.T, l *livepolicy.Live) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func TestRunPulls(t *testing.T) {
	pub := newPublisher(t)
	good, bad := released(pub, 2, "two"), released(pub, 3, "three")
	bad.release = bad.release[:20]
	away := errors.New("control plane is away")
	source := newFakeSource(released(pub, 1, "one"), answer{err: away}, answer{err: away}, good, bad, released(pub, 1, "one"), released(pub, 4, "four"),
		answer{err: away}, answer{})
	reports := make(chan livepolicy.Status, 100)
	cfg := pub.config("")
	cfg.Source = source
	cfg.Report = func(_ context.Context, s livepolicy.Status) { reports <- s }
	l := open(t, cfg)
	enforced := uint64(0)
	l.Subscribe(func(_, now *livepolicy.Policy) { enforced = now.Release.Revision })
	stop := run(t, l)
	want := []struct {
		revision uint64
		err      error // nil: none
	}{
		{0, nil}, {1, nil}, {1, away}, {2, nil}, {2, bundle.ErrTruncated}, {2, bundle.ErrRolledBack}, {4, nil}, {4, away}, {4, nil},
	}
	for i, w := range want {
		s := <-reports
		if s.Release.Revision != w.revision || (w.err == nil) != (s.Err == nil) || !errors.Is(s.Err, w.err) {
			t.Errorf("report %d: revision %d and error %v, want %d and %v", i, s.Release.Revision, s.Err, w.revision, w.err)
		}
	}
	stop()
	if rule(l.Current()) != "four" || enforced != 4 {
		t.Errorf("%s is in force, revision %d was seen by subscribers", rule(l.Current()), enforced)
	}
	for i, after := range []uint64{0, 1, 1, 1, 2, 2, 2, 4} {
		if i < len(source.asked) && source.asked[i] != after {
			t.Errorf("the source was asked %v", source.asked)
			break
		}
	}
}

// TestRunPauses measures, in fake time, how often a source that fails at once
// is asked.
func TestRunPauses(t *testing.T) {
	pub := newPublisher(t)
	same := released(pub, 1, "one")
	tests := []struct {
		name  string
		next  func() answer
		least int // calls in ten minutes
		most  int
	}{
		{"failing", func() answer { return answer{err: errors.New("away")} }, 15, 40},
		{"refused", func() answer { return answer{release: []byte("{"), bundle: nil} }, 15, 40},
		{"repeating what is in force", func() answer { return same }, 400, 1700},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				cfg := pub.config("")
				cfg.Pause = 0 // the default
				cfg.Source = sourceFunc(func(context.Context, bundle.Release) ([]byte, []byte, error) {
					calls++
					a := tt.next()
					return a.release, a.bundle, a.err
				})
				stop := run(t, open(t, cfg))
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				stop()
				if calls < tt.least || calls > tt.most {
					t.Errorf("the source was asked %d times in ten minutes", calls)
				}
			})
		})
	}
}

type sourceFunc func(context.Context, bundle.Release) ([]byte, []byte, error)

func (f sourceFunc) Next(ctx context.Context, after bundle.Release) ([]byte, []byte, error) {
	return f(ctx, after)
}

// TestRunKeepsAgain cannot write to its directory for a while: what is new is
// enforced, the status says that it is not kept, and it is kept in the end.
func TestRunKeepsAgain(t *testing.T) {
	pub := newPublisher(t)
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		cfg := pub.config(dir)
		source := newFakeSource()
		cfg.Source = source
		l := open(t, cfg)
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		write(t, dir, nil) // a file stands in its place
		stop := run(t, l)
		source.answers <- released(pub, 1, "one")
		time.Sleep(time.Second)
		synctest.Wait()
		if l.Current() == nil || l.Status().Err == nil || !strings.Contains(l.Status().Err.Error(), "keep") {
			t.Errorf("policy %v, status %v", l.Current(), l.Status().Err)
		}
		if err := errors.Join(os.Remove(dir), os.Mkdir(dir, 0o700)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		if err := l.Status().Err; err != nil {
			t.Errorf("the status still says %v", err)
		}
		if p := open(t, cfg).Current(); p == nil || rule(p) != "one" {
			t.Error("the policy is not on disk")
		}
	})
}

func TestRunWithoutSource(t *testing.T) {
	l := open(t, newPublisher(t).config(""))
	run(t, l)()
}
