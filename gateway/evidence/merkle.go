package evidence

import (
	"crypto/sha256"
	"fmt"
	"hash"

	"golang.org/x/mod/sumdb/tlog"
)

// leafHasher computes RFC 6962's hash of leaves, as tlog.RecordHash does, without
// its allocations. It is not safe for concurrent use.
type leafHasher struct {
	sha    hash.Hash
	prefix [1]byte // zero: that of leaves
	sum    tlog.Hash
}

func newLeafHasher() *leafHasher { return &leafHasher{sha: sha256.New()} }

func (h *leafHasher) hash(line []byte) tlog.Hash {
	h.sha.Reset()
	_, _ = h.sha.Write(h.prefix[:]) // a hash's Write never fails
	_, _ = h.sha.Write(line)
	h.sha.Sum(h.sum[:0])
	return h.sum
}

// tree is RFC 6962's Merkle tree over leaves that come one by one: the roots of
// the perfect subtrees that they fill, largest first. The zero tree is empty.
type tree struct {
	size     uint64
	perfects []tlog.Hash
}

func (t *tree) add(leaf tlog.Hash) {
	t.perfects = append(t.perfects, leaf)
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.perfects) - 1
		t.perfects[last-1] = tlog.NodeHash(t.perfects[last-1], t.perfects[last])
		t.perfects = t.perfects[:last]
	}
	t.size++
}

// root returns the tree's hash. That of no leaves is the hash of nothing.
func (t *tree) root() tlog.Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	root := t.perfects[len(t.perfects)-1]
	for i := len(t.perfects) - 2; i >= 0; i-- {
		root = tlog.NodeHash(t.perfects[i], root)
	}
	return root
}

func (t *tree) reset() {
	t.size = 0
	t.perfects = t.perfects[:0]
}

// memoryHashes is a tlog.HashReader over hashes in stored order.
type memoryHashes []tlog.Hash

func (m memoryHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(m)) {
			return nil, fmt.Errorf("hash %d of %d is not stored", index, len(m))
		}
		out[i] = m[index]
	}
	return out, nil
}

// append adds a leaf and the nodes that it completes.
func (m memoryHashes) append(n int64, leaf tlog.Hash) (memoryHashes, error) {
	more, err := tlog.StoredHashesForRecordHash(n, leaf, m)
	if err != nil {
		return nil, fmt.Errorf("hash leaf %d: %w", n, err)
	}
	return append(m, more...), nil
}
