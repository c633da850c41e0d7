package control

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/posternhq/postern/gateway/control/internal/store"
	"github.com/posternhq/postern/gateway/internal/api"
)

// The bounds of a rollout, and what it has unless its input says.
const (
	maxStages        = 32
	maxStageReleases = 256
	defaultObserve   = time.Minute
	defaultTimeout   = 5 * time.Minute
	maxRolloutTime   = 7 * 24 * time.Hour
)

// putRollout starts a rollout: its first stage goes live at once. The same
// request again answers with how the rollout stands.
func (s *Server) putRollout(w http.ResponseWriter, r *http.Request, c *caller) error {
	id, err := nameOf(r, "id")
	if err != nil {
		return err
	}
	body, err := readBytes(r)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var in api.RolloutInput
	if err := readJSON(r, &in); err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	ro, err := s.readRollout(id, in, c)
	if err != nil {
		return err
	}
	ro.Digest = hex.EncodeToString(sum[:])
	stage, publishes, err := s.beginStage(r.Context(), ro, 0)
	if err != nil {
		return err
	}
	event := Event{Caller: c.Name, Action: "rollout.start", Target: id}
	started, err := s.store.AddRollout(r.Context(), stage, publishes, disjoint(ro), s.auditRollout(r.Context(), event, publishes))
	switch {
	case errors.Is(err, store.ErrExists) && started.Digest == ro.Digest:
		answer(w, http.StatusOK, started.Rollout)
		return nil
	case errors.Is(err, store.ErrExists):
		return refuse(http.StatusConflict, api.CodeExists, "rollout "+strconv.Quote(id)+" exists and is another", "give this one an id of its own")
	case err != nil:
		return rolloutError(err)
	}
	s.publishedAll(r.Context(), publishes)
	w.Header().Set("ETag", etag(strconv.FormatInt(started.Rev, 10)))
	answer(w, http.StatusCreated, started.Rollout)
	return nil
}

// rolloutError says why the releases of a stage cannot go live.
func rolloutError(err error) error {
	var p *store.PublishError
	switch {
	case !errors.As(err, &p):
		return err
	case errors.Is(err, store.ErrNotFound):
		return refuse(http.StatusUnprocessableEntity, api.CodeInvalid, fmt.Sprintf("bundle %s is not stored", p.Release.Bundle), "upload the bundle before releasing it")
	case errors.Is(err, store.ErrChanged):
		return refuse(http.StatusPreconditionFailed, api.CodeChanged,
			fmt.Sprintf("revision %d of gateway %q does not follow what is live", p.Release.Revision, p.Release.Gateway), "look at what is live and sign the releases again")
	}
	return err
}

// disjoint refuses a rollout that shares a gateway with one that is running.
func disjoint(r store.Rollout) func(running []store.Rollout) error {
	return func(running []store.Rollout) error {
		for _, other := range running {
			theirs := gatewaysOf(other)
			for gateway := range gatewaysOf(r) {
				if theirs[gateway] {
					return refuse(http.StatusConflict, api.CodeExists, fmt.Sprintf("rollout %q of gateway %q is running", other.ID, gateway), "wait for it, or stop it")
				}
			}
		}
		return nil
	}
}

func gatewaysOf(r store.Rollout) map[string]bool {
	out := map[string]bool{}
	for _, stage := range r.Plans {
		for _, p := range stage.Releases {
			out[p.Release.Gateway] = true
		}
	}
	return out
}

// readRollout checks an input and makes a rollout of it that has not begun.
func (s *Server) readRollout(id string, in api.RolloutInput, c *caller) (store.Rollout, error) {
	now := s.now()
	r := store.Rollout{Rollout: api.Rollout{
		ID: id, Status: api.RolloutRunning, MaxErrorRate: in.MaxErrorRate, MinInstances: max(1, in.MinInstances),
		CreatedAt: now, UpdatedAt: now, CreatedBy: c.Name,
	}}
	origin, err := checkOrigin(in.Run, in.Commit)
	if err != nil {
		return r, err
	}
	if r.Observe, err = rolloutTime("observe", in.Observe, defaultObserve); err != nil {
		return r, err
	}
	if r.Timeout, err = rolloutTime("timeout", in.Timeout, defaultTimeout); err != nil {
		return r, err
	}
	switch {
	case !(in.MaxErrorRate >= 0 && in.MaxErrorRate <= 1):
		return r, invalid("max_error_rate must be from 0 to 1")
	case in.MinInstances < 0 || in.MinInstances > 1e6:
		return r, invalid("min_instances must be from 0 to 1000000")
	case len(in.Stages) == 0 || len(in.Stages) > maxStages:
		return r, invalid("stages must be 1 to %d", maxStages)
	}
	seen := map[string]bool{}
	for i, stage := range in.Stages {
		if len(stage.Releases) == 0 || len(stage.Releases) > maxStageReleases {
			return r, invalid("stage %d must have 1 to %d releases", i, maxStageReleases)
		}
		var shown api.RolloutStage
		var plan store.RolloutStage
		for _, one := range stage.Releases {
			p, err := s.readRolloutRelease(one, origin, c)
			if err != nil {
				return r, err
			}
			if gateway := p.Release.Gateway; seen[gateway] {
				return r, invalid("gateway %q is there twice", gateway)
			}
			seen[p.Release.Gateway] = true
			plan.Releases = append(plan.Releases, p)
			shown.Releases = append(shown.Releases, api.RolloutRelease{
				Gateway: p.Release.Gateway, Bundle: p.Release.Bundle, Revision: p.Release.Revision, CanUndo: p.Undo != nil,
			})
		}
		r.Plans, r.Stages = append(r.Plans, plan), append(r.Stages, shown)
	}
	return r, nil
}

