package netloop

import (
	"fmt"
	"iter"
	"runtime/debug"
	"sync/atomic"
)

// turn is why a task gives up its turn.
type turn uint8

const (
	turnPark   turn = iota // until it is woken
	turnPause              // until the others have had theirs
	turnDetach             // to go on in a goroutine of its own
)

// Task is a coroutine of a loop. Its methods are for its own function, but for
// Start and Wake.
type Task struct {
	loop  *Loop
	next  func() (turn, bool)
	yield func(turn) bool
	woken atomic.Bool // it is to run again

	// Of the loop.
	away     bool // detached
	finished bool
	waits    *Conn // the connection that it waits to read from
}

// Task makes a task of f, which runs once it is started.
func (l *Loop) Task(f func()) *Task {
	t := &Task{loop: l}
	t.next, _ = iter.Pull(func(yield func(turn) bool) {
		t.yield = yield
		defer keepStack()
		f()
	})
	return t
}

// keepStack makes the stack of a task that panics part of the panic, which goes
// on in the loop.
func keepStack() {
	if p := recover(); p != nil {
		panic(fmt.Sprintf("%v\n\nin a task:\n%s", p, debug.Stack()))
	}
}

// Start lets a task run. Any goroutine may call it, once.
func (t *Task) Start() { t.Wake() }

// Wake has a parked task run again, and one that runs go on instead of
// parking. Any goroutine may call it.
func (t *Task) Wake() {
	if !t.woken.Swap(true) {
		t.loop.post(item{task: t})
	}
}

// Park waits until the task is woken. It may return early: the caller looks
// again at what it waits for.
func (t *Task) Park() { t.yield(turnPark) }

// AwaitRead waits until there may be something to read.
func (t *Task) AwaitRead(c *Conn) {
	for !c.ready() {
		t.waits = c
		t.yield(turnPark)
		t.waits = nil
	}
}

// AwaitWritten waits until what was written is on its way, or lost.
func (t *Task) AwaitWritten(c *Conn) {
	for c.waitsFor(t) {
		t.yield(turnPark)
	}
}

// Pause lets the loop's other tasks have their turn.
func (t *Task) Pause() { t.yield(turnPause) }

// Detach gives the task a goroutine of its own, until Attach: it may wait for
// anything, but for the connections of the loop.
func (t *Task) Detach() { t.yield(turnDetach) }

// Attach gives the task back to its loop.
func (t *Task) Attach() { t.yield(turnPause) }
