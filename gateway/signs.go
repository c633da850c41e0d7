package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/policylang"
)

// programs of jobs and of people, as parts of application_name in lower case.
var (
	jobPrograms = []string{
		"actions-runner", "airflow", "argo", "celery", "circleci", "cron", "dagster", "dbt", "flyway", "github-actions", "gitlab-runner",
		"jenkins", "kubernetes", "liquibase", "prefect", "sidekiq", "terraform",
	}
	peoplesPrograms = []string{
		"azuredatastudio", "azure data studio", "beekeeper", "datagrip", "dbeaver", "heidisql", "navicat", "pgadmin", "pgcli", "postico", "psql", "tableplus",
	}
)

func isOneOf(application string, programs []string) bool {
	application = strings.ToLower(application)
	return slices.ContainsFunc(programs, func(p string) bool { return strings.Contains(application, p) })
}

// signs returns what is suspicious about the session of a subject, sorted.
func (s *session) signs(subject *policylang.Subject) []string {
	var out []string
	person, job := subject.Kind == "human" && subject.Actor == nil, subject.Kind == "service"
	within := func(network netip.Prefix) bool { return network.Contains(s.info.ClientAddr) }
	if person && slices.ContainsFunc(s.server.cfg.CINetworks, within) {
		out = append(out, policylang.SignHumanFromCI)
	}
	if person && isOneOf(s.info.ApplicationName, jobPrograms) {
		out = append(out, policylang.SignHumanAsJob)
	}
	if job && isOneOf(s.info.ApplicationName, peoplesPrograms) {
		out = append(out, policylang.SignServiceAsPerson)
	}
	if s.server.sightings.shared(s.tokenKey(subject)) {
		out = append(out, policylang.SignSharedToken)
	}
	return out
}

// tokenKey tells one token from others: by issuer and identifier, or if it has
// none by whose it is and when it was issued.
func (s *session) tokenKey(subject *policylang.Subject) string {
	if subject.TokenID != "" {
		return subject.Issuer + "\x00" + subject.TokenID
	}
	return fmt.Sprintf("%s\x00%s\x00%d\x00%d", subject.Issuer, subject.ID, s.issued().Unix(), subject.Expires.Unix())
}

// lookAround notes from where the session's token is used, and makes known what
// is suspicious about it. Other live sessions of the token are seen anew, so
// that what rules say of it holds for them from their next statement on.
func (s *session) lookAround(ctx context.Context) {
	v := s.view.Load()
	key := s.tokenKey(v.subject)
	if s.server.sightings.see(key, s.info.ClientAddr, s.server.cfg.Clock(), v.subject.Expires) {
		if fresh, _ := s.see(v.policy); fresh != nil {
			s.view.Store(fresh)
		}
		for _, other := range s.server.sessions.all() {
			seen := other.view.Load()
			if other != s && other.tokenKey(seen.subject) == key {
				if r := other.adopt(seen.policy); r != nil {
					other.relay.End(r)
				}
			}
		}
	}
	for _, sign := range s.view.Load().signs {
		s.server.cfg.Metrics.Impersonation(sign)
		s.log.LogAttrs(ctx, slog.LevelWarn, "a sign of impersonation", slog.String("sign", sign),
			slog.String("client_addr", s.info.ClientAddr.String()), slog.String("application_name", s.info.ApplicationName))
	}
}

// recordSigns makes what is suspicious about a login evidence: of the session
// that has begun, or of none.
func (s *session) recordSigns(session string) error {
	v := s.view.Load()
	if v == nil {
		return nil
	}
	for _, sign := range v.signs {
		r := s.record(evidence.KindImpersonation, v)
		r.Session, r.Command, r.Reason = session, "LOGIN", sign
		if err := s.append(r, evidence.Process); err != nil {
			return err
		}
	}
	return nil
}

// sightings remembers from which addresses each token was used, for as long as
// it is good.
type sightings struct {
	mu     sync.Mutex
	tokens map[string]*sighting // guarded by mu
	swept  time.Time            // guarded by mu
}

type sighting struct {
	first   netip.Addr
	shared  bool // a second address has used it
	expires time.Time
}

// Bounds of what is remembered.
const (
	maxSightings  = 100_000
	sweepInterval = time.Minute
	longestToken  = 24 * time.Hour // of a token that does not say when it ends
)

// see notes that a token is used from an address, and reports whether the token
// is used from more than one now, and was not before.
func (s *sightings) see(key string, from netip.Addr, now, expires time.Time) (newlyShared bool) {
	if from == netip.IPv6Loopback() {
		from = netip.AddrFrom4([4]byte{127, 0, 0, 1}) // the same machine by either family
	}
	if expires.IsZero() {
		expires = now.Add(longestToken)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	known, ok := s.tokens[key]
	if !ok {
		s.tokens[key] = &sighting{first: from, expires: expires}
		return false
	}
	if known.shared || known.first == from {
		return false
	}
	known.shared = true
	return true
}

// sweep forgets tokens that have expired, and, when there are too many, all:
// then a sign may be missed, but no memory is exhausted. The caller holds mu.
func (s *sightings) sweep(now time.Time) {
	if s.tokens == nil || len(s.tokens) >= maxSightings {
		s.tokens = make(map[string]*sighting)
	}
	if now.Sub(s.swept) < sweepInterval {
		return
	}
	s.swept = now
	for key, known := range s.tokens {
		if now.After(known.expires) {
			delete(s.tokens, key)
		}
	}
}

func (s *sightings) shared(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.tokens[key]
	return ok && known.shared
}
