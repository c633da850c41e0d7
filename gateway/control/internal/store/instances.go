package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

const instanceColumns = "gateway, instance, version, bundle, revision, error, sessions, started_at, seen_at, " +
	"statements, denied, failed, held, waiting, since"

func scanInstance(row scanner) (api.Instance, error) {
	var i api.Instance
	var gateway string
	var revision, started, seen, since int64
	err := row.Scan(&gateway, &i.Instance, &i.Version, &i.Bundle, &revision, &i.Error, &i.Sessions, &started, &seen,
		&i.Statements, &i.Denied, &i.Failed, &i.Held, &i.Waiting, &since)
	i.Revision, i.StartedAt, i.SeenAt = uint64(revision), fromMicros(started), fromMicros(seen)
	i.Since = optional(since)
	return i, err
}

// Instances returns the instances of a gateway that reported since, by name.
func (s *Store) Instances(ctx context.Context, gateway string, since time.Time) ([]api.Instance, error) {
	return collect(ctx, s.r, scanInstance, "SELECT "+instanceColumns+" FROM instances WHERE gateway = $1 AND seen_at >= $2 ORDER BY instance", gateway, micros(since))
}

// ForgetInstances removes the instances that have not reported since.
func (s *Store) ForgetInstances(ctx context.Context, since time.Time) error {
	_, err := s.w.ExecContext(ctx, "DELETE FROM instances WHERE seen_at < $1", micros(since))
	return err
}

// ForgetInstance removes an instance, if there is one.
func (s *Store) ForgetInstance(ctx context.Context, gateway, instance string) error {
	_, err := s.w.ExecContext(ctx, "DELETE FROM instances WHERE gateway = $1 AND instance = $2", gateway, instance)
	return err
}

// Gateways returns every gateway that a draft, a release or an instance
// names, sorted, with its live release and the number of instances that
// reported since.
func (s *Store) Gateways(ctx context.Context, since time.Time) ([]api.Gateway, error) {
	byName := make(map[string]*api.Gateway)
	gateway := func(name string) *api.Gateway {
		if byName[name] == nil {
			byName[name] = &api.Gateway{Name: name}
		}
		return byName[name]
	}
	drafts, err := collect(ctx, s.r, scanString, "SELECT name FROM objects WHERE kind = 'gateway'")
	if err != nil {
		return nil, err
	}
	for _, name := range drafts {
		gateway(name)
	}
	releases, err := collect(ctx, s.r, scanRelease, "SELECT "+releaseColumns+" FROM releases r "+
		"WHERE revision = (SELECT max(revision) FROM releases WHERE gateway = r.gateway)")
	if err != nil {
		return nil, err
	}
	for _, r := range releases {
		gateway(r.Gateway).Live = &r
	}
	reported, err := collect(ctx, s.r, scanString, "SELECT gateway FROM instances WHERE seen_at >= $1", micros(since))
	if err != nil {
		return nil, err
	}
	for _, name := range reported {
		gateway(name).Instances++
	}
	out := make([]api.Gateway, 0, len(byName))
	for _, g := range byName {
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b api.Gateway) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func scanString(row scanner) (string, error) {
	var v string
	err := row.Scan(&v)
	return v, err
}
