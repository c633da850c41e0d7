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
}

// cancelKey is what a client cancels with: BackendKeyData.
type cancelKey struct {
	pid    uint32
	secret []byte
}

// add registers a session under a fresh key whose secret has size bytes.
func (r *registry) add(s *session, size int) cancelKey {
	key := cancelKey{secret: make([]byte, size)}
	_, _ = rand.Read(key.secret) // never fails, see crypto/rand
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = map[uint32]*session{}
	}
	for {
		var b [4]byte
		_, _ = rand.Read(b[:])
		key.pid = binary.BigEndian.Uint32(b[:]) &^ (1 << 31) // clients print it as a positive number
		if _, taken := r.sessions[key.pid]; !taken && key.pid != 0 {
			break
		}
	}
	s.key = key
	r.sessions[key.pid] = s
	return key
}

func (r *registry) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s.key.pid)
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
