package gateway

import (
	"log/slog"
	"time"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// shuttingDown is what clients are told when the server stops.
func shuttingDown() *refusal.Refusal {
	return refusal.New(refusal.ShuttingDown, "the gateway is shutting down")
}

// drain ends the sessions once nobody new is let in: those that do nothing at
// once, the others as soon as their statement or transaction has ended, and
// all when the time that they are given is up.
func (s *Server) drain() {
	s.sessions.refuseNew()
	s.spares.Close()
	const look = 20 * time.Millisecond
	deadline := time.Now().Add(s.cfg.Limits.Drain)
	for {
		busy := 0
		for _, live := range s.sessions.all() {
			if live.relay.Idle() {
				live.relay.End(shuttingDown())
			} else {
				busy++
			}
		}
		if busy == 0 && s.connected.Load() == 0 {
			return
		}
		if time.Now().After(deadline) {
			if busy > 0 {
				s.cfg.Logger.Warn("sessions are ended in the middle of what they do", slog.Int("sessions", busy))
			}
			s.sessions.endAll(shuttingDown())
			return
		}
		time.Sleep(look)
	}
}
