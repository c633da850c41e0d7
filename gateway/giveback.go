package gateway

import (
	"context"
	"runtime/debug"
	"time"
)

// giveBackAfter is for how long nothing must have been decided before memory is
// given back to the system.
const giveBackAfter = 5 * time.Second

// giveBackLoop gives memory back while every session is idle: what logins and
// statements left behind, and the stacks that they needed, which shrink by half
// each time.
func (s *Server) giveBackLoop(ctx context.Context) {
	const times = 3
	tick := time.NewTicker(giveBackAfter)
	defer tick.Stop()
	var last uint64
	for quiet := times; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.decided.Load()
		switch {
		case now != last:
			last, quiet = now, 0
		case quiet < times:
			quiet++
			debug.FreeOSMemory()
		}
	}
}
