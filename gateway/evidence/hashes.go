package evidence

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// hashFile stores the log's hashes in tlog's order, 32 bytes each, so that
// proofs need not read the whole log. It follows from the segments: a journal
// makes it again if it is missing or wrong, and Verify does not use it.
type hashFile struct {
	f     *os.File
	count uint64 // leaves
}

func openHashes(dir string, write bool) (*hashFile, error) {
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR | os.O_CREATE
	}
	f, err := os.OpenFile(filepath.Join(dir, hashesFile), flags, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &hashFile{f: f, count: leavesStored(info.Size() / tlog.HashSize)}, nil
}

// leavesStored returns how many leaves' hashes are complete among n stored
// ones: the greatest count with tlog.StoredHashCount(count) <= n.
func leavesStored(n int64) uint64 {
	count := n / 2 // StoredHashCount(count) is less than twice count, and at least count
	for tlog.StoredHashCount(count+1) <= n {
		count++
	}
	return uint64(count)
}

func (h *hashFile) close() { _ = h.f.Close() } // what was written can be made again

// ReadHashes implements tlog.HashReader.
func (h *hashFile) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if _, err := h.f.ReadAt(out[i][:], index*tlog.HashSize); err != nil {
			return nil, fmt.Errorf("read hash %d of the log: %w", index, err)
		}
	}
	return out, nil
}

// append adds a leaf.
func (h *hashFile) append(leaf tlog.Hash) error {
	hashes, err := tlog.StoredHashesForRecordHash(int64(h.count), leaf, h)
	if err != nil {
		return fmt.Errorf("hash leaf %d of the log: %w", h.count, err)
	}
	var buf []byte
	for _, hash := range hashes {
		buf = append(buf, hash[:]...)
	}
	if _, err := h.f.WriteAt(buf, tlog.StoredHashCount(int64(h.count))*tlog.HashSize); err != nil {
		return fmt.Errorf("write hashes of the log: %w", err)
	}
	h.count++
	return nil
}

// truncate keeps the first count leaves.
func (h *hashFile) truncate(count uint64) error {
	if err := h.f.Truncate(tlog.StoredHashCount(int64(count)) * tlog.HashSize); err != nil {
		return fmt.Errorf("truncate hashes of the log: %w", err)
	}
	h.count = count
	return nil
}

// tree returns the log's tree when it had size leaves.
func (h *hashFile) tree(size uint64) (tree, error) {
	if size > h.count {
		return tree{}, fmt.Errorf("the hashes of %d leaves are stored, %d are wanted", h.count, size)
	}
	t := tree{size: size}
	done := uint64(0)
	for level := 62; level >= 0; level-- {
		if size&(1<<level) == 0 {
			continue
		}
		perfect, err := h.ReadHashes([]int64{tlog.StoredHashIndex(level, int64(done>>level))})
		if err != nil {
			return tree{}, err
		}
		t.perfects = append(t.perfects, perfect[0])
		done += 1 << level
	}
	return t, nil
}
