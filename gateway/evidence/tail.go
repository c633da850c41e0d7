package evidence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"time"
)

// The tail's file, see the package comment.
const (
	tailHalf        = 512 << 10 // bytes of each half
	tailFrameHeader = 24        // bytes of a frame before its lines
)

// tail holds the records that are in no segment yet, twice: in memory, from
// where they are moved into the segment, and in a file, from where they are
// read after the process was killed. One half takes records while those of the
// other are moved.
type tail struct {
	halves [2]half
	active int // the half that takes records; the other one's are older
	file   tailFile
	head   [tailFrameHeader]byte // of the frame that is put
}

// half is one half of the tail.
type half struct {
	lines   []byte
	records []batchRecord
	used    int // bytes of the file's half
}

func (h *half) empty() bool { return len(h.records) == 0 }

func (h *half) reset() {
	clear(h.records) // their strings
	h.lines, h.records, h.used = h.lines[:0], h.records[:0], 0
}

// tailFile is where the tail survives the process.
type tailFile interface {
	// put stores head and then body at an offset, which survives the process
	// when it returns. It keeps neither.
	put(offset int, head, body []byte) error
	Close() error
}

// fits makes sure that a frame of n bytes fits into the active half, for which
// it begins the other one if that is empty. It reports whether it did.
func (t *tail) fits(n int) (fits, switched bool) {
	if t.halves[t.active].used+n <= tailHalf {
		return true, false
	}
	if !t.halves[t.active^1].empty() {
		return false, false
	}
	t.active ^= 1
	return true, true
}

// put adds a record, for which there is room.
func (t *tail) put(e *encoder, seq uint64, at time.Time, bundle string) error {
	h := &t.halves[t.active]
	start := len(h.lines)
	h.lines = append(appendStart(h.lines, seq), e.public...)
	publicEnd := len(h.lines)
	h.lines = append(h.lines, e.private...)
	lines := h.lines[start:]
	micro := at.UnixMicro()
	head := t.head[:]
	binary.BigEndian.PutUint32(head[4:], uint32(len(lines)))
	binary.BigEndian.PutUint64(head[8:], seq)
	binary.BigEndian.PutUint64(head[16:], uint64(micro))
	binary.BigEndian.PutUint32(head, crc32.Update(crc32.Checksum(head[4:], castagnoli), castagnoli, lines))
	if err := t.file.put(t.active*tailHalf+h.used, head, lines); err != nil {
		h.lines = h.lines[:start]
		return err
	}
	h.used += len(head) + len(lines)
	h.records = append(h.records, batchRecord{seq: seq, publicEnd: publicEnd, end: len(h.lines), at: micro, bundle: bundle})
	return nil
}

// oldest returns the half whose records are to be moved next, nil if there is
// none. It takes no more of them.
func (t *tail) oldest() *half {
	if h := &t.halves[t.active^1]; !h.empty() {
		return h
	}
	h := &t.halves[t.active]
	if h.empty() {
		return nil
	}
	t.active ^= 1
	return h
}

// full returns the half that is full, nil if none is.
func (t *tail) full() *half {
	if h := &t.halves[t.active^1]; !h.empty() {
		return h
	}
	return nil
}

// wipe overwrites what the file holds of records that were moved.
func (t *tail) wipe() error {
	zeros := make([]byte, tailHalf)
	for i := range t.halves {
		if err := t.file.put(i*tailHalf+t.halves[i].used, nil, zeros[t.halves[i].used:]); err != nil {
			return err
		}
	}
	return nil
}

// records returns what memory holds, oldest first.
func (t *tail) records() []tailRecord {
	var out []tailRecord
	for _, i := range []int{t.active ^ 1, t.active} {
		h, begin := &t.halves[i], 0
		for _, r := range h.records {
			out = append(out, tailRecord{seq: r.seq, at: r.at, lines: h.lines[begin:r.end]})
			begin = r.end
		}
	}
	return out
}

// tailRecord is one record of a tail.
type tailRecord struct {
	seq   uint64
	at    int64
	lines []byte
}

// parseTail returns the records of a tail's file that follow a segment which
// ends before next, and how many bytes after them are no whole frame. Whatever
// the bytes are, what they are not is the tail's end: nothing in it is sealed.
func parseTail(data []byte, next uint64) (records []tailRecord, torn int64) {
	a, b := data[:min(len(data), tailHalf)], data[min(len(data), tailHalf):]
	if seqAt(a) > seqAt(b) {
		a, b = b, a
	}
	for _, half := range [][]byte{a, b} {
		var more []tailRecord
		more, torn = parseHalf(half, &next)
		records = append(records, more...)
	}
	return records, torn
}

// seqAt is the seq of the frame at the start of a half.
func seqAt(half []byte) uint64 {
	if len(half) < tailFrameHeader {
		return 0
	}
	return binary.BigEndian.Uint64(half[8:])
}

// parseHalf returns a half's records from next on, and advances next.
func parseHalf(half []byte, next *uint64) (records []tailRecord, torn int64) {
	for seq := seqAt(half); len(half) >= tailFrameHeader && seq <= *next; seq++ {
		length := int(binary.BigEndian.Uint32(half[4:]))
		if seqAt(half) != seq || length == 0 {
			return records, 0
		}
		end := tailFrameHeader + length
		if end > len(half) || crc32.Checksum(half[4:end], castagnoli) != binary.BigEndian.Uint32(half) {
			if seq == *next {
				torn = int64(min(end, len(half)))
			}
			return records, torn
		}
		if seq == *next {
			records = append(records, tailRecord{seq: seq, at: int64(binary.BigEndian.Uint64(half[16:])), lines: half[tailFrameHeader:end]})
			*next++
		}
		half = half[end:]
	}
	return records, 0
}

// readTail is parseTail of a file, which need not be there.
func readTail(path string, next uint64) ([]tailRecord, int64, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the tail: %w", err)
	}
	records, torn := parseTail(data, next)
	return records, torn, nil
}

// tailFrame makes a frame of a tail's records, of which there is one at least.
func tailFrame(records []tailRecord) (h frameHeader, payload []byte) {
	h = frameHeader{kind: frameRecords, count: uint32(len(records)), first: records[0].seq, from: records[0].at, to: records[0].at}
	leaf, t := newLeafHasher(), tree{}
	for _, r := range records {
		payload = append(payload, r.lines...)
		h.from, h.to = min(h.from, r.at), max(h.to, r.at)
		for public := range pairs(r.lines) {
			t.add(leaf.hash(public))
		}
	}
	h.root, h.length = t.root(), uint32(len(payload))
	return h, payload
}

// openTailFile makes the tail's file anew.
func openTailFile(path string) (tailFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	t, err := mapTail(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make %s: %w", path, err), f.Close())
	}
	return t, nil
}

// writtenTail is a tail's file where it cannot be mapped into memory.
type writtenTail struct {
	*os.File
	buf []byte
}

func (t *writtenTail) put(offset int, head, body []byte) error {
	t.buf = append(append(t.buf[:0], head...), body...)
	_, err := t.WriteAt(t.buf, int64(offset))
	return err
}
