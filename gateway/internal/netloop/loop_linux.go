package netloop

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
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
	taken    []item
	idle     []*coroutine
	paused   []*Task // have another turn when the others have had theirs
	resumed  []*Task // have it now
	conns    map[int32]*Conn
	lastID   int32
	events   int // of the last wake-up
	closing  bool
	later    later
	patience patience
}

// item is something to do for the loop: run a task that was woken or came
// back, or call a function.
type item struct {
	task *Task
	back bool // the task comes back from a goroutine of its own
	do   func()
}

// Start starts as many loops as leave the other goroutines a processor, but at
// least one. GOMAXPROCS is raised by as many until they are closed, since a loop
// keeps its processor while it waits; the others have what they had.
func Start() (*Loops, error) {
	l := &Loops{}
	for range max(1, ownProcessors()-1) {
		loop, err := newLoop()
		if err != nil {
			l.Close()
			return nil, err
		}
		l.loops = append(l.loops, loop)
		reserve(1)
		go loop.run()
	}
	return l, nil
}

// reserved is how many processors the loops of this process have added.
var reserved struct {
	mu sync.Mutex
	n  int // guarded by mu
}

// reserve adds processors for loops, or takes them away.
func reserve(n int) {
	reserved.mu.Lock()
	defer reserved.mu.Unlock()
	reserved.n += n
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
}

// ownProcessors returns how many there are without those of loops.
func ownProcessors() int {
	reserved.mu.Lock()
	defer reserved.mu.Unlock()
	return runtime.GOMAXPROCS(0) - reserved.n
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
	l.later.ring, _ = newRing() // without one each send is a system call
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
		n := l.wait(events)
		l.later.begin()
		for _, event := range events[:n] {
			if event.Fd == 0 {
				l.emptyPipe()
			} else if c := l.conns[event.Fd]; c != nil {
				l.patience.serves(c)
				l.serve(c, event.Events)
			}
			l.later.sendFull()
		}
		l.doPosted()
		l.runPaused()
		l.later.end()
	}
	for _, c := range l.idle {
		c.stop()
	}
	reserve(-1)
	_ = l.release() // nothing was written
	if l.later.ring != nil {
		_ = l.later.ring.close()
	}
}

// wait waits for sockets, unless there is something else to do.
func (l *Loop) wait(events []syscall.EpollEvent) int {
	idle := false
	if len(l.paused) == 0 {
		l.asleep.Store(true)
		l.mu.Lock()
		idle = len(l.inbox) == 0
		l.mu.Unlock()
	}
	if idle {
		l.patience.have(l.events)
	}
	n := 0
	if !idle {
		n = waitHeld(l.epoll, events, 0)
	} else if n = waitHeld(l.epoll, events, heldFor); n == 0 {
		n, _ = syscall.EpollWait(l.epoll, events, -1) // EINTR is as good as nothing: it cannot fail otherwise
	}
	l.asleep.Store(false)
	l.events = max(n, 0)
	return l.events
}

// heldFor is for how many milliseconds the loop waits without telling the
// scheduler. Under load the next socket is ready long before; telling costs
// more than the wait then, and another thread takes the processor away and
// must give it back. See reserve.
const heldFor = 5

// waitHeld is epoll_wait for the scheduler's eyes as much a computation as any
// other: what wants to stop the goroutine does so by a signal, which ends the
// wait.
func waitHeld(epoll int, events []syscall.EpollEvent, timeout int) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(timeout), 0, 0)
	if errno != 0 { // EINTR
		return 0
	}
	return int(n)
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
		if t := c.reader; t.started && t.on == nil {
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

// runTask gives a task its turn: it begins a step, or goes on with one.
func (l *Loop) runTask(t *Task) {
	if t.away || t.finished {
		return
	}
	t.started = true
	t.woken.Store(false)
	if t.on == nil {
		t.on = l.coroutine()
		t.on.task = t
	}
	why, _ := t.on.next()
	switch why {
	case turnOver:
		l.keep(t.on)
		t.on = nil
	case turnPause:
		l.paused = append(l.paused, t)
	case turnDetach:
		t.away = true
		go func() {
			t.on.next() // until it attaches itself
			l.post(item{task: t, back: true})
		}()
	case turnPark:
	}
}

// coroutine returns one that runs nothing.
func (l *Loop) coroutine() *coroutine {
	n := len(l.idle)
	if n == 0 {
		return newCoroutine()
	}
	c := l.idle[n-1]
	l.idle = l.idle[:n-1]
	return c
}

// keep takes one back.
func (l *Loop) keep(c *coroutine) {
	const most = 16
	c.task = nil
	if len(l.idle) == most {
		c.stop()
		return
	}
	l.idle = append(l.idle, c)
}
