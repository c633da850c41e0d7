package livepolicy_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/policylang/bundle"
)

// put writes a release and its bundle as an operator would.
func put(t *testing.T, dir string, pub *publisher, revision uint64, rule string) {
	t.Helper()
	release, sealedBundle := pub.publish(revision, policy(rule))
	inside, err := bundle.InspectUnverified(sealedBundle)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, strings.Replace(inside.Digest, ":", "-", 1)+".bundle.json"), sealedBundle)
	write(t, filepath.Join(dir, "release.json"), release)
}

func TestFileSource(t *testing.T) {
	pub := newPublisher(t)
	dir := t.TempDir()
	cfg := pub.config("")
	cfg.Source = &livepolicy.FileSource{Dir: dir, Interval: time.Millisecond}
	reports := make(chan livepolicy.Status, 100)
	cfg.Report = func(_ context.Context, s livepolicy.Status) { reports <- s }
	l := open(t, cfg)
	stop := run(t, l)
	defer stop()
	wait := func(revision uint64, want error) {
		t.Helper()
		for {
			select {
			case s := <-reports:
				if s.Release.Revision == revision && (want == nil) == (s.Err == nil) && errors.Is(s.Err, want) {
					return
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("revision %d with error %v is not reported; status %+v", revision, want, l.Status())
			}
		}
	}
	wait(0, nil) // the directory is empty
	put(t, dir, pub, 1, "one")
	wait(1, nil)
	put(t, dir, pub, 2, "two")
	wait(2, nil)
	put(t, dir, pub, 1, "one")
	wait(2, bundle.ErrRolledBack)
	put(t, dir, pub, 3, "three")
	wait(3, nil)
	put(t, dir, pub, 1, "one")
	wait(3, bundle.ErrRolledBack)
	put(t, dir, pub, 3, "three") // what is in force: nothing is wrong any more
	wait(3, nil)
	write(t, filepath.Join(dir, "release.json"), []byte("{"))
	wait(3, bundle.ErrTruncated)
	put(t, dir, pub, 3, "three")
	wait(3, nil)
}

// TestFileSourceFollowsAGateway reads the directory that another gateway keeps.
func TestFileSourceFollowsAGateway(t *testing.T) {
	pub := newPublisher(t)
	cfg := pub.config(t.TempDir())
	applyNew(t, open(t, cfg), pub, 1, policy("one"))
	source := &livepolicy.FileSource{Dir: cfg.Dir}
	release, sealedBundle, err := source.Next(t.Context(), bundle.Release{})
	if err != nil {
		t.Fatal(err)
	}
	follower := open(t, pub.config(""))
	if p := apply(t, follower, release, sealedBundle); rule(p) != "one" {
		t.Errorf("the follower enforces %s", rule(p))
	}
	if release, _, err := source.Next(t.Context(), follower.Status().Release); release != nil || err != nil {
		t.Errorf("asked anew: got %q, %v", release, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := source.Next(ctx, follower.Status().Release); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with nothing new: got %v, want to wait", err)
	}
}
