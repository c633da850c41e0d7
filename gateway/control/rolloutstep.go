package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/posternhq/postern/gateway/control/internal/store"
	"github.com/posternhq/postern/gateway/internal/api"
)

// rolloutInterval is how often running rollouts are looked at.
const rolloutInterval = time.Second

// rolloutLoop moves running rollouts on until the server drains. Every replica
// does: what one has done the others find changed.
func (s *Server) rolloutLoop(ctx context.Context) {
	tick := time.NewTicker(rolloutInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.stepRollouts(ctx); err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "move the rollouts on", slog.Any("error", err))
		}
	}
}

// stepRollouts moves each running rollout on as far as it can go now.
func (s *Server) stepRollouts(ctx context.Context) error {
	running, err := s.store.RunningRollouts(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range running {
		if err := s.stepRollout(ctx, r); err != nil && !errors.Is(err, store.ErrChanged) {
			errs = append(errs, fmt.Errorf("rollout %q: %w", r.ID, err))
		}
	}
	return errors.Join(errs...)
}

// stepRollout looks at the stage that is live: it stops the rollout if the
// stage has failed, and begins the next stage if it has proven itself.
func (s *Server) stepRollout(ctx context.Context, r store.Rollout) error {
	now := s.now()
	stage := &r.Stages[r.Stage]
	look, err := s.lookAtStage(ctx, r)
	switch {
	case err != nil:
		return err
	case look.failed != "":
		_, err := s.stop(ctx, r, look.failed, "rollout")
		return err
	}
	changed := stage.Statements != look.statements || stage.Errors != look.errors
	stage.Statements, stage.Errors = look.statements, look.errors
	timeout, observe := durationOf(r.Timeout), durationOf(r.Observe)
	switch {
	case stage.Enforced == nil && look.behind == "":
		stage.Enforced, changed = &now, true
	case stage.Enforced == nil && now.Sub(*stage.LiveAt) >= timeout:
		_, err := s.stop(ctx, r, fmt.Sprintf("%s within %s", look.behind, timeout), "rollout")
		return err
	case stage.Enforced != nil && look.behind == "" && !look.oldest.Before(stage.Enforced.Add(observe)):
		stage.Proven = &now
		return s.nextStage(ctx, r)
	}
	if !changed {
		return nil
	}
	r.UpdatedAt = now
	_, err = s.store.UpdateRollout(ctx, r, nil, func() error { return nil })
	return err
}

// stageLook is what the instances of a stage say.
type stageLook struct {
	failed     string    // why the stage has failed; empty if it has not
	behind     string    // what is still awaited; empty if all enforce the stage
	oldest     time.Time // of their last reports
	statements uint64    // since the stage is live
	errors     uint64
}

func (s *Server) lookAtStage(ctx context.Context, r store.Rollout) (stageLook, error) {
	look := stageLook{oldest: s.now()}
	plan := r.Plans[r.Stage]
	for _, p := range plan.Releases {
		live, err := s.store.Live(ctx, p.Release.Gateway)
		if err != nil {
			return look, err
		}
		if live.Revision != p.Release.Revision {
			look.failed = fmt.Sprintf("somebody else has released revision %d to gateway %q", live.Revision, p.Release.Gateway)
			return look, nil
		}
		instances, err := s.store.Instances(ctx, p.Release.Gateway, s.now().Add(-reportedSince))
		if err != nil {
			return look, err
		}
		look.add(p.Release, instances, plan.Before, r.MinInstances)
	}
	if look.failed == "" && float64(look.errors) > r.MaxErrorRate*float64(look.statements) {
		look.failed = fmt.Sprintf("of %d statements %d were denied or failed, which is more than a share of %g", look.statements, look.errors, r.MaxErrorRate)
	}
	return look, nil
}

// add counts in the instances of one gateway.
func (l *stageLook) add(release api.Release, instances []api.Instance, before map[string]store.CountsFrom, want int) {
	enforcing := 0
	for _, i := range instances {
		switch {
		case i.Revision == release.Revision && i.Bundle == release.Bundle:
			enforcing++
			from, known := before[instanceKey(release.Gateway, i.Instance)]
			if !known && i.StartedAt.Before(release.ReleasedAt) {
				from = store.CountsFrom{StartedAt: i.StartedAt, Counts: i.Counts} // nobody knows since when
			}
			counted := since(i, from)
			l.statements, l.errors = l.statements+counted.Statements, l.errors+counted.Errors()
			if i.SeenAt.Before(l.oldest) {
				l.oldest = i.SeenAt
			}
		case i.Error != "" && i.SeenAt.After(release.ReleasedAt):
			l.failed = fmt.Sprintf("instance %q of gateway %q does not take it: %s", i.Instance, release.Gateway, i.Error)
		default:
			l.behind = fmt.Sprintf("instance %q of gateway %q did not enforce it", i.Instance, release.Gateway)
		}
	}
	if enforcing < want {
		l.behind = fmt.Sprintf("%d of at least %d instances of gateway %q did enforce it", enforcing, want, release.Gateway)
	}
}

// since is what an instance has counted since then. One that has started anew
// has counted all it has since.
func since(i api.Instance, from store.CountsFrom) api.Counts {
	if !i.StartedAt.Equal(from.StartedAt) {
		return i.Counts
	}
	less := func(now, then uint64) uint64 { return now - min(now, then) }
	return api.Counts{
		Statements: less(i.Statements, from.Counts.Statements), Denied: less(i.Denied, from.Counts.Denied),
		Failed: less(i.Failed, from.Counts.Failed), Held: less(i.Held, from.Counts.Held), Waiting: i.Waiting,
	}
}

func instanceKey(gateway, instance string) string { return gateway + "/" + instance }

// nextStage begins the stage after the one that has proven itself, or ends the
// rollout.
func (s *Server) nextStage(ctx context.Context, r store.Rollout) error {
	var publishes []api.Release
	event := Event{Caller: "rollout", Action: "rollout.stage", Target: r.ID}
	if r.Stage == len(r.Stages)-1 {
		r.Status, event.Action = api.RolloutDone, "rollout.done"
	} else {
		var err error
		if r, publishes, err = s.beginStage(ctx, r, r.Stage+1); err != nil {
			return err
		}
	}
	r.UpdatedAt = s.now()
	_, err := s.store.UpdateRollout(ctx, r, publishes, s.auditRollout(ctx, event, publishes))
	var p *store.PublishError
	if errors.As(err, &p) && (errors.Is(err, store.ErrChanged) || errors.Is(err, store.ErrNotFound)) {
		r.Stage, r.Stages[r.Stage].LiveAt = r.Stage-1, nil
		_, err := s.stop(ctx, r, p.Error(), "rollout")
		return err
	}
	if err == nil {
		s.publishedAll(ctx, publishes)
	}
	return err
}

// beginStage returns the rollout with that stage live, and what is to be
// published for it.
func (s *Server) beginStage(ctx context.Context, r store.Rollout, stage int) (store.Rollout, []api.Release, error) {
	now := s.now()
	r.Stage = stage
	r.Stages[stage].LiveAt = &now
	plan := &r.Plans[stage]
	plan.Before = map[string]store.CountsFrom{}
	var publishes []api.Release
	for i := range plan.Releases {
		p := &plan.Releases[i].Release
		p.ReleasedAt = now
		publishes = append(publishes, *p)
		instances, err := s.store.Instances(ctx, p.Gateway, now.Add(-listedSince))
		if err != nil {
			return r, nil, err
		}
		for _, one := range instances {
			plan.Before[instanceKey(p.Gateway, one.Instance)] = store.CountsFrom{StartedAt: one.StartedAt, Counts: one.Counts}
		}
	}
	return r, publishes, nil
}

// stop ends a rollout and undoes those of its releases that are live and that
// can be undone.
func (s *Server) stop(ctx context.Context, r store.Rollout, reason, by string) (store.Rollout, error) {
	now := s.now()
	r.Status, r.Reason, r.UpdatedAt = api.RolloutStopped, reason, now
	var publishes []api.Release
	for i := 0; i <= r.Stage; i++ {
		for j, p := range r.Plans[i].Releases {
			if p.Undo == nil {
				continue
			}
			live, err := s.store.Live(ctx, p.Release.Gateway)
			if err != nil {
				return r, err
			}
			if live.Revision == p.Release.Revision {
				undo := *p.Undo
				undo.ReleasedAt = now
				publishes = append(publishes, undo)
				r.Stages[i].Releases[j].Undone = true
			}
		}
	}
	stopped, err := s.store.UpdateRollout(ctx, r, publishes, s.auditRollout(ctx, Event{Caller: by, Action: "rollout.stop", Target: r.ID, Reason: reason}, publishes))
	if err == nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "rollout stopped", slog.String("rollout", r.ID), slog.Int("stage", r.Stage), slog.String("reason", reason))
		s.publishedAll(ctx, publishes)
	}
	return stopped, err
}

// auditRollout records what happens to a rollout, and what goes live by it.
func (s *Server) auditRollout(ctx context.Context, e Event, publishes []api.Release) func() error {
	events := []Event{e}
	for _, r := range publishes {
		events = append(events, publishing(r))
	}
	return s.audit(ctx, events...)
}

// publishedAll counts and logs releases that are live now.
func (s *Server) publishedAll(ctx context.Context, all []api.Release) {
	for _, live := range all {
		s.published(ctx, live)
	}
}

func durationOf(text string) time.Duration {
	d, _ := time.ParseDuration(text) // readRollout wrote it
	return d
}
