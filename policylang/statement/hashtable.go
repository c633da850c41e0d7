package statement

import (
	"hash/maphash"
	"sync/atomic"
)

// ways is the number of slots that a key may be in.
const ways = 4

// hashTable maps texts to values, at most as many as it has slots. It has no
// locks: a slot is a pointer that is swapped whole, and what is in it never
// changes. A new value takes an empty slot of its key's, or that of a value
// which was not asked for since the last one took such a slot.
type hashTable[V any] struct {
	seed     maphash.Seed // random, so that nobody can choose texts that collide
	slots    []atomic.Pointer[slot[V]]
	maxBytes int64
	bytes    atomic.Int64
	hand     atomic.Uint64 // the next slot to empty if bytes is too large
}

type slot[V any] struct {
	hash  uint64
	key   string
	value V
	bytes int64
	asked atomic.Bool
}

// newHashTable returns a table of at least that many slots.
func newHashTable[V any](entries int, maxBytes int64) *hashTable[V] {
	n := ways
	for n < entries {
		n *= 2
	}
	return &hashTable[V]{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[slot[V]], n), maxBytes: maxBytes}
}

// of returns the slots that a hash may be in.
func (t *hashTable[V]) of(hash uint64) []atomic.Pointer[slot[V]] {
	at := int(hash%uint64(len(t.slots)/ways)) * ways
	return t.slots[at : at+ways]
}

// get returns the value of a key.
func (t *hashTable[V]) get(key string) (v V, ok bool) {
	hash := maphash.String(t.seed, key)
	set := t.of(hash)
	for i := range set {
		if s := set[i].Load(); s != nil && s.hash == hash && s.key == key {
			s.ask()
			return s.value, true
		}
	}
	return v, false
}

// getBytes is get for a key in a buffer.
func (t *hashTable[V]) getBytes(key []byte) (v V, ok bool) {
	hash := maphash.Bytes(t.seed, key)
	set := t.of(hash)
	for i := range set {
		if s := set[i].Load(); s != nil && s.hash == hash && s.key == string(key) {
			s.ask()
			return s.value, true
		}
	}
	return v, false
}

// ask writes only if it must, so that readers do not fight for the memory.
func (s *slot[V]) ask() {
	if !s.asked.Load() {
		s.asked.Store(true)
	}
}

// put keeps a value of that size and returns the one kept: another may have
// been faster. A value that is too large for the table is not kept.
func (t *hashTable[V]) put(key string, value V, bytes int64) V {
	if bytes > t.maxBytes/8 {
		return value
	}
	fresh := &slot[V]{hash: maphash.String(t.seed, key), key: key, value: value, bytes: bytes}
	set := t.of(fresh.hash)
	for i := range set {
		if s := set[i].Load(); s != nil && s.hash == fresh.hash && s.key == key {
			return s.value
		}
	}
	victim := victim(set, fresh.hash)
	t.replace(&set[victim], fresh)
	for t.bytes.Load() > t.maxBytes {
		t.replace(&t.slots[t.hand.Add(1)%uint64(len(t.slots))], nil)
	}
	return value
}

func (t *hashTable[V]) replace(at *atomic.Pointer[slot[V]], fresh *slot[V]) {
	if fresh != nil {
		t.bytes.Add(fresh.bytes)
	}
	if old := at.Swap(fresh); old != nil {
		t.bytes.Add(-old.bytes)
	}
}

// victim chooses the slot that is given up.
func victim[V any](set []atomic.Pointer[slot[V]], hash uint64) int {
	for i := range set {
		if set[i].Load() == nil {
			return i
		}
	}
	for i := range set {
		if s := set[i].Load(); s != nil && !s.asked.Load() {
			return i
		}
	}
	for i := range set {
		if s := set[i].Load(); s != nil {
			s.asked.Store(false)
		}
	}
	return int(hash>>32) % len(set)
}
