package evidence

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// Redact erases the private parts, SQL and Params, of the records that match.
// Every proof of them still verifies. It closes the current segment first and
// records how many it redacted.
func (j *Journal) Redact(match func(*Record) bool) (redacted int, err error) {
	if _, _, err := j.sealAndRotate(true); err != nil {
		return 0, fmt.Errorf("redact evidence: %w", err)
	}
	j.write.Lock()
	err = j.tail.wipe()
	j.write.Unlock()
	if err != nil {
		return 0, fmt.Errorf("redact evidence: %w", err)
	}
	names, err := segments(j.cfg.Dir)
	if err != nil {
		return 0, fmt.Errorf("redact evidence: %w", err)
	}
	for _, first := range names[:len(names)-1] {
		n, err := j.rewrite(first, match)
		redacted += n
		if err != nil {
			return redacted, fmt.Errorf("redact evidence: %w", err)
		}
	}
	if _, err := j.Append(&Record{Kind: KindJournal, Command: JournalRedacted, Rows: int64(redacted)}, Power); err != nil {
		return redacted, fmt.Errorf("redact evidence: %w", err)
	}
	return redacted, nil
}

// rewrite writes a closed segment anew: records that were written one by one
// share frames and compress well, and those that redact chooses lose their
// private part. It returns how many did.
func (j *Journal) rewrite(first uint64, redact func(*Record) bool) (int, error) {
	j.rewriting.Lock()
	defer j.rewriting.Unlock()
	path := filepath.Join(j.cfg.Dir, segmentName(first))
	in, err := openFrames(path)
	if err != nil {
		return 0, err
	}
	defer in.close()
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return 0, fmt.Errorf("make compressor: %w", err)
	}
	r := rewriter{in: in, redact: redact, out: frameWriter{zstd: encoder, leaf: newLeafHasher()}}
	err = replaceFileFrom(path, 0o600, r.run)
	if errors.Is(err, errNothingToRedact) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("rewrite %s: %w", filepath.Base(path), err)
	}
	return r.redacted, nil
}

// errNothingToRedact says that a segment need not be replaced.
var errNothingToRedact = errors.New("nothing to redact")

// rewriter gathers records into large frames. Blocks and checkpoints wait until
// the records that they speak of are written.
type rewriter struct {
	in       *frameReader
	redact   func(*Record) bool // nil: only compact
	redacted int

	out     frameWriter
	lines   []byte
	records []batchRecord
	waiting []byte // frames
}

func (r *rewriter) run(w io.Writer) error {
	for {
		h, payload, err := r.in.next(nil)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch h.kind {
		case frameSegment:
			r.out.buf = appendFrame(r.out.buf, h, payload)
		case frameBlock, frameCheckpoint:
			r.waiting = appendFrame(r.waiting, h, payload)
		case frameRecords:
			if err := r.add(&h, payload); err != nil {
				return err
			}
		}
		if len(r.lines) >= frameSplit/2 {
			if err := r.flush(w); err != nil {
				return err
			}
		}
	}
	if r.redact != nil && r.redacted == 0 {
		return errNothingToRedact
	}
	return r.flush(w)
}

// add takes a frame's records.
func (r *rewriter) add(h *frameHeader, payload []byte) error {
	seq, last := h.first, h.first+uint64(h.count)-1
	for public, private := range pairs(payload) {
		at := h.from // only the least and the greatest time of a frame are kept
		if seq == last {
			at = h.to
		}
		if private != nil && r.redact != nil {
			record, err := decodeRecord(public, private)
			if err != nil {
				return err
			}
			if r.redact(record) {
				private = nil
				r.redacted++
			}
		}
		r.lines = append(append(r.lines, public...), '\n')
		publicEnd := len(r.lines)
		if private != nil {
			r.lines = append(append(r.lines, private...), '\n')
		}
		r.records = append(r.records, batchRecord{seq: seq, publicEnd: publicEnd, end: len(r.lines), at: at})
		seq++
	}
	return nil
}

// flush writes what was gathered.
func (r *rewriter) flush(w io.Writer) error {
	r.out.appendFrames(r.lines, r.records)
	for _, data := range [][]byte{r.out.buf, r.waiting} {
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	r.out.buf, r.out.leaves, r.lines, r.records, r.waiting = r.out.buf[:0], r.out.leaves[:0], r.lines[:0], r.records[:0], r.waiting[:0]
	return nil
}
