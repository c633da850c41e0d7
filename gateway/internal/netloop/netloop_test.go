//go:build linux

package netloop_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/gateway/internal/netloop"
)

func TestMain(m *testing.M) {
	leaktest.Main(m)
}

// served is a connection that a task of a loop serves, and its other side.
type served struct {
	conn  *netloop.Conn
	task  *netloop.Task
	other net.Conn
	ended chan struct{}
}

func startLoops(t *testing.T) *netloop.Loops {
	t.Helper()
	loops, err := netloop.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loops.Close)
	return loops
}

// serve has step serve a connection, as [netloop.Loop.Task] does.
func serve(t *testing.T, loop *netloop.Loop, step func(s *served) (more bool)) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &served{ended: make(chan struct{})}
	if s.other, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.conn = netloop.Of(netloop.Wrap(accepted))
	s.task = loop.Task(func() bool {
		more := step(s)
		if !more {
			close(s.ended)
		}
		return more
	})
	if err := s.conn.Attach(loop, s.task); err != nil {
		t.Fatal(err)
	}
	s.task.Start()
	t.Cleanup(func() {
		_ = s.other.Close()
		_ = s.conn.Close()
		<-s.ended
		s.conn.Release()
	})
	return s
}

// echo sends back what comes, and waits until that is on its way.
func echo(s *served) bool {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			return netloop.WouldBlock(err)
		}
		if _, err := s.conn.Write(buf[:n]); err != nil {
			return false
		}
		s.task.AwaitWritten(s.conn)
	}
}

// TestEcho sends far more than sockets hold, before anything of the answer is
// read, through several connections of one loop.
func TestEcho(t *testing.T) {
	loop := startLoops(t).Next()
	const size, connections = 8 << 20, 4
	want := make([]byte, size)
	_, _ = rand.Read(want)
	failed := make(chan error, connections)
	for range connections {
		s := serve(t, loop, echo)
		go func() {
			sent := make(chan error, 1)
			go func() { _, err := s.other.Write(want); sent <- err }()
			time.Sleep(50 * time.Millisecond) // the sockets fill up; if not, the test is easier
			got := make([]byte, size)
			_, err := io.ReadFull(s.other, got)
			if err == nil && !bytes.Equal(got, want) {
				err = errors.New("other bytes came back")
			}
			failed <- errors.Join(err, <-sent)
		}()
	}
	for range connections {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// TestPendingIsBounded has nobody read: what a write could not send waits, and
// the task with it.
func TestPendingIsBounded(t *testing.T) {
	var writes atomic.Int64
	s := serve(t, startLoops(t).Next(), func(s *served) bool {
		chunk := make([]byte, 1<<20)
		for range 1000 {
			if _, err := s.conn.Write(chunk); err != nil {
				break
			}
			writes.Add(1)
			s.task.AwaitWritten(s.conn)
		}
		return false
	})
	for !s.conn.Pending() {
		time.Sleep(time.Millisecond)
	}
	before := writes.Load()
	time.Sleep(100 * time.Millisecond)
	if now := writes.Load(); now != before || now > 100 {
		t.Errorf("%d writes of 1 MB to a client that reads nothing, and %d later", before, now)
	}
}

// readToEnd is a step that reads until an error, which it sends.
func (s *served) readToEnd(got chan<- error) bool {
	for {
		_, err := s.conn.Read(make([]byte, 8))
		switch {
		case err == nil:
		case netloop.WouldBlock(err):
			return true
		default:
			got <- err
			return false
		}
	}
}

func TestReadTellsWhenTheOtherSideLeft(t *testing.T) {
	got := make(chan error, 1)
	s := serve(t, startLoops(t).Next(), func(s *served) bool { return s.readToEnd(got) })
	if _, err := s.other.Write([]byte("bye")); err != nil {
		t.Fatal(err)
	}
	_ = s.other.Close()
	if err := <-got; !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want EOF", err)
	}
}

func TestCloseEndsAWait(t *testing.T) {
	got := make(chan error, 1)
	s := serve(t, startLoops(t).Next(), func(s *served) bool { return s.readToEnd(got) })
	_ = s.conn.Close()
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v, want that the connection is closed", err)
	}
	if _, err := s.conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: error %v, want that the connection is closed", err)
	}
}

func TestReadDeadline(t *testing.T) {
	got := make(chan error, 2)
	begun := false
	serve(t, startLoops(t).Next(), func(s *served) bool {
		if !begun {
			begun = true
			_ = s.conn.SetReadDeadline(time.Now().Add(time.Hour))
			_ = s.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // sooner than the timer that is set
			_ = s.conn.SetReadDeadline(time.Time{})
			_ = s.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		}
		_, err := s.conn.Read(make([]byte, 8))
		if netloop.WouldBlock(err) {
			return true
		}
		got <- err
		_ = s.conn.SetReadDeadline(time.Time{})
		_, err = s.conn.Read(make([]byte, 8))
		got <- err
		return false
	})
	if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want that the deadline has passed", err)
	}
	if err := <-got; !netloop.WouldBlock(err) {
		t.Errorf("error %v without a deadline, want that there is nothing yet", err)
	}
}

// TestDetach has a task wait for something else while its loop serves others.
func TestDetach(t *testing.T) {
	loop := startLoops(t).Next()
	release, back := make(chan struct{}), make(chan struct{})
	left := make(chan struct{})
	detached := false
	away := serve(t, loop, func(s *served) bool {
		if !detached {
			detached = true
			s.task.Detach()
			s.conn.WhenLeft(func() { close(left) })
			<-release
			s.conn.WhenLeft(nil)
			s.task.Attach()
			close(back)
		}
		return echo(s)
	})
	other := serve(t, loop, echo)
	if err := roundTrip(other.other, "served meanwhile"); err != nil {
		t.Error(err)
	}
	select {
	case <-left:
		t.Error("a client that stayed is told to have left")
	default:
	}
	close(release)
	<-back
	if err := roundTrip(away.other, "served again"); err != nil {
		t.Error(err)
	}
}

func TestWhenLeft(t *testing.T) {
	left := make(chan struct{})
	s := serve(t, startLoops(t).Next(), func(s *served) bool {
		s.task.Detach()
		s.conn.WhenLeft(func() { close(left) })
		<-left
		s.task.Attach()
		return false
	})
	if _, err := s.other.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	_ = s.other.Close()
	<-left
}

// TestStepsShareCoroutines has more tasks than coroutines are kept, which wait
// in the middle of their steps at the same time, and then serve on.
func TestStepsShareCoroutines(t *testing.T) {
	loop := startLoops(t).Next()
	const tasks = 50
	goOn := make(chan struct{})
	var inStep sync.WaitGroup
	var all []*served
	inStep.Add(tasks)
	for range tasks {
		parked := false
		all = append(all, serve(t, loop, func(s *served) bool {
			if !parked {
				parked = true
				inStep.Done()
				for !closed(goOn) {
					s.task.Park()
				}
			}
			return echo(s)
		}))
	}
	inStep.Wait()
	close(goOn)
	for _, s := range all {
		s.task.Wake()
	}
	for range 3 {
		for i, s := range all {
			if err := roundTrip(s.other, fmt.Sprint("to ", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func roundTrip(conn net.Conn, text string) error {
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("%q came back, want %q", got, text)
	}
	return nil
}
