package livepolicy

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// maxDoublings bounds the pause after failures: 64 times the first.
const maxDoublings = 6

// keepRetry is how long news are waited for while the policy in force is not
// kept on disk, before keeping it is tried again.
const keepRetry = 5 * time.Second

// Run pulls from the source until ctx ends. Failures are reported and tried
// again; they never touch the policy in force. At most one Run may be active.
func (l *Live) Run(ctx context.Context) {
	if l.cfg.Source == nil {
		<-ctx.Done()
		return
	}
	reported := l.Status() // what was loaded from disk
	l.report(ctx, reported)
	for failures := 0; ctx.Err() == nil; {
		news, err := l.pull(ctx)
		if ctx.Err() != nil {
			return
		}
		if now := l.settle(err); differ(now, reported) {
			l.report(ctx, now)
			reported = now
		}
		if err != nil {
			failures++
		} else {
			failures = 0
		}
		if !news { // also a source that answers at once with what is in force
			l.pause(ctx, max(0, failures-1))
		}
	}
}

// pull waits for one answer of the source and applies it. It reports whether
// that changed the policy in force.
func (l *Live) pull(ctx context.Context) (news bool, err error) {
	wait, interrupt := context.WithCancel(ctx)
	defer interrupt()
	l.setInterrupt(interrupt)
	defer l.setInterrupt(nil)
	if l.hasUnkept() {
		if l.keepAgain() {
			return false, nil // to be reported before anything else
		}
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(wait, keepRetry)
		defer cancel()
	}
	old := l.Current()
	release, sealedBundle, err := l.cfg.Source.Next(wait, l.Status().Release)
	if err != nil {
		if wait.Err() != nil && ctx.Err() == nil {
			return false, nil // it was only time to try to keep the policy again, or to ask anew
		}
		return false, err
	}
	if release == nil {
		return false, nil // nothing is newer
	}
	now, err := l.Apply(release, sealedBundle)
	return err == nil && now != old, err
}

func (l *Live) setInterrupt(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.interrupt = f
}

// report tells the operator's log and Config.Report.
func (l *Live) report(ctx context.Context, s Status) {
	attrs := []slog.Attr{slog.String("gateway", l.cfg.Gateway), slog.Uint64("revision", s.Release.Revision), slog.String("bundle", s.Release.Bundle)}
	switch {
	case s.Err != nil:
		l.cfg.Logger.LogAttrs(ctx, slog.LevelError, "the policy in force is not the newest, or cannot be kept", append(attrs, slog.Any("error", s.Err))...)
	case s.Release.Revision > 0:
		l.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "policy in force", attrs...)
	}
	if l.cfg.Report != nil {
		l.cfg.Report(ctx, s)
	}
}

// pause waits after a failure, a little shorter or longer each time so that a
// fleet does not ask in step.
func (l *Live) pause(ctx context.Context, doublings int) {
	d := l.cfg.Pause << min(doublings, maxDoublings)
	d += time.Duration((rand.Float64() - 0.5) * float64(d) / 2)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func differ(a, b Status) bool {
	return a.Release != b.Release || !a.Since.Equal(b.Since) || errorText(a.Err) != errorText(b.Err)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
