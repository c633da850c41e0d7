package relay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// cancels counts the gateway's own cancel requests that are under way. The
// server cancels whatever it runs when one comes: the client is not told that
// it may send another statement before the server has acted on them.
type cancels struct {
	n    atomic.Int32
	mu   sync.Mutex
	none sync.Cond // n has become 0; its lock is mu
}

func (c *cancels) begin() { c.n.Add(1) }

func (c *cancels) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n.Add(-1)
	c.none.Broadcast()
}

// await waits until none is under way.
func (c *cancels) await(l *lane) {
	if c.n.Load() == 0 {
		return
	}
	defer l.leave()()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.n.Load() > 0 {
		c.none.Wait()
	}
}

// cancelUpstream has the server cancel what it runs. It is called within
// begin and end, and returns when the server has acted.
func (s *Session) cancelUpstream() {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	_ = s.cfg.Upstream.Cancel(ctx)
}
