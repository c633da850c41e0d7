package mask

import (
	"encoding/binary"
	"math"
	"strconv"
)

// integer is a value of int2, int4, int8 or oid.
type integer struct {
	negative  bool
	magnitude uint64
}

func (n integer) appendText(dst []byte) []byte {
	if n.negative && n.magnitude > 0 {
		dst = append(dst, '-')
	}
	return strconv.AppendUint(dst, n.magnitude, 10)
}

// integerBits returns how many bits a value from 0 up has.
func (c Column) integerBits() int {
	switch c.TypeOID {
	case oidInt2:
		return 15
	case oidInt4:
		return 31
	case oidOID:
		return 32
	}
	return 63
}

// largest returns the largest magnitude of a value of that sign.
func (c Column) largest(negative bool) uint64 {
	most := uint64(1)<<c.integerBits() - 1
	if negative {
		most++
	}
	return most
}

func (c Column) readInteger(value []byte) (integer, bool) {
	if c.Format == FormatText {
		return c.parseInteger(value)
	}
	var n int64
	switch {
	case len(value) == 2 && c.TypeOID == oidInt2:
		n = int64(int16(binary.BigEndian.Uint16(value)))
	case len(value) == 4 && c.TypeOID == oidInt4:
		n = int64(int32(binary.BigEndian.Uint32(value)))
	case len(value) == 4 && c.TypeOID == oidOID:
		n = int64(binary.BigEndian.Uint32(value))
	case len(value) == 8 && c.TypeOID == oidInt8:
		n = int64(binary.BigEndian.Uint64(value))
	default:
		return integer{}, false
	}
	if n < 0 {
		return integer{negative: true, magnitude: -uint64(n)}, true
	}
	return integer{magnitude: uint64(n)}, true
}

func (c Column) parseInteger(text []byte) (integer, bool) {
	var n integer
	if len(text) > 0 && text[0] == '-' && c.TypeOID != oidOID {
		n.negative, text = true, text[1:]
	}
	if len(text) == 0 || len(text) > 19 {
		return integer{}, false
	}
	for _, b := range text {
		if !isDigit(b) {
			return integer{}, false
		}
		n.magnitude = n.magnitude*10 + uint64(b-'0')
	}
	return n, n.magnitude <= c.largest(n.negative)
}

// appendInteger appends a value that is within the type's range.
func (c Column) appendInteger(dst []byte, n integer) []byte {
	if c.Format == FormatText {
		return n.appendText(dst)
	}
	bits := n.magnitude
	if n.negative {
		bits = -bits
	}
	switch c.TypeOID {
	case oidInt2:
		return binary.BigEndian.AppendUint16(dst, uint16(bits))
	case oidInt4, oidOID:
		return binary.BigEndian.AppendUint32(dst, uint32(bits))
	}
	return binary.BigEndian.AppendUint64(dst, bits)
}

func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

func (c Column) readFloat(value []byte) (float64, bool) {
	if c.Format == FormatText {
		bits := 64
		if c.TypeOID == oidFloat4 {
			bits = 32
		}
		f, err := strconv.ParseFloat(string(value), bits)
		return f, err == nil
	}
	switch {
	case len(value) == 4 && c.TypeOID == oidFloat4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(value))), true
	case len(value) == 8 && c.TypeOID == oidFloat8:
		return math.Float64frombits(binary.BigEndian.Uint64(value)), true
	}
	return 0, false
}

// appendFloat appends a finite value as PostgreSQL writes it.
func (c Column) appendFloat(dst []byte, f float64) []byte {
	if c.Format == FormatBinary {
		if c.TypeOID == oidFloat4 {
			return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(f)))
		}
		return binary.BigEndian.AppendUint64(dst, math.Float64bits(f))
	}
	bits, verb := 64, byte('f')
	if c.TypeOID == oidFloat4 {
		bits = 32
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e15) {
		verb = 'e'
	}
	return strconv.AppendFloat(dst, f, verb, -1, bits)
}
