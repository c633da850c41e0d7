package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// segmentHeader is the payload of a segment's first frame.
type segmentHeader struct {
	V        int       `json:"v"`
	Origin   string    `json:"origin"`
	FirstSeq uint64    `json:"first_seq"` // of the first record; the segment's name
	Blocks   uint64    `json:"blocks"`    // sealed in the segments before
	Bundle   string    `json:"bundle_digest"`
	Time     time.Time `json:"time"`
}

// scanned is what a segment holds, as far as it can be read.
type scanned struct {
	header  segmentHeader
	size    int64       // up to the end of the last frame that can be read
	lost    int64       // bytes after that
	torn    frameHeader // of the frame that could not be read, if its header could
	plain   int64       // bytes of its frames, before they were compressed
	frames  int64       // of records
	next    uint64
	sealed  uint64
	bundle  string // as writer.bundle
	blocks  []tlog.Hash
	pending []pendingRecord
	clean   bool // the last record says that the journal was closed
}

// errNoHeader says that a segment ends before its header does.
var errNoHeader = errors.New("no segment header")

// scanSegment reads a segment as after a crash: up to the first frame that is
// torn or does not match its checksum. The error is errNoHeader if that is the
// first; it wraps ErrDamaged if frames contradict each other.
func scanSegment(path string) (*scanned, error) {
	r, err := openFrames(path)
	if err != nil {
		return nil, err
	}
	defer r.close()
	s := &scanned{}
	for {
		h, payload, err := r.next(nil)
		if err != nil {
			s.size, s.lost = r.offset, r.size-r.offset
			if s.lost >= frameHeaderSize {
				s.torn, _, _ = parseFrameHeader(r.head[:])
			}
			return s, s.ended(err)
		}
		if err := s.frame(&h, payload); err != nil {
			return nil, fmt.Errorf("%w: %s at byte %d: %w", ErrDamaged, filepath.Base(path), r.offset, err)
		}
	}
}

// ended turns what ended a scan into an error, if it is one.
func (s *scanned) ended(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, errTorn), errors.Is(err, errChecksum), errors.Is(err, errFrame):
		if s.header.V == 0 {
			return errNoHeader
		}
		return nil
	}
	return err
}

func (s *scanned) frame(h *frameHeader, payload []byte) error {
	if (s.header.V == 0) != (h.kind == frameSegment) {
		return errors.New("the header of a segment is missing or repeated")
	}
	s.plain += frameHeaderSize + int64(len(payload))
	switch h.kind {
	case frameSegment:
		if err := json.Unmarshal(payload, &s.header); err != nil {
			return err
		}
		if s.header.V != Version {
			return fmt.Errorf("version %d is not supported, want %d", s.header.V, Version)
		}
		s.next, s.sealed, s.bundle = s.header.FirstSeq, s.header.FirstSeq-1, s.header.Bundle
		return nil
	case frameRecords:
		return s.records(h, payload)
	case frameBlock:
		b, err := parseBlock(payload)
		if err != nil {
			return err
		}
		if b.FirstSeq != s.sealed+1 || b.Count == 0 || b.Count > uint64(len(s.pending)) {
			return fmt.Errorf("a block of records %d to %d where %d to %d are waiting", b.FirstSeq, b.Last(), s.sealed+1, s.next-1)
		}
		s.pending = s.pending[b.Count:]
		s.sealed, s.bundle = b.Last(), b.Bundle
		s.blocks = append(s.blocks, tlog.RecordHash(payload))
		return nil
	case frameCheckpoint:
		return nil
	}
	return errFrame
}

func (s *scanned) records(h *frameHeader, payload []byte) error {
	if h.first != s.next {
		return fmt.Errorf("record %d where %d should be", h.first, s.next)
	}
	s.frames++
	leaf := newLeafHasher()
	n := uint32(0)
	for line := range pairs(payload) {
		var r struct {
			Seq     uint64    `json:"seq"`
			Time    time.Time `json:"time"`
			Kind    Kind      `json:"kind"`
			Command string    `json:"command"`
			Bundle  string    `json:"bundle"`
		}
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("%w: %w", errRecord, err)
		}
		if r.Seq != s.next {
			return fmt.Errorf("record %d where %d should be", r.Seq, s.next)
		}
		s.pending = append(s.pending, pendingRecord{leaf: leaf.hash(line), at: r.Time.UnixMicro(), bundle: r.Bundle})
		s.clean = r.Kind == KindJournal && r.Command == JournalClosed
		s.next++
		n++
	}
	if n != h.count {
		return fmt.Errorf("%d records where the frame says %d", n, h.count)
	}
	return nil
}

// pairs yields the public and the private line of each record, without their
// newlines; private is nil if there is none.
func pairs(payload []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(public, private []byte) bool) {
		for len(payload) > 0 {
			public, rest, _ := bytes.Cut(payload, []byte("\n"))
			var private []byte
			if bytes.HasPrefix(rest, []byte(privatePrefix)) {
				private, rest, _ = bytes.Cut(rest, []byte("\n"))
			}
			if !yield(public, private) {
				return
			}
			payload = rest
		}
	}
}
