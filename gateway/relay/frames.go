package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	headerSize    = 5 // type and length
	minBuffer     = 8 << 10
	maxIdleBuffer = 128 << 10 // a buffer grows to this by itself; beyond it only for one message
)

// errFrame is returned for a message whose length is impossible.
var errFrame = errors.New("a message has an impossible length")

// errType is returned for a type of message that there is not.
var errType = errors.New("a message has an unknown type")

// errTooLarge is returned for a message that must be read whole and is larger
// than the limit.
var errTooLarge = errors.New("a message is larger than the limit")

// frames walks the messages of a stream in one large buffer. Messages are
// given out whole, but for those that the caller streams: of these, one that
// does not fit the buffer is given out in pieces.
type frames struct {
	src     io.Reader
	streams func(typ byte) bool // may messages of this type be given out in pieces?
	limit   int                 // bytes of the largest message that is given out whole
	most    func(typ byte) int  // bytes of the largest message of a type, 0 if there is no such type; nil: any

	buf    []byte
	r, w   int  // unread bytes are buf[r:w]
	pooled bool // buf is shared, and given back while there is nothing to read
	greedy bool // the last fill took all that fits
	rest   int  // bytes still to come of a message given out in part
}

func newFrames(src io.Reader, limit int, streams func(byte) bool) *frames {
	return &frames{src: src, limit: limit, streams: streams}
}

// piece is what next gives out: a whole message, or a part of one.
type piece struct {
	typ   byte
	data  []byte // with the header, if first; valid until fill
	first bool   // the message begins here
	last  bool   // the message ends here
}

// body returns the bytes behind the header of a whole message.
func (p piece) body() []byte { return p.data[headerSize:] }

// next gives out the next piece in the buffer; ok is false when more must be
// read first.
func (f *frames) next() (p piece, ok bool, err error) {
	if f.rest > 0 {
		n := min(f.rest, f.w-f.r)
		if n == 0 {
			return piece{}, false, nil
		}
		f.rest -= n
		p = piece{data: f.buf[f.r : f.r+n], last: f.rest == 0}
		f.r += n
		return p, true, nil
	}
	have := f.w - f.r
	if have < headerSize {
		return piece{}, false, nil
	}
	typ := f.buf[f.r]
	length := binary.BigEndian.Uint32(f.buf[f.r+1:])
	if length < 4 || length > 1<<30 {
		return piece{}, false, fmt.Errorf("%w: type %q, length %d", errFrame, typ, length)
	}
	total := int(length) + 1
	if f.most != nil {
		switch most := f.most(typ); {
		case most == 0:
			return piece{}, false, fmt.Errorf("%w: %q", errType, typ)
		case total > most:
			return piece{}, false, fmt.Errorf("%w: type %q, length %d", errFrame, typ, length)
		}
	}
	switch {
	case have >= total:
		p = piece{typ: typ, data: f.buf[f.r : f.r+total], first: true, last: true}
		f.r += total
		return p, true, nil
	case total > maxIdleBuffer && f.streams(typ):
		p = piece{typ: typ, data: f.buf[f.r:f.w], first: true}
		f.rest = total - have
		f.r = f.w
		return p, true, nil
	case total > f.limit:
		return piece{}, false, fmt.Errorf("%w: type %q, %d bytes, at most %d", errTooLarge, typ, total, f.limit)
	}
	return piece{}, false, nil // the buffer grows as the message comes, not as it says it will
}

// fill reads more, and invalidates what next gave out.
func (f *frames) fill() error {
	switch {
	case f.buf == nil && f.pooled:
		f.buf = full.get()
		f.buf = f.buf[:cap(f.buf)]
	case f.buf == nil:
		f.buf = make([]byte, minBuffer)
	case f.r == f.w:
		f.r, f.w = 0, 0
		if len(f.buf) > maxIdleBuffer {
			f.buf = make([]byte, minBuffer)
		}
	case f.r > 0:
		f.w = copy(f.buf, f.buf[f.r:f.w])
		f.r = 0
	}
	if f.w == len(f.buf) {
		f.resize(2 * len(f.buf))
	}
	n, err := f.src.Read(f.buf[f.w:])
	f.w += n
	f.greedy = f.w == len(f.buf)
	if n == len(f.buf) && n < maxIdleBuffer { // a bulk transfer: take more at a time
		f.resize(2 * n)
	}
	if n > 0 {
		return nil
	}
	return err
}

// giveBack gives up the buffer if there is nothing in it.
func (f *frames) giveBack() {
	if f.r == f.w {
		f.r, f.w = 0, 0
		full.put(&f.buf)
	}
}

func (f *frames) resize(size int) {
	grown := make([]byte, size)
	f.w = copy(grown, f.buf[f.r:f.w])
	f.r = 0
	f.buf = grown
}
