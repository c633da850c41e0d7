package gateway

import (
	"context"
	"time"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// stuckLoop ends sessions in which one write to the client or to the database
// takes longer than the limit. Nothing is buffered meanwhile: whoever does not
// read stops the other side. Each write is looked at eight times in the limit,
// so that writing costs no clock.
func (s *Server) stuckLoop(ctx context.Context) {
	const looks = 8
	tick := time.NewTicker(max(s.cfg.Limits.Stuck/looks, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, live := range s.sessions.all() {
			if r := live.stuck(looks, s.cfg.Limits.Stuck); r != nil {
				live.relay.End(r)
			}
		}
	}
}

// lookedAt is what stuckLoop saw of a session, which alone uses it.
type lookedAt struct {
	client, upstream         uint64 // counts of writes, odd within one
	clientSame, upstreamSame int    // how many times in a row
}

// stuck says why a session must end if a write has been the same for so many
// looks.
func (s *session) stuck(looks int, limit time.Duration) *refusal.Refusal {
	client, upstream := s.relay.Writes()
	same := func(last *uint64, times *int, now uint64) bool {
		if now%2 == 0 || now != *last {
			*last, *times = now, 0
			return false
		}
		*times++
		return *times >= looks
	}
	switch {
	case same(&s.seen.client, &s.seen.clientSame, client):
		return refusal.New(refusal.ClientStuck, "the client took nothing for %v", limit)
	case same(&s.seen.upstream, &s.seen.upstreamSame, upstream):
		return refusal.New(refusal.UpstreamStuck, "the database took nothing for %v", limit)
	}
	return nil
}
