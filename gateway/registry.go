package gateway

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"sync"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// registry holds the live sessions, by the process number of the key that
// their clients cancel with.
type registry struct {
	mu       sync.Mutex
	sessions map[uint32]*session
	perName  map[string]int // sessions of each identity
	closed   bool           // nobody is let in any more
}

// cancelKey is what a client cancels with: BackendKeyData.
type cancelKey struct {
	pid    uint32
	secret []byte
}

// add registers a session of an identity under a fresh key whose secret has
// size bytes, whose process number is made by number, unless the identity has as many sessions as it may, or the server
// stops.
func (r *registry) add(s *session, identity string, size, most int, number func(random uint32) uint32) *refusal.Refusal {
	key := cancelKey{secret: make([]byte, size)}
	_, _ = rand.Read(key.secret) // never fails, see crypto/rand
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions, r.perName = map[uint32]*session{}, map[string]int{}
	}
	if why := r.roomLocked(identity, most); why != nil {
		return why
	}
	for {
		var b [4]byte
		_, _ = rand.Read(b[:])
		key.pid = number(binary.BigEndian.Uint32(b[:]))
		if _, taken := r.sessions[key.pid]; !taken && key.pid != 0 {
			break
		}
	}
	s.key, s.countedAs = key, identity
	r.sessions[key.pid] = s
	r.perName[identity]++
	return nil
}

// room says why add would refuse a session of an identity now.
func (r *registry) room(identity string, most int) *refusal.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.roomLocked(identity, most)
}

func (r *registry) roomLocked(identity string, most int) *refusal.Refusal {
	switch {
	case r.closed:
		return shuttingDown()
	case r.perName[identity] >= most:
		return refusal.New(refusal.TooManyOfIdentity, "%q has %d connections already", identity, most)
	}
	return nil
}

// refuseNew has add refuse everybody from now on.
func (r *registry) refuseNew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

func (r *registry) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s.key.pid)
	if r.perName[s.countedAs]--; r.perName[s.countedAs] <= 0 {
		delete(r.perName, s.countedAs)
	}
}

// cancel cancels what the session of that key is doing. A wrong key does
// nothing and takes no less time.
func (r *registry) cancel(ctx context.Context, pid uint32, secret []byte) error {
	r.mu.Lock()
	s := r.sessions[pid]
	r.mu.Unlock()
	if s == nil || subtle.ConstantTimeCompare(s.key.secret, secret) != 1 {
		return nil
	}
	return s.relay.Cancel(ctx)
}

// all returns the live sessions.
func (r *registry) all() []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*session, 0, len(r.sessions))
	for _, s := range r.sessions {
		out = append(out, s)
	}
	return out
}

// endAll ends every session.
func (r *registry) endAll(why *refusal.Refusal) {
	for _, s := range r.all() {
		s.relay.End(why)
	}
}
