package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	refreshAfter       = 10 * time.Minute // keys older than this are read again before use
	maxStale           = time.Hour        // keys older than this are not used
	rediscoverAfter    = time.Hour        // the discovery document is read again with the keys
	unknownKeyInterval = 30 * time.Second // between requests that unknown keys cause
	firstPause         = time.Second      // after a failed request; doubled by each further one
	longestPause       = 30 * time.Second
)

// errPaused says that the issuer failed a moment ago and is not asked yet.
var errPaused = errors.New("the issuer is not asked again yet")

// keySet is the published keys of one issuer.
type keySet struct {
	issuer  string
	label   string // the issuer without a password that its URL may hold
	fetcher *fetcher
	clock   func() time.Time
	log     *slog.Logger

	mu         sync.Mutex // guards what follows
	keys       []jose.JSONWebKey
	read       time.Time // when keys was last read; zero if never
	keysURL    string    // of the discovery document; empty if not known
	discovered time.Time
	attempted  time.Time // when the last request began
	unknownAt  time.Time // when an unknown key last caused a request
	failures   int       // requests failed in a row
	failure    error     // of the last one; nil if it succeeded
	flight     *flight   // the request under way; nil if none
}

// flight is one request that any number of callers wait for. err may be read
// once done is closed.
type flight struct {
	done chan struct{}
	err  error
}

func newKeySet(issuer string, f *fetcher, clock func() time.Time, log *slog.Logger) *keySet {
	label := "(not a URL)"
	if u, err := url.Parse(issuer); err == nil {
		label = u.Redacted()
	}
	return &keySet{issuer: issuer, label: label, fetcher: f, clock: clock, log: log}
}

// find returns the public key that a token says it was signed with.
func (s *keySet) find(ctx context.Context, token envelope) (any, *Error) {
	fresh, err := s.refresh(ctx, keysOld)
	if err != nil && !s.usable() {
		return nil, s.unreachable(err)
	}
	if key, ok := s.lookUp(token); ok {
		return key, nil
	}
	if !fresh { // the issuer may have changed its keys since
		if _, err := s.refresh(ctx, keyUnknown); err != nil {
			return nil, s.unreachable(err)
		}
		if key, ok := s.lookUp(token); ok {
			return key, nil
		}
	}
	if token.keyID == "" {
		return nil, refuse(CodeUnknownKey, "the token names no key and %q has not exactly one for its algorithm", s.issuer)
	}
	return nil, refuse(CodeUnknownKey, "the token names a key that %q does not publish", s.issuer)
}

func (s *keySet) unreachable(err error) *Error {
	return &Error{Code: CodeIssuerUnreachable, Detail: fmt.Sprintf("no keys of %q: %v", s.label, err), Err: err}
}

// usable reports whether keys are known and not too stale to be believed.
func (s *keySet) usable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.read.IsZero() && s.clock().Sub(s.read) < maxStale
}

// lookUp finds the one key that fits: by its id, or without one if there is no
// choice (OpenID Connect Core 1.0, section 10.1).
func (s *keySet) lookUp(token envelope) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found any
	for _, key := range s.keys {
		if !fits(key, token) {
			continue
		}
		if found != nil {
			return nil, false
		}
		found = key.Key
	}
	return found, found != nil
}

// reason is why keys are asked for.
type reason int

const (
	keysOld    reason = iota // if they are
	keyUnknown               // a token names a key that is not among them
)

// refresh reads the keys if there is reason to, sharing a request that is
// under way, and reports whether they are new. A failed issuer is left alone
// for a while.
func (s *keySet) refresh(ctx context.Context, why reason) (fresh bool, err error) {
	s.mu.Lock()
	now := s.clock()
	f := s.flight
	switch {
	case why == keysOld && !s.read.IsZero() && now.Sub(s.read) < refreshAfter:
		s.mu.Unlock()
		return false, nil
	case f != nil:
	case why == keyUnknown && !s.unknownAt.IsZero() && now.Sub(s.unknownAt) < unknownKeyInterval:
		s.mu.Unlock()
		return false, nil
	case s.failures > 0 && now.Sub(s.attempted) < pause(s.failures):
		err := fmt.Errorf("%w: %w", errPaused, s.failure)
		s.mu.Unlock()
		return false, err
	default:
		if why == keyUnknown {
			s.unknownAt = now
		}
		f = &flight{done: make(chan struct{})}
		s.flight, s.attempted = f, now
		go s.fetchOnce(f) // ends within fetchTimeout
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.err == nil, f.err
	case <-ctx.Done():
		return false, fmt.Errorf("wait for the issuer: %w", context.Cause(ctx))
	}
}

func pause(failures int) time.Duration {
	return min(firstPause<<min(failures-1, 10), longestPause)
}

// fetchOnce reads the keys for all who wait; it does not end with the first
// caller, who may leave.
func (s *keySet) fetchOnce(f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	keys, err := s.fetch(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	s.failure = err
	if err != nil {
		s.failures++
		s.keysURL = "" // perhaps it moved: look again
		s.log.WarnContext(ctx, "could not read the issuer's keys", slog.String("issuer", s.label),
			slog.Int("failures", s.failures), slog.String("error", err.Error()))
	} else {
		s.failures = 0
		s.keys, s.read = keys, s.clock()
		s.log.DebugContext(ctx, "read the issuer's keys", slog.String("issuer", s.label), slog.Int("keys", len(keys)))
	}
	f.err = err
	close(f.done)
}

func (s *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	keysURL, err := s.discover(ctx)
	if err != nil {
		return nil, err
	}
	var published struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := s.fetcher.get(ctx, keysURL, &published); err != nil {
		return nil, err
	}
	if published.Keys == nil {
		return nil, fmt.Errorf("read %q: there is no list of keys in it", keysURL)
	}
	return trustedKeys(*published.Keys), nil
}

// discover returns where the keys are.
func (s *keySet) discover(ctx context.Context) (string, error) {
	s.mu.Lock()
	keysURL, fresh := s.keysURL, s.clock().Sub(s.discovered) < rediscoverAfter
	s.mu.Unlock()
	if keysURL != "" && fresh {
		return keysURL, nil
	}
	var document struct {
		Issuer  string `json:"issuer"`
		KeysURL string `json:"jwks_uri"`
	}
	address := strings.TrimSuffix(s.issuer, "/") + "/.well-known/openid-configuration"
	if err := s.fetcher.get(ctx, address, &document); err != nil {
		return "", err
	}
	if document.Issuer != s.issuer {
		return "", fmt.Errorf("read %q: the issuer calls itself %.200q, the policy calls it %q", address, document.Issuer, s.issuer)
	}
	if err := s.fetcher.checkAddress(document.KeysURL); err != nil {
		return "", fmt.Errorf("read %q: jwks_uri: %w", address, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keysURL, s.discovered = document.KeysURL, s.clock()
	return document.KeysURL, nil
}
