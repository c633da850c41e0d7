// Package netloop serves many connections from few goroutines: a [Loop] waits
// for all of its sockets at once and lets the tasks that they wake run one
// after the other, without the scheduler between them.
//
//	conn := netloop.Wrap(accepted)             // a net.Conn like another
//	task = loop.Task(func() (more bool) {      // a step, which the loop runs when there is something to do
//		for {
//			n, err := conn.Read(buf)               // does not wait
//			if netloop.WouldBlock(err) {
//				return true                          // the loop serves others meanwhile
//			}
//			…
//		}
//	})
//	err := conn.Attach(loop, task)             // from here on Read and Write do not wait
//	task.Start()
//
// A step may wait in its middle as if it blocked, for what was written to be on
// its way or for another task: it runs on a coroutine, which the loop keeps for
// others once the step is over. So a task that has nothing to do has no stack.
// All of a session's tasks belong to one loop: they never run at the same time,
// unless one of them is detached. What may wait for something that is no socket
// of the loop, or compute for long, does so between [Task.Detach] and
// [Task.Attach]: it has a goroutine of its own then. Everything else must not
// wait; locks that are never held across a wait are fine.
//
// Any goroutine may close a connection, which wakes its task. Once the task has
// ended, [Conn.Release] gives up the descriptor.
//
// # Why
//
// A goroutine that reads a socket costs a read that finds nothing, a park, and
// often a wake-up of another thread, for each message. A loop reads what is
// known to be there, and all that is ready at one time costs one wake-up. What is
// written meanwhile is sent together by an io_uring, where the kernel gives us
// one: each send wakes a process, which takes the processor from a loop that
// comes back from the kernel. With many busy connections, or one that sends much,
// it lets others run before it waits, so that more is ready when it comes back.
// It waits for sockets without telling the scheduler, as long as they are not
// idle, and therefore keeps a processor (in the sense of GOMAXPROCS), which
// [Start] adds.
//
// Loops exist on Linux; elsewhere [Start] returns no loops, and connections stay
// as they were.
package netloop

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
)

// errWouldBlock is temporary and a timeout, so that crypto/tls resumes after
// it.
type errWouldBlock struct{}

func (errWouldBlock) Error() string   { return "netloop: nothing to read yet" }
func (errWouldBlock) Timeout() bool   { return true }
func (errWouldBlock) Temporary() bool { return true }

// WouldBlock reports whether Read returned because there is nothing to read
// yet.
func WouldBlock(err error) bool {
	switch err.(type) { //nolint:errorlint // most are no errors or this one: the question is asked at each read
	case nil:
		return false
	case errWouldBlock:
		return true
	}
	var w errWouldBlock
	return errors.As(err, &w)
}

// Loops are the loops of a process.
type Loops struct {
	loops []*Loop
	next  atomic.Uint32
}

// Next returns the loop that the next session should be given to; nil if there
// is none.
func (l *Loops) Next() *Loop {
	if l == nil || len(l.loops) == 0 {
		return nil
	}
	return l.loops[int(l.next.Add(1))%len(l.loops)]
}

// Close ends the loops, whose connections must be closed.
func (l *Loops) Close() {
	if l == nil {
		return
	}
	for _, loop := range l.loops {
		loop.close()
	}
}

// Wrap makes a TCP connection one that can be given to a loop. Until then it
// is what it was. Other connections are returned as they are.
func Wrap(conn net.Conn) net.Conn {
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &Conn{TCPConn: tcp}
	}
	return conn
}

// Of returns the connection that Wrap made, underneath TLS if need be; nil if
// there is none.
func Of(conn net.Conn) *Conn {
	for {
		switch c := conn.(type) {
		case *Conn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// NetConn returns the connection that was wrapped.
func (c *Conn) NetConn() net.Conn { return c.TCPConn }

var errDeadline = os.ErrDeadlineExceeded
