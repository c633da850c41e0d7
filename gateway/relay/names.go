package relay

import (
	"slices"
	"sync/atomic"
)

// reservedPrefix begins the names that belong to the gateway.
const reservedPrefix = "_postern"

// prepared is a prepared statement. The upstream loop sets fields.
type prepared struct {
	text   *Text
	fields atomic.Pointer[[]Field] // its columns in text format, once described
	memo   Memo                    // of the upstream loop
}

// portal is a portal or cursor: a statement with its parameters.
type portal struct {
	cursor   bool // made by DECLARE: may outlive its transaction
	prepared *prepared
	bound    *Bound
	permit   *Permit
	formats  []int16                 // of result columns, as sent in Bind
	fields   atomic.Pointer[[]Field] // once described
}

// names maps names to what they stand for, for one kind of name. A change is
// pending until the server has answered the message that makes it: the client
// loop, which owns names, never acts on a guess across a Sync.
type names[T any] struct {
	queue *queue
	flush func() error // writes what the server must see before it can answer
	slots map[string]*slot[T]
}

type slot[T any] struct {
	name      string
	committed *T
	changes   []change[T] // pending, oldest first
}

// change sets a name to value (nil forgets it) if statement index of the
// entry's message succeeds.
type change[T any] struct {
	entry  *entry
	index  int
	value  *T
	always bool // takes effect even if the message fails (and then forgets)
}

func newNames[T any](q *queue, flush func() error) *names[T] {
	return &names[T]{queue: q, flush: flush, slots: map[string]*slot[T]{}}
}

// name returns a name that is a part of a message as one that is not.
func (n *names[T]) name(part []byte) string {
	if s := n.slots[string(part)]; s != nil {
		return s.name
	}
	return string(part)
}

// change records a pending change.
func (n *names[T]) change(name string, c change[T]) {
	s := n.slots[name]
	if s == nil {
		s = &slot[T]{name: name}
	} else {
		n.settle(s)
	}
	n.slots[name] = s // also if it has settled to nothing
	s.changes = append(s.changes, c)
}

// lookup returns what name stands for in the given batch, nil if nothing. It
// waits for the answers to changes of earlier batches. An error ends the
// session.
func (n *names[T]) lookup(name string, batch uint64) (*T, error) {
	s := n.slots[name]
	if s == nil {
		return nil, nil
	}
	n.settle(s)
	if len(s.changes) == 0 {
		return s.committed, nil
	}
	last := s.changes[len(s.changes)-1]
	if last.entry.batch == batch {
		// If it fails, the server skips what we are about to forward too.
		return last.value, nil
	}
	if err := n.flush(); err != nil {
		return nil, err
	}
	if _, open := n.queue.await(last.entry); !open {
		return nil, errSessionOver
	}
	n.settle(s)
	return s.committed, nil
}

// settle applies the changes whose outcome is known.
func (n *names[T]) settle(s *slot[T]) {
	known := 0
	for known < len(s.changes) {
		c := s.changes[known]
		r := n.queue.outcome(c.entry, c.index)
		if r == pending {
			break
		}
		switch {
		case r == succeeded:
			s.committed = c.value
		case r == failed && c.always:
			s.committed = nil
		}
		known++
	}
	s.changes = slices.Delete(s.changes, 0, known)
	if s.committed == nil && len(s.changes) == 0 {
		delete(n.slots, s.name)
	}
}

// forgetAll records a change that forgets every name.
func (n *names[T]) forgetAll(e *entry, index int) {
	for name := range n.slots {
		n.change(name, change[T]{entry: e, index: index})
	}
}

// purge forgets the settled names that gone reports.
func (n *names[T]) purge(gone func(*T) bool) {
	for name, s := range n.slots {
		n.settle(s)
		if len(s.changes) == 0 && s.committed != nil && gone(s.committed) {
			delete(n.slots, name)
		}
	}
}
