package relay

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// largest returns how many bytes a client's message of a type has at most, 0
// if clients send no such messages. Those without a text or a value are small,
// as in PostgreSQL (PQ_SMALL_MESSAGE_LIMIT).
func largest(typ byte) int {
	const small, large = 10_000, 1 << 30
	switch typ {
	case 'Q', 'P', 'B', 'F', 'd':
		return large
	case 'D', 'E', 'C', 'S', 'H', 'X', 'c', 'f':
		return small
	}
	return 0
}

// checkShape reports whether a client's message ends where its parts end, so
// that nothing is forwarded that the decoders have not seen (PostgreSQL
// documentation, "Message Formats").
func checkShape(typ byte, body []byte) error {
	s := shape{rest: body}
	switch typ {
	case 'P':
		s.text()
		s.text()
		s.skip(4 * s.count())
	case 'B':
		s.text()
		s.text()
		s.skip(2 * s.count())
		s.values(s.count())
		s.skip(2 * s.count())
	case 'F':
		s.skip(4)
		s.skip(2 * s.count())
		s.values(s.count())
		s.skip(2)
	case 'E':
		s.text()
		s.skip(4)
	case 'D', 'C':
		s.skip(1)
		s.text()
	case 'f', 'Q':
		s.text()
	case 'S', 'H', 'c', 'X':
	default: // COPY data is the server's to read
		return nil
	}
	if s.short || len(s.rest) != 0 {
		return fmt.Errorf("%w: a message of type %q does not end where its parts do", errFrame, typ)
	}
	return nil
}

// shape walks a body without keeping anything of it.
type shape struct {
	rest  []byte
	short bool // it ended before its parts did
}

func (s *shape) skip(n int) {
	if n < 0 || n > len(s.rest) {
		s.short, s.rest = true, nil
		return
	}
	s.rest = s.rest[n:]
}

func (s *shape) text() {
	end := bytes.IndexByte(s.rest, 0)
	if end < 0 {
		s.short = true
		return
	}
	s.rest = s.rest[end+1:]
}

func (s *shape) count() int {
	if len(s.rest) < 2 {
		s.short = true
		return 0
	}
	n := binary.BigEndian.Uint16(s.rest)
	s.rest = s.rest[2:]
	return int(n)
}

func (s *shape) values(n int) {
	for ; n > 0 && !s.short; n-- {
		if len(s.rest) < 4 {
			s.short = true
			return
		}
		length := int32(binary.BigEndian.Uint32(s.rest))
		s.rest = s.rest[4:]
		if length > 0 {
			s.skip(int(length))
		} else if length < -1 {
			s.short = true
		}
	}
}
