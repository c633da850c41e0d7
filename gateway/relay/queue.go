package relay

import (
	"slices"
	"sync"
	"time"

	"github.com/posternhq/postern/gateway/internal/netloop"
	"github.com/posternhq/postern/gateway/internal/refusal"
)

// entryKind says which client message an entry stands for.
type entryKind uint8

const (
	entryParse entryKind = iota
	entryBind
	entryDescribeStatement
	entryDescribePortal
	entryExecute
	entryClose
	entrySync
	entryQuery
	entryFunction
	entryCheck // a Check's Bind, Execute and Close
)

// result says what became of a forwarded message.
type result uint8

const (
	pending result = iota
	succeeded
	failed
	skipped
)

// entry is one forwarded message that expects responses. The client loop
// makes it; once queued it is the upstream loop's, but for result and
// completed, which are guarded by the queue's lock.
type entry struct {
	kind    entryKind
	refused *refusal.Refusal // the message stands in for one that was refused
	hidden  bool             // the message is the gateway's own: its responses are not forwarded
	shared  bool             // hidden, in the client's batch: its error fails the batch, so the client must see it
	batch   uint64           // counts Syncs

	prepared *prepared // entryDescribeStatement
	portal   *portal   // entryDescribePortal, entryExecute
	permit   *Permit   // entryQuery, entryExecute, entryFunction
	copyIn   bool      // may ask for COPY data
	checks   *Permit   // entryCheck: whose Check it is
	answer   string    // entryCheck: the first column of its row

	index    int // statements of a Query that have ended
	rows     int64
	bytes    int64
	rewriter RowRewriter // for the rows of the current statement
	planned  bool        // Columns was asked for the current statement
	running  bool        // OutcomeRunning was reported for it
	finished bool        // the last outcome was reported
	over     bool        // the row limit was reached: drop the rest
	silenced bool        // an error stands in for what followed: drop until Sync or the Query's end
	timer    *time.Timer
	timedOut bool // guarded by the queue's lock

	collect   *[][]string // rows of a hidden Execute
	result    result      // guarded by the queue's lock
	completed int         // statements of a Query that succeeded; guarded by the queue's lock
}

// memo is where the description of its result is remembered, nil for nowhere.
func (e *entry) memo() *Memo {
	switch {
	case e.prepared != nil:
		return &e.prepared.memo
	case e.portal != nil:
		return &e.portal.prepared.memo
	case e.permit != nil:
		return e.permit.Memo
	}
	return nil
}

// copyState says whether the server is reading COPY data.
type copyState uint8

const (
	copyNone    copyState = iota
	copyAwaited           // the server may be about to ask for data
	copyActive            // the server reads data
)

// queue pairs forwarded messages with the responses they expect. Both loops
// use it.
type queue struct {
	mu       sync.Mutex
	changed  sync.Cond
	task     *netloop.Task // the client loop's, which alone waits; nil: it waits for changed
	waiting  bool          // the client loop waits
	entries  []*entry      // oldest first, entries[head:]
	head     int
	skipping bool     // the server ignores everything until Sync
	ignored  []*entry // executions that came while it did, or were cancelled in time: to be reported as skipped
	copying  copyState
	closed   bool
}

func newQueue() *queue {
	q := &queue{}
	q.changed.L = &q.mu
	return q
}

// wait waits for a change of the queue. The caller holds mu, and looks again at
// what it waits for.
func (q *queue) wait() {
	q.waiting = true
	if q.task == nil {
		q.changed.Wait()
	} else {
		q.mu.Unlock()
		q.task.Park()
		q.mu.Lock()
	}
	q.waiting = false
}

// wake wakes the client loop if it waits. The caller holds mu.
func (q *queue) wake() {
	switch {
	case !q.waiting:
	case q.task == nil:
		q.changed.Broadcast()
	default:
		q.task.Wake()
	}
}

