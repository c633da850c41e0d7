package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/posternhq/postern/gateway/control/internal/store"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang/bundle"
)

// reportedSince is how recently an instance must have reported to count.
const reportedSince = time.Minute

// getRelease answers with the live release. With after it waits for a newer
// revision.
func (s *Server) getRelease(w http.ResponseWriter, r *http.Request, _ *caller) error {
	gateway := r.PathValue("gateway")
	after, conditional, err := afterOf(r)
	if err != nil {
		return err
	}
	look := s.store.Live
	if r.URL.Query().Get("wait") != "" {
		look = s.store.LiveSeen
	}
	var live api.Release // none yet: revision 0
	err = s.await(w, r, time.Time{}, func() (bool, error) {
		newest, err := look(r.Context(), gateway)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		live = newest
		return live.Revision > after, err
	})
	switch {
	case err != nil:
		return err
	case live.Revision == 0:
		return missing("a release for gateway " + strconv.Quote(gateway))
	}
	w.Header().Set("ETag", etag(live.Bundle))
	if conditional && live.Revision <= after {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	answer(w, http.StatusOK, live)
	return nil
}

func afterOf(r *http.Request) (after uint64, given bool, err error) {
	text := r.URL.Query().Get("after")
	if text == "" {
		return 0, false, nil
	}
	after, err = strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, false, invalid("after must be a revision")
	}
	return after, true, nil
}

func (s *Server) listReleases(w http.ResponseWriter, r *http.Request, _ *caller) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	releases, err := s.store.Releases(r.Context(), r.PathValue("gateway"), limit)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, api.ReleaseList{Releases: releases})
	return nil
}

// publish stores a signed release if the publisher has seen what is live.
func (s *Server) publish(w http.ResponseWriter, r *http.Request, c *caller) error {
	gateway, err := nameOf(r, "gateway")
	if err != nil {
		return err
	}
	pre, err := preconditionOf(r)
	if err != nil {
		return err
	}
	signed, err := readBytes(r)
	if err != nil {
		return err
	}
	from, err := originOf(r)
	if err != nil {
		return err
	}
	release, err := s.readRelease(signed, gateway, from, c)
	if err != nil {
		return err
	}
	live, published, err := s.store.Publish(r.Context(), release, pre.version, s.audit(r.Context(), publishing(release)))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return refuse(http.StatusUnprocessableEntity, api.CodeInvalid, fmt.Sprintf("bundle %s is not stored", release.Bundle), "upload the bundle before releasing it")
	case errors.Is(err, store.ErrChanged):
		return overtaken(release, pre, live)
	case err != nil:
		return err
	}
	w.Header().Set("ETag", etag(live.Bundle))
	status := http.StatusOK
	if published {
		s.published(r.Context(), live)
		status = http.StatusCreated
	}
	answer(w, status, api.ReleaseCreated{Live: live})
	return nil
}

// publishing is the event of a release that goes live.
func publishing(r api.Release) Event {
	return Event{
		Caller: r.ReleasedBy, Action: "release.publish", Target: fmt.Sprintf("%s revision %d", r.Gateway, r.Revision),
		Gateway: r.Gateway, Bundle: r.Bundle, Reason: r.Note,
	}
}

// published counts a release that is live now, and tells the operator what
// gateways are about to run.
func (s *Server) published(ctx context.Context, live api.Release) {
	s.config.Metrics.Published.Inc()
	s.log.LogAttrs(ctx, slog.LevelInfo, "release published", slog.String("gateway", live.Gateway),
		slog.Uint64("revision", live.Revision), slog.String("bundle", live.Bundle), slog.String("caller", live.ReleasedBy))
}

// readRelease takes a release at its word: it is gateways that verify it. It
// must be the gateway's, or anyone's if that is empty.
func (s *Server) readRelease(signed []byte, gateway string, from origin, c *caller) (api.Release, error) {
	inside, err := bundle.InspectUnverified(signed)
	switch {
	case err != nil:
		return api.Release{}, invalid("the release cannot be read: %s", err)
	case inside.Type != bundle.TypeRelease:
		return api.Release{}, invalid("this is not a release but %s", inside.Type)
	case gateway != "" && inside.Release.Gateway != gateway:
		return api.Release{}, invalid("the release is for gateway %q, the path says %q", inside.Release.Gateway, gateway)
	}
	in := inside.Release
	return api.Release{
		Gateway: in.Gateway, Bundle: in.Bundle, Predecessor: in.Predecessor, Revision: in.Revision, Time: in.Time, Note: in.Note,
		KeyID: inside.KeyID, ReleasedBy: c.Name, ReleasedAt: s.now(), Signed: signed,
		Run: from.run, Commit: from.commit,
	}, nil
}

// overtaken says why a release does not follow what is live.
func overtaken(r api.Release, pre precondition, live api.Release) error {
	message := fmt.Sprintf("gateway %q has no live release", r.Gateway)
	if live.Bundle != "" {
		message = fmt.Sprintf("revision %d of gateway %q is live, with bundle %s, released by %q", live.Revision, r.Gateway, live.Bundle, live.ReleasedBy)
	}
	switch {
	case live.Bundle != pre.version:
		message += "; that is not what you had seen"
	case r.Predecessor != live.Bundle:
		message += fmt.Sprintf("; the release names %q as its predecessor", r.Predecessor)
	case r.Revision <= live.Revision:
		message += fmt.Sprintf("; revision %d is not higher", r.Revision)
	default:
		message += fmt.Sprintf("; revision %d is more than %d higher", r.Revision, uint64(store.MaxRevisionStep))
	}
	e := refuse(http.StatusPreconditionFailed, api.CodeChanged, message, "look at what is live and publish again")
	if live.Bundle != "" {
		e.Live = &live
	}
	return e
}

// listGateways lists the gateways that the caller may read.
func (s *Server) listGateways(w http.ResponseWriter, r *http.Request, c *caller) error {
	gateways, err := s.store.Gateways(r.Context(), s.now().Add(-reportedSince))
	if err != nil {
		return err
	}
	gateways = slices.DeleteFunc(gateways, func(g api.Gateway) bool { return !c.may(g.Name, readers()...) })
	answer(w, http.StatusOK, api.GatewayList{Gateways: gateways})
	return nil
}
