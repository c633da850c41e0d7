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
	turnOver   turn = iota // its step is over
	turnPark               // until it is woken
	turnPause              // until the others have had theirs
	turnDetach             // to go on in a goroutine of its own
)

// Task is what a loop does for a connection, step by step. Its methods are for
// its own step, but for Start and Wake.
type Task struct {
	loop  *Loop
	step  func() (more bool)
	woken atomic.Bool // it is to run again

	// Of the loop.
	started  bool
	on       *coroutine // that runs its step; nil between steps
	away     bool       // detached
	finished bool
}

// coroutine runs one step after the other, of whichever task needs it: a task
// between two steps has no stack.
type coroutine struct {
	next  func() (turn, bool)
	stop  func()
	yield func(turn) bool
	task  *Task // whose step it runs, or is to run
}

func newCoroutine() *coroutine {
	c := &coroutine{}
	c.next, c.stop = iter.Pull(func(yield func(turn) bool) {
		c.yield = yield
		defer keepStack()
		for {
			c.task.finished = !c.task.step()
			if !yield(turnOver) {
				return
			}
		}
	})
	return c
}

// keepStack makes the stack of a step that panics part of the panic, which goes
// on in the loop.
func keepStack() {
	if p := recover(); p != nil {
		panic(fmt.Sprintf("%v\n\nin a task:\n%s", p, debug.Stack()))
	}
}

// Task makes a task that runs step again and again, once it is started, for as
// long as that returns true: when it is woken, and when there is something to
// read from a connection that was attached for it.
func (l *Loop) Task(step func() (more bool)) *Task { return &Task{loop: l, step: step} }

// Start lets a task run. Any goroutine may call it, once.
func (t *Task) Start() { t.Wake() }

// Wake has a task run its step, or go on with it if it is parked; it does not
// park if it is awake. Any goroutine may call it.
func (t *Task) Wake() {
	if !t.woken.Swap(true) {
		t.loop.post(item{task: t})
	}
}

// Park waits until the task is woken. It may return early: the caller looks
// again at what it waits for.
func (t *Task) Park() { t.on.yield(turnPark) }

// AwaitWritten waits until what was written is on its way, or lost.
func (t *Task) AwaitWritten(c *Conn) {
	for c.waitsFor(t) {
		t.on.yield(turnPark)
	}
}

// Pause lets the loop's other tasks have their turn.
func (t *Task) Pause() { t.on.yield(turnPause) }

// Detach gives the task a goroutine of its own, until Attach: it may wait for
// anything, but for the connections of the loop.
func (t *Task) Detach() { t.on.yield(turnDetach) }

// Attach gives the task back to its loop. A step does so before it is over.
func (t *Task) Attach() { t.on.yield(turnPause) }
