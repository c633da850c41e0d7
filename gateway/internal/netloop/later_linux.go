package netloop

import "sync"

// later is what a loop with a ring sends together: while it serves the sockets
// of one wake-up, what is written is kept, and sent when all have been served.
// Otherwise each send wakes a process that takes the processor from the loop.
type later struct {
	ring *ring // of the loop; nil: everything is sent at once

	mu      sync.Mutex
	serving bool    // the loop is, and will send; guarded by mu
	conns   []*Conn // with something to send; guarded by mu

	taken []*Conn // of the loop
}

// laterMost is how much of a connection is kept, in bytes: more than most
// statements and rows take.
const laterMost = 4 << 10

// laterBuffers are for what is kept.
var laterBuffers = sync.Pool{New: func() any { return new([laterMost]byte) }}

// add has the loop send for a connection, whose lock is held. It reports
// whether the loop does.
func (l *later) add(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.serving {
		l.conns = append(l.conns, c)
	}
	return l.serving
}

// begin is called before the loop serves.
func (l *later) begin() {
	if l.ring == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving = true
}

// sendFull sends if there is enough for the ring.
func (l *later) sendFull() {
	if l.take(ringSize) {
		l.send()
	}
}

// end sends what is left, after the loop has served.
func (l *later) end() {
	for l.take(1) {
		l.send()
	}
}

// take takes the connections to send for, if they are at least so many. If
// there is none at all, the loop has served.
func (l *later) take(least int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) < least {
		l.serving = l.serving && least > 1
		return false
	}
	l.taken, l.conns = l.conns, l.taken[:0]
	return true
}

// send sends for those that were taken.
func (l *later) send() {
	for rest := l.taken; len(rest) > 0; {
		some := rest[:min(len(rest), ringSize)]
		rest = rest[len(some):]
		for _, c := range some {
			c.mu.Lock()
			c.listed = false
		}
		if len(some) == 1 || l.ring == nil {
			for _, c := range some {
				c.sendPendingLocked()
			}
		} else if err := l.ring.send(some); err != nil {
			_ = l.ring.close() // it is of no use any more
			l.ring = nil
		}
		for _, c := range some {
			c.mu.Unlock()
		}
	}
	clear(l.taken)
}