// push appends an entry, which must be done before its message is written.
func (q *queue) push(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.skipping && e.kind != entrySync {
		// The server ignores this message; it never answers.
		e.result = skipped
		if e.permit != nil {
			q.ignored = append(q.ignored, e)
		}
		q.wake()
		return
	}
	if e.kind == entrySync {
		q.skipping = false
	}
	if e.copyIn {
		q.copying = copyAwaited
	}
	q.entries = append(q.entries, e)
}

// first returns the entry whose response is due, nil if none is.
func (q *queue) first() *entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == len(q.entries) {
		return nil
	}
	return q.entries[q.head]
}

// pop removes the first entry, which succeeded.
func (q *queue) pop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.popLocked(succeeded)
}

func (q *queue) popLocked(r result) {
	e := q.entries[q.head]
	e.result = r
	if e.copyIn {
		q.copying = copyNone
	}
	q.entries[q.head] = nil
	q.head++
	if q.head == len(q.entries) {
		q.entries, q.head = q.entries[:0], 0
	}
	q.wake()
}

// fail ends the first entry, an extended-query message, with an error, and all
// that follow up to the next Sync, which the server skips. It returns these.
func (q *queue) fail() []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.popLocked(failed)
	var skippedEntries []*entry
	for q.head < len(q.entries) && q.entries[q.head].kind != entrySync {
		skippedEntries = append(skippedEntries, q.entries[q.head])
		q.popLocked(skipped)
	}
	q.skipping = q.head == len(q.entries)
	return skippedEntries
}

// completeStatement counts a statement of a Query as having succeeded.
func (q *queue) completeStatement(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e.completed++
	q.wake()
}

// setCopying is called by the upstream loop when the server asks for data,
// and by the client loop when the data has ended.
func (q *queue) setCopying(s copyState) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.copying = s
	q.wake()
}

// awaitCopy waits until it is known whether the server reads COPY data.
func (q *queue) awaitCopy() (active, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.copying == copyAwaited && !q.closed {
		q.wait()
	}
	return q.copying == copyActive, !q.closed
}

// await waits until the entry's result is known, or the queue is closed.
func (q *queue) await(e *entry) (result, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for e.result == pending && !q.closed {
		q.wait()
	}
	return e.result, !q.closed
}

// outcome returns what is known of statement index of an entry, without
// waiting.
func (q *queue) outcome(e *entry, index int) result {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.completed > index {
		return succeeded
	}
	if e.kind == entryQuery && e.result == succeeded {
		return failed // the Query ended before this statement did
	}
	return e.result
}

// busy reports whether the server may be executing something.
func (q *queue) busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.head < len(q.entries)
}

// executing reports whether anything that runs is queued.
func (q *queue) executing() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.entries[q.head:] {
		if e.kind != entryParse && e.kind != entryDescribeStatement && e.kind != entryClose {
			return true
		}
	}
	return false
}

// lastOf returns the newest entry of these kinds that is queued, nil if none is.
func (q *queue) lastOf(kinds ...entryKind) *entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range slices.Backward(q.entries[q.head:]) {
		if slices.Contains(kinds, e.kind) {
			return e
		}
	}
	return nil
}

// markTimedOut notes that an entry's time is up, unless it or the session has
// ended.
func (q *queue) markTimedOut(e *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.result != pending || q.closed {
		return false
	}
	e.timedOut = true
	return true
}

func (q *queue) hasTimedOut(e *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return e.timedOut
}

// close wakes everyone who waits.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake()
}

// ignore has an execution reported as skipped that was permitted and then not
// forwarded.
func (q *queue) ignore(p *Permit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p != nil {
		q.ignored = append(q.ignored, &entry{permit: p})
	}
}

// takeIgnored returns the executions that the server ignored because they came
// behind an error.
func (q *queue) takeIgnored() []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.ignored
	q.ignored = nil
	return taken
}

// drain returns the entries that were never answered.
func (q *queue) drain() []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := q.entries[q.head:]
	q.entries, q.head = nil, 0
	return left
}
