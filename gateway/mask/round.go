package mask

import (
	"bytes"
	"math"
	"strconv"
)

// maxDigits is beyond every digit that a number has.
const maxDigits = 1 << 18

func roundRewrite(c Column) rewrite {
	c.Transform.Digits = min(max(c.Transform.Digits, -maxDigits), maxDigits)
	switch classOf(c.TypeOID) {
	case classInteger:
		if c.Transform.Digits >= 0 {
			return nil
		}
		return c.roundInteger
	case classNumeric:
		return c.roundNumeric
	case classFloat:
		return c.roundFloat
	case classNone, classText, classUUID, classBytea, classDate, classTimestamp, classTimestamptz:
	}
	return nil
}

func (c Column) roundInteger(dst, value []byte) ([]byte, bool) {
	n, ok := c.readInteger(value)
	if !ok {
		return dst, false
	}
	unit := uint64(1)
	for range -c.Transform.Digits {
		if unit > math.MaxUint64/10 {
			return c.appendInteger(dst, integer{}), true
		}
		unit *= 10
	}
	rest := n.magnitude % unit
	n.magnitude -= rest
	if rest >= unit-rest && n.magnitude+unit <= c.largest(n.negative) {
		n.magnitude += unit
	}
	return c.appendInteger(dst, n), true
}

func (c Column) roundNumeric(dst, value []byte) ([]byte, bool) {
	var buffer [96]byte
	text, ok := c.readNumeric(buffer[:0], value)
	if !ok {
		return dst, false
	}
	var output [96]byte
	rounded := appendRounded(output[:0], text, c.Transform.Digits, true)
	if most, known := c.wholeDigits(); known && wholeLen(rounded) > most {
		rounded = appendRounded(rounded[:0], text, c.Transform.Digits, false)
	}
	return c.appendNumeric(dst, rounded)
}

// wholeLen returns how many digits a plain decimal has left of the point, 0 if
// only a zero stands there.
func wholeLen(text []byte) int {
	d, _ := splitDecimal(text)
	return len(bytes.TrimLeft(d.whole, "0"))
}

// appendRounded appends a plain decimal rounded half away from zero, or towards
// zero. It has as many decimals as before, zeros where nothing is kept.
func appendRounded(dst, text []byte, digits int, half bool) []byte {
	d, _ := splitDecimal(text)
	start := len(dst)
	if d.negative {
		dst = append(dst, '-')
	}
	dst = append(dst, '0') // takes a carry
	first := len(dst)
	dst = append(append(dst, d.whole...), d.fraction...)
	cut := first + len(d.whole) + digits // of what is kept
	if cut < len(dst) {
		up := half && cut >= first && dst[cut] >= '5'
		for i := max(cut, first); i < len(dst); i++ {
			dst[i] = '0'
		}
		for i := cut - 1; up; i-- {
			up = dst[i] == '9'
			if dst[i]++; up {
				dst[i] = '0'
			}
		}
	}
	lead := first - 1 // leading zeros go, but for one digit left of the point
	for lead < first+len(d.whole)-1 && dst[lead] == '0' {
		lead++
	}
	whole := first + len(d.whole) - lead
	dst = append(dst[:first-1], dst[lead:]...)
	if len(d.fraction) > 0 {
		point := first - 1 + whole
		dst = append(dst, 0)
		copy(dst[point+1:], dst[point:])
		dst[point] = '.'
	}
	return dropNegativeZero(dst, start)
}

func (c Column) roundFloat(dst, value []byte) ([]byte, bool) {
	f, ok := c.readFloat(value)
	if !ok || !isFinite(f) {
		return dst, false
	}
	bits := 64
	if c.TypeOID == oidFloat4 {
		bits = 32
	}
	var buffer [400]byte
	text := strconv.AppendFloat(buffer[:0], f, 'f', -1, bits)
	var output [400]byte
	rounded := appendRounded(output[:0], text, c.Transform.Digits, true)
	f, err := strconv.ParseFloat(string(rounded), bits)
	if err != nil { // beyond the largest
		return dst, false
	}
	return c.appendFloat(dst, f), true
}
