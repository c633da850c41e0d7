package gateway

import (
	"reflect"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/refusal"
	"github.com/posternhq/postern/policylang"
)

// revocations is what was taken back. It is immutable.
type revocations struct {
	subjects map[string]time.Time // by name: tokens issued until then
	tokens   map[string]bool      // by jti
	sessions map[string]bool      // by id
	accounts map[string]time.Time // by issuer and sub: tokens issued until then
	signIns  map[string]bool      // by issuer and sid
	unnamed  map[string]time.Time // by issuer and sub: tokens without a sid issued until then
}

// Revoke makes a list of revocations the one in force, in place of any other,
// and ends the live sessions that it names.
func (s *Server) Revoke(list []api.Revocation) {
	r := &revocations{subjects: map[string]time.Time{}, tokens: map[string]bool{}, sessions: map[string]bool{}, accounts: map[string]time.Time{}, signIns: map[string]bool{}, unnamed: map[string]time.Time{}}
	for _, one := range list {
		switch one.Kind {
		case api.RevokeSubject:
			r.subjects[one.Value] = later(r.subjects[one.Value], one.CreatedAt)
		case api.RevokeAccount:
			r.accounts[one.Value] = later(r.accounts[one.Value], one.CreatedAt)
		case api.RevokeSignIn:
			r.endSignIn(one)
		case api.RevokeToken:
			r.tokens[one.Value] = true
		case api.RevokeSession:
			r.sessions[one.Value] = true
		}
	}
	if before := s.revoked.Swap(r); !reflect.DeepEqual(before, r) {
		s.spares.Drop()
	}
	for _, live := range s.sessions.all() {
		if why := live.revoked(live.view.Load().subject); why != nil {
			live.relay.End(why)
		}
	}
}

// endSignIn takes back what rests on one sign-in. Tokens that don't say on which
// they rest, and may so rest on this one, are taken back too.
func (r *revocations) endSignIn(one api.Revocation) {
	parts := strings.SplitN(one.Value, " ", 3)
	if len(parts) < 2 {
		return
	}
	r.signIns[parts[0]+" "+parts[1]] = true
	if len(parts) == 3 {
		account := parts[0] + " " + parts[2]
		r.unnamed[account] = later(r.unnamed[account], one.CreatedAt)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// revoked says why the session has no right to be, if it was taken back.
func (s *session) revoked(subject *policylang.Subject) *refusal.Refusal {
	r := s.server.revoked.Load()
	if r == nil {
		return nil
	}
	if r.sessions[s.info.ID] || subject.TokenID != "" && r.tokens[subject.TokenID] {
		return refusal.New(refusal.Revoked, "the session was revoked")
	}
	for party := subject; party != nil; party = party.Actor {
		until, named := r.subjects[party.Name]
		account := party.Issuer + " " + party.ID
		if at, ended := r.accounts[account]; ended {
			until, named = later(until, at), true
		}
		signIn, _ := party.Claims["sid"].(string)
		if at, ended := r.unnamed[account]; ended && signIn == "" {
			until, named = later(until, at), true
		}
		if named && !s.issued().After(until) {
			return refusal.New(refusal.Revoked, "what was issued to %q until %s was revoked", party.Name, until.UTC().Format(time.RFC3339))
		}
		if signIn != "" && r.signIns[party.Issuer+" "+signIn] {
			return refusal.New(refusal.Revoked, "the sign-in of %q was ended at its identity provider", party.Name)
		}
	}
	return nil
}

// issued is when the token was, or for a credential the token that it was
// minted for. It is to the second, so that a revocation also takes back what
// was issued within the same second.
func (s *session) issued() time.Time {
	switch at := s.claims["iat"].(type) {
	case int64:
		return time.Unix(at, 0)
	case float64:
		return time.Unix(int64(at), 0)
	}
	return time.Time{}
}
