package mask

import (
	"encoding/binary"
	"math"
)

// The binary form of numeric (numeric_send): four Int16, the number of digits,
// the weight of the first one, the sign and the number of decimals shown; then
// the digits in base 10,000.
const (
	numericHeader   = 8
	numericPositive = 0x0000
	numericNegative = 0x4000
	numericDigits   = 4 // decimals in one digit of base 10,000
	maxNumericScale = 16383
)

// readNumeric appends the text form of a finite numeric to dst: an optional
// minus, digits, and perhaps a point and digits. It is false for anything else.
func (c Column) readNumeric(dst, value []byte) ([]byte, bool) {
	if c.Format == FormatBinary {
		return appendNumericText(dst, value)
	}
	if !isPlainDecimal(value) {
		return dst, false
	}
	return append(dst, value...), true
}

// appendNumeric appends a numeric, given as text, in the column's format.
func (c Column) appendNumeric(dst, text []byte) ([]byte, bool) {
	if c.Format == FormatBinary {
		return appendNumericBinary(dst, text)
	}
	return append(dst, text...), true
}

// decimal is the parts of a plain decimal.
type decimal struct {
	negative bool
	whole    []byte // digits left of the point, at least one
	fraction []byte // digits right of it
}

func isPlainDecimal(text []byte) bool {
	_, ok := splitDecimal(text)
	return ok
}

func splitDecimal(text []byte) (decimal, bool) {
	var d decimal
	if len(text) > 0 && text[0] == '-' {
		d.negative, text = true, text[1:]
	}
	at := 0
	for at < len(text) && isDigit(text[at]) {
		at++
	}
	d.whole = text[:at]
	if at < len(text) && text[at] == '.' {
		d.fraction = text[at+1:]
		for _, b := range d.fraction {
			if !isDigit(b) {
				return decimal{}, false
			}
		}
		return d, len(d.whole) > 0 && len(d.fraction) > 0
	}
	return d, len(d.whole) > 0 && at == len(text)
}

// plainNumber cuts the zeros that say nothing off a plain decimal, so that
// equal numbers are equal texts.
func plainNumber(text []byte) []byte {
	d, _ := splitDecimal(text)
	end := len(text)
	if len(d.fraction) > 0 {
		for text[end-1] == '0' {
			end--
		}
		if text[end-1] == '.' {
			end--
		}
	}
	if end == 2 && text[0] == '-' && text[1] == '0' {
		return text[1:2]
	}
	return text[:end]
}

func appendNumericText(dst, value []byte) ([]byte, bool) {
	if len(value) < numericHeader {
		return dst, false
	}
	count := int(binary.BigEndian.Uint16(value))
	weight := int(int16(binary.BigEndian.Uint16(value[2:])))
	sign := binary.BigEndian.Uint16(value[4:])
	scale := int(binary.BigEndian.Uint16(value[6:]))
	digits := value[numericHeader:]
	if len(digits) != 2*count || scale > maxNumericScale || sign != numericPositive && sign != numericNegative {
		return dst, false
	}
	for i := 0; i < len(digits); i += 2 {
		if binary.BigEndian.Uint16(digits[i:]) > 9999 {
			return dst, false
		}
	}
	start := len(dst)
	if sign == numericNegative {
		dst = append(dst, '-')
	}
	// group returns the digit of base 10,000 at a weight.
	group := func(w int) int {
		if i := weight - w; i >= 0 && i < count {
			return int(binary.BigEndian.Uint16(digits[2*i:]))
		}
		return 0
	}
	first := len(dst)
	for w := max(weight, 0); w >= 0; w-- {
		dst = appendGroup(dst, group(w), numericDigits)
	}
	dst = dropLeadingZeros(dst, first)
	if scale > 0 {
		dst = append(dst, '.')
		for w := -1; scale > 0; w-- {
			dst = appendGroup(dst, group(w), min(scale, numericDigits))
			scale -= numericDigits
		}
	}
	return dropNegativeZero(dst, start), true
}

// appendGroup appends the first n of a group's four decimals.
func appendGroup(dst []byte, group, n int) []byte {
	decimals := [numericDigits]byte{
		byte('0' + group/1000), byte('0' + group/100%10), byte('0' + group/10%10), byte('0' + group%10),
	}
	return append(dst, decimals[:n]...)
}

// dropLeadingZeros leaves one digit from start on, where a whole number stands.
func dropLeadingZeros(text []byte, start int) []byte {
	at := start
	for at < len(text)-1 && text[at] == '0' {
		at++
	}
	return append(text[:start], text[at:]...)
}

// dropNegativeZero drops the minus of a decimal from start on that is zero.
func dropNegativeZero(text []byte, start int) []byte {
	if start >= len(text) || text[start] != '-' {
		return text
	}
	for _, b := range text[start+1:] {
		if b != '0' && b != '.' {
			return text
		}
	}
	return append(text[:start], text[start+1:]...)
}

func appendNumericBinary(dst, text []byte) ([]byte, bool) {
	d, ok := splitDecimal(text)
	if !ok || len(d.fraction) > maxNumericScale {
		return dst, false
	}
	for len(d.whole) > 0 && d.whole[0] == '0' {
		d.whole = d.whole[1:]
	}
	weight := (len(d.whole)+numericDigits-1)/numericDigits - 1
	if weight > math.MaxInt16 {
		return dst, false
	}
	header := len(dst)
	dst = append(dst, make([]byte, numericHeader)...)
	first := len(dst)
	for rest := d.whole; len(rest) > 0; {
		n := (len(rest)-1)%numericDigits + 1
		dst = binary.BigEndian.AppendUint16(dst, readGroup(rest[:n], n))
		rest = rest[n:]
	}
	for rest := d.fraction; len(rest) > 0; {
		n := min(len(rest), numericDigits)
		dst = binary.BigEndian.AppendUint16(dst, readGroup(rest[:n], numericDigits))
		rest = rest[n:]
	}
	dst, weight = trimGroups(dst, first, weight)
	count := (len(dst) - first) / 2
	sign := uint16(numericPositive)
	if d.negative && count > 0 {
		sign = numericNegative
	}
	binary.BigEndian.PutUint16(dst[header:], uint16(count))
	binary.BigEndian.PutUint16(dst[header+2:], uint16(weight))
	binary.BigEndian.PutUint16(dst[header+4:], sign)
	binary.BigEndian.PutUint16(dst[header+6:], uint16(len(d.fraction)))
	return dst, true
}

// readGroup reads decimals as a group of so many, zeros at the right.
func readGroup(decimals []byte, width int) uint16 {
	var group uint16
	for i := range width {
		group *= 10
		if i < len(decimals) {
			group += uint16(decimals[i] - '0')
		}
	}
	return group
}

// trimGroups drops the groups at either end that are zero, as the server does.
func trimGroups(dst []byte, first, weight int) (trimmed []byte, newWeight int) {
	for len(dst) > first && dst[len(dst)-1] == 0 && dst[len(dst)-2] == 0 {
		dst = dst[:len(dst)-2]
	}
	leading := first
	for leading < len(dst) && dst[leading] == 0 && dst[leading+1] == 0 {
		leading += 2
		weight--
	}
	dst = append(dst[:first], dst[leading:]...)
	if len(dst) == first {
		return dst, 0
	}
	return dst, weight
}
