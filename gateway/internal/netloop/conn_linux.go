package netloop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a TCP connection that can be given to a loop. From then on Read and
// Write do not wait: Read says so by an error that [WouldBlock] knows, and Write
// keeps what the socket does not take, as [Task.AwaitWritten] waits for. Only
// its task reads; anybody may write.
type Conn struct {
	*net.TCPConn // until it is given to a loop; then closed
	loop         *Loop
	reader       *Task
	fd           int
	id           int32
	turn         uint32      // of the loop's patience, in which it was served last
	readable     atomic.Bool // there may be something to read
	hup          atomic.Bool // the other side has left

	mu       sync.Mutex
	pending  []byte      // written and not taken by the socket; guarded by mu
	listed   bool        // the loop will send what is pending then; guarded by mu
	blocked  bool        // the socket took no more; guarded by mu
	writer   *Task       // waits until there is none; guarded by mu
	failed   error       // of a write; guarded by mu
	closed   bool        // guarded by mu
	left     func()      // is told that the other side has left; guarded by mu
	deadline time.Time   // of Read; guarded by mu
	timer    *time.Timer // wakes the reader then; guarded by mu
	fires    time.Time   // when the timer does; guarded by mu
	expired  atomic.Bool
}

// Attach gives the connection to a loop, whose task reads from it.
func (c *Conn) Attach(l *Loop, reader *Task) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("give a connection to a loop: %w", err)
	}
	var dupErr error
	if err := raw.Control(func(fd uintptr) { c.fd, dupErr = dupCloseOnExec(int(fd)) }); err != nil || dupErr != nil {
		return fmt.Errorf("give a connection to a loop: %w", errors.Join(err, dupErr))
	}
	if err := c.TCPConn.Close(); err != nil { // the runtime must not wait for it any more
		return fmt.Errorf("give a connection to a loop: %w", errors.Join(err, syscall.Close(c.fd)))
	}
	c.loop, c.reader = l, reader
	c.readable.Store(true)
	l.post(item{do: func() { l.add(c) }})
	return nil
}

func dupCloseOnExec(fd int) (int, error) {
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	return int(n), nil
}

// edge is EPOLLET, which the package syscall has as a negative number.
const edge = 1 << 31

func (l *Loop) add(c *Conn) {
	for {
		l.lastID = max(1, l.lastID+1)
		if _, taken := l.conns[l.lastID]; !taken {
			break
		}
	}
	c.id = l.lastID
	l.conns[c.id] = c
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | edge, Fd: c.id}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, c.fd, &event); err != nil {
		c.mu.Lock()
		c.failed = os.NewSyscallError("epoll_ctl", err)
		c.mu.Unlock()
		c.hungUp()
		c.reader.Wake()
	}
}

// ready reports whether Read has something to say.
func (c *Conn) ready() bool { return c.readable.Load() || c.hup.Load() || c.expired.Load() }

// Read reads what there is.
func (c *Conn) Read(b []byte) (int, error) {
	if c.loop == nil {
		return c.TCPConn.Read(b)
	}
	if c.expired.Load() {
		return 0, errDeadline
	}
	if !c.ready() {
		return 0, errWouldBlock{}
	}
	n, errno := recv(c.fd, b)
	c.loop.patience.read(n)
	if n < len(b) {
		c.readable.Store(false) // an event tells when there is more
	}
	switch {
	case errno == syscall.EAGAIN && c.isClosed():
		return 0, net.ErrClosed
	case errno == syscall.EAGAIN:
		return 0, errWouldBlock{}
	case errno != 0:
		return 0, os.NewSyscallError("recv", errno)
	case n == 0 && len(b) > 0:
		if c.isClosed() {
			return 0, net.ErrClosed
		}
		return 0, io.EOF
	}
	return n, nil
}

func (c *Conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Write writes b, and keeps what does not fit the socket.
func (c *Conn) Write(b []byte) (int, error) {
	if c.loop == nil {
		return c.TCPConn.Write(b)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.failed != nil:
		return 0, c.failed
	case c.blocked:
		c.pending = append(c.pending, b...)
		return len(b), nil
	case len(c.pending) > 0 && len(c.pending)+len(b) > laterMost:
		c.pending = append(c.pending, b...)
		c.sendPendingLocked()
		return len(b), c.failed
	case len(b) <= laterMost && c.laterLocked():
		c.pending = append(c.pending, b...)
		return len(b), nil
	}
	n := c.sendLocked(b)
	if c.failed != nil {
		return n, c.failed
	}
	if n < len(b) {
		c.pending, c.blocked = append(c.pending, b[n:]...), true
	}
	return len(b), nil
}

// laterLocked reports whether the loop will send what is appended to pending
// now.
func (c *Conn) laterLocked() bool {
	c.listed = c.listed || c.loop.later.add(c)
	if c.listed && c.pending == nil {
		buf, _ := laterBuffers.Get().(*[laterMost]byte) // the pool holds nothing else
		c.pending = buf[:0]
	}
	return c.listed
}

// sendPendingLocked sends what is pending, unless the socket takes no more.
func (c *Conn) sendPendingLocked() {
	if c.sendsLocked() {
		c.sentLocked(0)
	}
}

// sendsLocked reports whether there is something to be sent.
func (c *Conn) sendsLocked() bool {
	return len(c.pending) > 0 && !c.blocked && !c.closed && c.failed == nil
}

// sentLocked is told how much of what is pending was sent, or the error of
// that as a negative number, and sends the rest.
func (c *Conn) sentLocked(result int32) {
	rest := c.pending
	switch errno := syscall.Errno(-result); {
	case result >= 0:
		rest = rest[result:]
	case errno != syscall.EAGAIN && errno != syscall.EINTR:
		c.failed = os.NewSyscallError("send", errno)
	}
	if c.failed == nil {
		rest = rest[c.sendLocked(rest):]
	}
	if len(rest) > 0 && c.failed == nil {
		c.pending, c.blocked = c.pending[:copy(c.pending, rest)], true
		return
	}
	if cap(c.pending) == laterMost {
		laterBuffers.Put((*[laterMost]byte)(c.pending[:laterMost]))
	}
	c.pending, c.blocked = nil, false
}

// sendLocked sends as much of b as the socket takes.
func (c *Conn) sendLocked(b []byte) (sent int) {
	for sent < len(b) {
		n, errno := send(c.fd, b[sent:])
		sent += n
		switch errno {
		case 0:
		case syscall.EAGAIN:
			return sent
		default:
			c.failed = os.NewSyscallError("send", errno)
			return sent
		}
	}
	return sent
}

// writable sends what is pending, and wakes who waits for that.
func (c *Conn) writable() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.blocked || c.closed {
		return
	}
	c.blocked = false
	c.sendPendingLocked()
	if len(c.pending) > 0 {
		return
	}
	if c.writer != nil {
		c.writer.Wake()
		c.writer = nil
	}
}