func rolloutTime(name, text string, otherwise time.Duration) (string, error) {
	if text == "" {
		return otherwise.String(), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxRolloutTime {
		return "", invalid("%s must be a duration from 0s to %s, such as 5m", name, maxRolloutTime)
	}
	return d.String(), nil
}

func (s *Server) readRolloutRelease(in api.RolloutReleaseInput, from origin, c *caller) (store.RolloutRelease, error) {
	var out store.RolloutRelease
	var err error
	if out.Release, err = s.readRelease(in.Signed, "", from, c); err != nil {
		return out, err
	}
	if !c.may(out.Release.Gateway, api.RoleAuthor) {
		return out, refuse(http.StatusForbidden, api.CodeForbidden, fmt.Sprintf("%q may not release to gateway %q", c.Name, out.Release.Gateway), "")
	}
	if len(in.Undo) == 0 {
		return out, nil
	}
	undo, err := s.readRelease(in.Undo, out.Release.Gateway, from, c)
	if err != nil {
		return out, err
	}
	if undo.Predecessor != out.Release.Bundle || undo.Revision <= out.Release.Revision {
		return out, invalid("the release that undoes revision %d of gateway %q must have a higher revision and %s as its predecessor",
			out.Release.Revision, out.Release.Gateway, out.Release.Bundle)
	}
	out.Undo = &undo
	return out, nil
}

func (s *Server) listRollouts(w http.ResponseWriter, r *http.Request, c *caller) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	all, err := s.store.Rollouts(r.Context(), limit)
	if err != nil {
		return err
	}
	list := api.RolloutList{Rollouts: []api.Rollout{}}
	for _, ro := range all {
		if c.mayAll(gatewaysOf(ro), readers()...) {
			list.Rollouts = append(list.Rollouts, ro.Rollout)
		}
	}
	answer(w, http.StatusOK, list)
	return nil
}

// getRollout answers with how a rollout stands. With after it waits for a newer
// revision of it.
func (s *Server) getRollout(w http.ResponseWriter, r *http.Request, c *caller) error {
	after, _, err := afterOf(r)
	if err != nil {
		return err
	}
	var ro store.Rollout
	err = s.await(w, r, time.Time{}, func() (bool, error) {
		var err error
		ro, err = s.store.Rollout(r.Context(), r.PathValue("id"))
		return ro.Rev > int64(after), err
	})
	if err == nil && !c.mayAll(gatewaysOf(ro), readers()...) {
		err = store.ErrNotFound
	}
	if errors.Is(err, store.ErrNotFound) {
		return missing("rollout " + strconv.Quote(r.PathValue("id")))
	}
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag(strconv.FormatInt(ro.Rev, 10)))
	answer(w, http.StatusOK, ro.Rollout)
	return nil
}

// stopRollout stops a rollout that is running and undoes what it can.
func (s *Server) stopRollout(w http.ResponseWriter, r *http.Request, c *caller) error {
	id := r.PathValue("id")
	for {
		ro, err := s.store.Rollout(r.Context(), id)
		if err == nil && !c.mayAll(gatewaysOf(ro), api.RoleAuthor) {
			err = store.ErrNotFound
		}
		if errors.Is(err, store.ErrNotFound) {
			return missing("rollout " + strconv.Quote(id))
		}
		if err != nil {
			return err
		}
		if ro.Status != api.RolloutRunning {
			return refuse(http.StatusConflict, api.CodeDecided, fmt.Sprintf("rollout %q is %s", id, ro.Status), "")
		}
		stopped, err := s.stop(r.Context(), ro, fmt.Sprintf("stopped by %q", c.Name), c.Name)
		if errors.Is(err, store.ErrChanged) {
			continue // it has moved on meanwhile
		}
		if err != nil {
			return err
		}
		answer(w, http.StatusOK, stopped.Rollout)
		return nil
	}
}

// origin is where a release was made, as its publisher says.
type origin struct{ run, commit string }

func originOf(r *http.Request) (origin, error) {
	return checkOrigin(r.Header.Get(api.HeaderRun), r.Header.Get(api.HeaderCommit))
}

func checkOrigin(run, commit string) (origin, error) {
	for name, text := range map[string]string{"run": run, "commit": commit} {
		if len(text) > api.MaxOrigin || bytes.ContainsFunc([]byte(text), func(r rune) bool { return r < ' ' || r > '~' }) {
			return origin{}, invalid("%s must be at most %d bytes of printable ASCII", name, api.MaxOrigin)
		}
	}
	return origin{run, commit}, nil
}
