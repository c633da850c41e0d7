package mask

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// hashBytes is how much of the HMAC is shown: as much as makes two values with
// one hash a matter of 2^64 values.
const hashBytes = 16

func hashRewrite(c Column, keys *policyKeys) rewrite {
	var f func(dst, value []byte, s *scratch) ([]byte, bool)
	switch classOf(c.TypeOID) {
	case classText:
		f = c.hashText
	case classInteger:
		f = c.hashInteger
	case classNumeric:
		if c.hashDigits() == 0 {
			return nil
		}
		f = c.hashNumeric
	case classFloat:
		f = c.hashFloat
	case classUUID:
		f = c.hashUUID
	case classBytea:
		f = c.hashBytea
	case classNone, classDate, classTimestamp, classTimestamptz:
		return nil
	}
	return func(dst, value []byte) ([]byte, bool) {
		s := keys.get()
		defer keys.put(s)
		return f(dst, value, s)
	}
}

func (c Column) hashText(dst, value []byte, s *scratch) ([]byte, bool) {
	start := len(dst)
	dst = hex.AppendEncode(dst, s.digest(c.valueOf(value))[:hashBytes])
	return dst[:start+len(cutText(dst[start:], c.textLimit()))], true
}

// number returns the digest as a number of some bits.
func number(digest []byte, bits int) uint64 {
	return binary.BigEndian.Uint64(digest) >> (64 - bits)
}

func (c Column) hashInteger(dst, value []byte, s *scratch) ([]byte, bool) {
	n, ok := c.readInteger(value)
	if !ok {
		return dst, false
	}
	s.text = n.appendText(s.text)
	hashed := integer{magnitude: number(s.digest(s.text), c.integerBits())}
	return c.appendInteger(dst, hashed), true
}

// hashDigits returns how many digits a numeric hash may have.
func (c Column) hashDigits() int {
	const most = 18
	if digits, known := c.wholeDigits(); known {
		return min(digits, most)
	}
	return most
}

func (c Column) hashNumeric(dst, value []byte, s *scratch) ([]byte, bool) {
	var ok bool
	if s.text, ok = c.readNumeric(s.text, value); !ok {
		return dst, false
	}
	bound := uint64(1)
	for range c.hashDigits() {
		bound *= 10
	}
	var digits [20]byte
	hashed := strconv.AppendUint(digits[:0], number(s.digest(plainNumber(s.text)), 64)%bound, 10)
	return c.appendNumeric(dst, hashed)
}

func (c Column) hashFloat(dst, value []byte, s *scratch) ([]byte, bool) {
	f, ok := c.readFloat(value)
	if !ok || !isFinite(f) {
		return dst, false
	}
	if f == 0 {
		f = 0 // -0 equals it
	}
	bits, mantissa := 64, 53
	if c.TypeOID == oidFloat4 {
		bits, mantissa = 32, 24
	}
	s.text = strconv.AppendFloat(s.text, f, 'g', -1, bits)
	return c.appendFloat(dst, float64(number(s.digest(s.text), mantissa))), true
}

func (c Column) hashUUID(dst, value []byte, s *scratch) ([]byte, bool) {
	id, ok := c.readUUID(value)
	if !ok {
		return dst, false
	}
	s.text = append(s.text, id[:]...)
	copy(id[:], s.digest(s.text))
	id[6] = id[6]&0x0f | 0x80 // version 8, a meaning of one's own (RFC 9562)
	id[8] = id[8]&0x3f | 0x80
	return c.appendUUID(dst, id), true
}

func (c Column) hashBytea(dst, value []byte, s *scratch) ([]byte, bool) {
	var ok bool
	if s.text, ok = c.readBytea(s.text, value); !ok {
		return dst, false
	}
	return c.appendBytea(dst, s.digest(s.text)[:hashBytes]), true
}
