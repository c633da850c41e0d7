package netloop

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// Loop is a goroutine that waits for the sockets of its connections and runs
// their tasks.
type Loop struct {
	epoll  int
	wakeR  int // a pipe ends the wait for sockets
	wakeW  int
	done   chan struct{}
	asleep atomic.Bool // waits for sockets, or is about to

	mu    sync.Mutex
	inbox []item // guarded by mu

	// Of the loop.
	taken   []item
	paused  []*Task // have another turn when the others have had theirs
	resumed []*Task // have it now
	conns   map[int32]*Conn
	lastID  int32
	closing bool
}

// item is something to do for the loop: run a task that was woken or came
// back, or call a function.
type item struct {
	task *Task
	back bool // the task comes back from a goroutine of its own
	do   func()
}

// Start starts as many loops as leave the other goroutines a processor. With
// one processor there are none.
func Start() (*Loops, error) {
	l := &Loops{}
	for range runtime.GOMAXPROCS(0) - 1 {
		loop, err := newLoop()
		if err != nil {
			l.Close()
			return nil, err
		}
		l.loops = append(l.loops, loop)
		go loop.run()
	}
	return l, nil
}

func newLoop() (*Loop, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an event loop: %w", os.NewSyscallError("epoll_create1", err))
	}
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make an event loop: %w", errors.Join(os.NewSyscallError("pipe2", err), syscall.Close(epoll)))
	}
	l := &Loop{epoll: epoll, wakeR: pipe[0], wakeW: pipe[1], done: make(chan struct{}), conns: map[int32]*Conn{}}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN}
	if err := syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, l.wakeR, &event); err != nil {
		return nil, fmt.Errorf("make an event loop: %w", errors.Join(os.NewSyscallError("epoll_ctl", err), l.release()))
	}
	return l, nil
}

func (l *Loop) release() error {
	return errors.Join(syscall.Close(l.epoll), syscall.Close(l.wakeR), syscall.Close(l.wakeW))
}

func (l *Loop) close() {
	l.post(item{do: func() { l.closing = true }})
	<-l.done
}

// post has the loop do something. Any goroutine may call it.
func (l *Loop) post(i item) {
	l.mu.Lock()
	l.inbox = append(l.inbox, i)
	l.mu.Unlock()
	if l.asleep.Load() && l.asleep.CompareAndSwap(true, false) {
		for {
			_, err := syscall.Write(l.wakeW, []byte{0})
			if err != syscall.EINTR {
				return // if the pipe is full, the loop is about to wake
			}
		}
	}
}

// run is the loop.
func (l *Loop) run() {
	defer close(l.done)
	events := make([]syscall.EpollEvent, 256)
	for !l.closing {
		for _, event := range events[:l.wait(events)] {
			if event.Fd == 0 {
				l.emptyPipe()
			} else if c := l.conns[event.Fd]; c != nil {
				l.serve(c, event.Events)
			}
		}
		l.doPosted()
		l.runPaused()
	}
	_ = l.release() // nothing was written
}

// wait waits for sockets, unless there is something else to do.
func (l *Loop) wait(events []syscall.EpollEvent) int {
	timeout := 0
	if len(l.paused) == 0 {
		l.asleep.Store(true)
		l.mu.Lock()
		if len(l.inbox) == 0 {
			timeout = -1
		}
		l.mu.Unlock()
	}
	n, err := syscall.EpollWait(l.epoll, events, timeout)
	l.asleep.Store(false)
	if err != nil { // EINTR: it cannot fail otherwise
		return 0
	}
	return n
}

func (l *Loop) emptyPipe() {
	var buf [64]byte
	for {
		if n, err := syscall.Read(l.wakeR, buf[:]); n < len(buf) && err != syscall.EINTR {
			return
		}
	}
}

// serve is told of an event of a connection. Events come once, until the
// socket has been found empty, or full.
func (l *Loop) serve(c *Conn, events uint32) {
	if events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		c.hungUp()
	}
	if events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		c.writable()
	}
	if events&^syscall.EPOLLOUT != 0 {
		c.readable.Store(true)
		if t := c.reader; t.waits == c && !t.away {
			l.runTask(t)
		}
	}
}

func (l *Loop) doPosted() {
	l.mu.Lock()
	l.taken, l.inbox = l.inbox, l.taken[:0]
	l.mu.Unlock()
	for _, i := range l.taken {
		switch {
		case i.do != nil:
			i.do()
		case i.back:
			i.task.away = false
			l.runTask(i.task)
		case i.task.woken.Load():
			l.runTask(i.task)
		}
	}
	clear(l.taken)
}

func (l *Loop) runPaused() {
	l.resumed, l.paused = l.paused, l.resumed[:0]
	for _, t := range l.resumed {
		l.runTask(t)
	}
	clear(l.resumed)
}

// runTask gives a task its turn.
func (l *Loop) runTask(t *Task) {
	if t.away || t.finished {
		return
	}
	t.woken.Store(false)
	why, ok := t.next()
	switch {
	case !ok:
		t.finished = true
	case why == turnPause:
		l.paused = append(l.paused, t)
	case why == turnDetach:
		t.away = true
		go func() {
			_, ok := t.next()
			if !ok {
				l.post(item{do: func() { t.finished = true }})
				return
			}
			l.post(item{task: t, back: true})
		}()
	}
}