// Pending reports whether the socket has not taken all that was written.
func (c *Conn) Pending() bool {
	if c.loop == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocked
}

// waitsFor reports whether anything is pending; if so it wakes t when nothing
// is any more.
func (c *Conn) waitsFor(t *Task) bool {
	if c.loop == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.blocked || c.closed {
		return false
	}
	c.writer = t
	return true
}

// hungUp is told that the other side has left, or has nothing more to send.
func (c *Conn) hungUp() {
	c.hup.Store(true)
	c.mu.Lock()
	left := c.left
	c.left = nil
	c.mu.Unlock()
	if left != nil {
		left()
	}
}

// WhenLeft has f called when the other side leaves, even if what it has sent
// was not read; f must not wait. It is called at once if that has happened, and
// not any more once f is nil.
func (c *Conn) WhenLeft(f func()) {
	c.mu.Lock()
	c.left = f
	c.mu.Unlock()
	if f != nil && c.hup.Load() {
		c.hungUp()
	}
}

// Close closes the connection. What is pending is given a second.
func (c *Conn) Close() error {
	if c.loop == nil {
		return c.TCPConn.Close()
	}
	c.linger(time.Second)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.pending = nil
	if c.timer != nil {
		c.timer.Stop()
	}
	writer := c.writer
	c.writer = nil
	c.mu.Unlock()
	_ = syscall.Shutdown(c.fd, syscall.SHUT_RDWR) // it may have been shut by the other side
	c.hup.Store(true)
	if writer != nil {
		writer.Wake()
	}
	c.reader.Wake()
	return nil
}

// Discard drops what the other side still sends, for as long, at most, as it
// takes it to read what was written last and leave: a connection that is closed
// with bytes unread is reset, and what was written last is lost.
func (c *Conn) Discard(most time.Duration) {
	if c.loop == nil {
		return
	}
	const step = 5 * time.Millisecond
	buf := make([]byte, 16<<10)
	for end := time.Now().Add(most); time.Now().Before(end); {
		n, errno := recv(c.fd, buf)
		switch {
		case errno == syscall.EAGAIN:
			time.Sleep(step)
		case errno != 0 || n == 0:
			return
		}
	}
}

// linger waits until nothing is pending, at most that long.
func (c *Conn) linger(d time.Duration) {
	const step = 5 * time.Millisecond
	for ; d > 0; d -= step {
		c.mu.Lock()
		c.sendPendingLocked()
		done := len(c.pending) == 0 || c.closed || c.failed != nil || c.hup.Load()
		c.mu.Unlock()
		if done {
			return
		}
		time.Sleep(step)
	}
}

// Release gives up the descriptor of a connection that was closed, and whose
// task has ended.
func (c *Conn) Release() {
	if c.loop == nil {
		return
	}
	c.loop.post(item{do: func() {
		delete(c.loop.conns, c.id)
		_ = syscall.Close(c.fd) // closing a socket that was shut down loses nothing
	}})
}

// SetDeadline sets the deadline of Read.
func (c *Conn) SetDeadline(t time.Time) error {
	if c.loop == nil {
		return c.TCPConn.SetDeadline(t)
	}
	return c.SetReadDeadline(t)
}

// SetWriteDeadline does nothing on a loop: Write does not wait.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.loop == nil {
		return c.TCPConn.SetWriteDeadline(t)
	}
	return nil
}

// SetReadDeadline sets the deadline of Read. It is cheap to set it later.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.loop == nil {
		return c.TCPConn.SetReadDeadline(t)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	c.expired.Store(false)
	if t.IsZero() {
		return nil
	}
	switch {
	case c.closed:
	case c.timer == nil:
		c.timer, c.fires = time.AfterFunc(time.Until(t), c.checkDeadline), t
	case t.Before(c.fires):
		c.timer.Reset(time.Until(t))
		c.fires = t
	}
	return nil
}

// checkDeadline is called when a deadline was to end that may have been moved.
func (c *Conn) checkDeadline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = nil
	switch left := time.Until(c.deadline); {
	case c.deadline.IsZero() || c.closed:
	case left > 0:
		c.timer, c.fires = time.AfterFunc(left, c.checkDeadline), c.deadline
	default:
		c.expired.Store(true)
		c.reader.Wake()
	}
}
