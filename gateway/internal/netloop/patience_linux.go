package netloop

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// patience is what a loop has before it waits for sockets: when it lets others
// run first, more is ready, and is served by one wake-up. A loop that waits is
// woken by the first who sends to it, and takes the processor from the others
// before they have sent, or before the first has sent more.
type patience struct {
	// Many busy connections are worth letting others run at all.
	turn   uint32        // counts turns, of which each lasts crowdTurn
	began  time.Duration // the turn
	served int           // connections in the turn
	crowd  bool          // were served in the turn before
	pause  time.Duration // until when others may not be let run

	// A connection that sends much is worth a nap, if it is the only one.
	bulk atomic.Bool // much was read
}

const (
	crowdTurn  = time.Millisecond
	crowdMany  = 6                     // connections: of three sessions
	crowdSlow  = time.Millisecond      // is too long for others to run
	crowdPause = 20 * time.Millisecond // follows then: they have work of their own

	bulkRead = 8000                  // bytes: PostgreSQL sends 8 KiB at a time
	bulkNap  = 20 * time.Microsecond // to which the kernel adds some
)

var started = time.Now()

// now is a time to compare with others.
func now() time.Duration { return time.Since(started) }

// serves is told of a connection that is served.
func (p *patience) serves(c *Conn) {
	if c.turn != p.turn {
		c.turn = p.turn
		p.served++
	}
}

// read is told how many bytes were read from a connection.
func (p *patience) read(n int) {
	if n >= bulkRead {
		p.bulk.Store(true)
	}
}

// have lets others run, after the sockets of so many events were served.
func (p *patience) have(events int) {
	bulk := p.bulk.Load() && p.bulk.Swap(false) && events == 1
	switch at := now(); {
	case p.crowded(at):
		_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) // it cannot fail
		p.took(at, now())
	case bulk:
		nap := syscall.NsecToTimespec(int64(bulkNap))
		_, _, _ = syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&nap)), 0, 0) // interrupted, it is shorter
	}
}

// crowded reports whether many connections are busy, and others may be let run.
func (p *patience) crowded(at time.Duration) bool {
	if length := at - p.began; length >= crowdTurn {
		p.crowd = p.served >= crowdMany && length < 2*crowdSlow
		p.turn, p.began, p.served = p.turn+1, at, 0
	}
	return p.crowd && at >= p.pause
}

// took is told for how long others ran.
func (p *patience) took(from, to time.Duration) {
	if to-from > crowdSlow {
		p.pause = to + crowdPause
	}
}
