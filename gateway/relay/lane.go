package relay

import (
	"context"
	"errors"
	"sync"
	"unsafe"

	"github.com/posternhq/postern/gateway/internal/netloop"
)

// lane is how a loop of a session waits: as a task of an event loop that serves
// many sessions, or, when it has none, as a goroutine whose connections block.
type lane struct {
	task   *netloop.Task // nil: a goroutine
	socket *netloop.Conn // that the loop reads from
	away   int           // how often it has left the event loop and not come back
}

// errNothingYet is how a loop that is a task ends a step: there is nothing to
// read. It goes on when there is.
var errNothingYet = errors.New("nothing to read yet")

// fill reads more into f. While there is nothing, neither f nor out, which must
// be empty, holds a buffer.
func (l *lane) fill(f *frames, out *[]byte) error {
	if l.task == nil {
		return f.fill()
	}
	if f.greedy {
		l.task.Pause()
	}
	err := f.fill()
	if netloop.WouldBlock(err) {
		f.giveBack()
		scratch.put(out)
		return errNothingYet
	}
	if *out == nil {
		*out = scratch.get()
	}
	return err
}

// await waits until what was written to a connection is on its way. That is a
// part of the write, for who counts them.
func (l *lane) await(conn *netloop.Conn, w *writes) {
	if l.task == nil || !conn.Pending() {
		return
	}
	w.count.Add(1)
	l.task.AwaitWritten(conn)
	w.count.Add(1)
}

// leave lets the loop wait for anything, until the returned function is called:
// the event loop goes on without it.
func (l *lane) leave() (back func()) {
	if l.task == nil {
		return func() {}
	}
	if l.away++; l.away == 1 {
		l.task.Detach()
	}
	return func() {
		if l.away--; l.away == 0 {
			l.task.Attach()
		}
	}
}

// buffers are buffers of one size, for whoever has something to put in.
type buffers struct {
	size int
	pool sync.Pool // of pointers to their first bytes
}

// scratch is for what a loop writes.
var scratch = buffers{size: 16 << 10}

// full is for what a loop reads.
var full = buffers{size: maxIdleBuffer}

func (b *buffers) get() []byte {
	if p, ok := b.pool.Get().(*byte); ok {
		return unsafe.Slice(p, b.size)[:0]
	}
	return make([]byte, 0, b.size)
}

// put takes a buffer of that size, and drops others.
func (b *buffers) put(buf *[]byte) {
	if cap(*buf) == b.size {
		b.pool.Put(unsafe.SliceData(*buf)) // a slice itself would be copied to the heap
	}
	*buf = nil
}

// start starts both loops: on an event loop if there is one and it can serve
// both connections.
func (s *Session) start(ctx context.Context, end context.CancelCauseFunc) {
	client, upstream := newClientLoop(s), newUpstreamLoop(s)
	ctx = context.WithValue(ctx, loopKey{}, client)
	s.running.Add(2)
	// step runs a loop until there is nothing to read, or to its end.
	step := func(run func() error) func() (more bool) {
		return func() bool {
			err := run()
			if errors.Is(err, errNothingYet) {
				return true
			}
			s.running.Done()
			end(err)
			return false
		}
	}
	stepClient := step(func() error { return client.run(ctx) })
	stepUpstream := step(upstream.run)
	loop := s.cfg.Loops.Next()
	clientSocket, upstreamSocket := netloop.Of(s.cfg.Client), netloop.Of(s.cfg.Upstream)
	if loop == nil || clientSocket == nil || upstreamSocket == nil {
		go stepClient()
		go stepUpstream()
		return
	}
	client.lane = lane{task: loop.Task(stepClient), socket: clientSocket}
	upstream.lane = lane{task: loop.Task(stepUpstream), socket: upstreamSocket}
	client.in.pooled, upstream.in.pooled = true, true
	s.queue.task, s.clientSocket, s.upstreamSocket = client.task, clientSocket, upstreamSocket
	for _, l := range []*lane{&client.lane, &upstream.lane} {
		if err := l.socket.Attach(loop, l.task); err != nil {
			end(err) // the loop finds its connection closed
		}
	}
	client.task.Start()
	upstream.task.Start()
}
