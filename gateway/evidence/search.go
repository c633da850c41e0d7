package evidence

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
)

// Search yields the records of a journal that match, oldest first unless the
// query says otherwise. The journal may be in use: records that are being
// written are left out. What cannot be read is yielded as an error that wraps
// [ErrDamaged] and names the segment and the byte; the search goes on with the
// next segment. Search reads; [Verify] tells whether what it reads is the truth.
func Search(dir string, q Query) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		s, err := newSearch(dir, &q)
		if err != nil {
			yield(nil, fmt.Errorf("search evidence: %w", err))
			return
		}
		left := q.Limit
		for _, first := range s.segments {
			for r, err := range s.segment(first) {
				if err != nil {
					err = fmt.Errorf("search evidence: %w", err)
				}
				if !yield(r, err) {
					return
				}
				if err == nil && left > 0 {
					if left--; left == 0 {
						return
					}
				}
			}
		}
	}
}

type search struct {
	dir      string
	q        *Query
	segments []uint64 // in the order in which to read them
	newest   uint64   // the segment that may be in use
}

func newSearch(dir string, q *Query) (*search, error) {
	names, err := segments(dir)
	if err != nil {
		return nil, err
	}
	s := &search{dir: dir, q: q}
	if len(names) > 0 {
		s.newest = names[len(names)-1]
	}
	for i, first := range names {
		if i+1 < len(names) && names[i+1] <= q.AfterSeq+1 {
			continue
		}
		s.segments = append(s.segments, first)
	}
	if q.Newest {
		slices.Reverse(s.segments)
	}
	return s, nil
}

// segment yields one segment's records that match.
func (s *search) segment(first uint64) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		r, err := s.open(first)
		if errors.Is(err, fs.ErrNotExist) {
			return // shipped and removed since
		}
		if err != nil {
			yield(nil, err)
			return
		}
		defer r.close()
		if s.q.Newest {
			s.backward(r, first, yield)
		} else {
			s.forward(r, first, yield)
		}
	}
}

func (s *search) open(first uint64) (*frameReader, error) {
	if first == s.newest {
		return openLive(s.dir, first)
	}
	return openFrames(filepath.Join(s.dir, segmentName(first)))
}

func (s *search) forward(r *frameReader, first uint64, yield func(*Record, error) bool) {
	for {
		at := r.offset
		_, payload, err := r.next(s.q.mayMatch)
		if err != nil {
			if err := s.broken(first, r.offset, err); err != nil {
				yield(nil, err)
			}
			return
		}
		if payload == nil {
			continue
		}
		for public, private := range pairs(payload) {
			record, err := s.match(public, private)
			if err != nil {
				err = s.broken(first, at, err)
			}
			if (record != nil || err != nil) && !yield(record, err) {
				return
			}
		}
	}
}

// backward walks the headers first, then reads the frames from the last to the
// first.
func (s *search) backward(r *frameReader, first uint64, yield func(*Record, error) bool) {
	var offsets []int64
	for {
		at := r.offset
		var wanted bool
		_, _, err := r.next(func(h *frameHeader) bool {
			wanted = s.q.mayMatch(h)
			return false
		})
		if err != nil {
			if err := s.broken(first, r.offset, err); err != nil && !yield(nil, err) {
				return
			}
			break
		}
		if wanted {
			offsets = append(offsets, at)
		}
	}
	for _, offset := range slices.Backward(offsets) {
		payload, err := r.at(offset)
		if err != nil {
			if err := s.broken(first, offset, err); err != nil && !yield(nil, err) {
				return
			}
			continue
		}
		var found []*Record
		for public, private := range pairs(payload) {
			record, err := s.match(public, private)
			if err != nil && !yield(nil, s.broken(first, offset, err)) {
				return
			}
			if record != nil {
				found = append(found, record)
			}
		}
		for _, record := range slices.Backward(found) {
			if !yield(record, nil) {
				return
			}
		}
	}
}

// match decodes a record, and returns nil if it is not wanted.
func (s *search) match(public, private []byte) (*Record, error) {
	r, err := decodeRecord(public, private)
	if err != nil || !s.q.Match(r) {
		return nil, err
	}
	return r, nil
}

// broken says where a segment cannot be read, nil if that is only its end.
func (s *search) broken(first uint64, offset int64, err error) error {
	if errors.Is(err, io.EOF) || first == s.newest && errors.Is(err, errTorn) {
		return nil
	}
	return fmt.Errorf("%w: %s at byte %d: %w", ErrDamaged, segmentName(first), offset, err)
}
