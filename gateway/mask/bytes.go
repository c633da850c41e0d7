package mask

import "encoding/hex"

// uuidTextLen is the length of a uuid's text form: 32 hexadecimal digits and
// four hyphens.
const uuidTextLen = 36

func isUUIDHyphen(i int) bool { return i == 8 || i == 13 || i == 18 || i == 23 }

func (c Column) readUUID(value []byte) (id [16]byte, ok bool) {
	if c.Format == FormatBinary {
		return id, copy(id[:], value) == 16 && len(value) == 16
	}
	if len(value) != uuidTextLen {
		return id, false
	}
	n := 0
	for i, b := range value {
		if isUUIDHyphen(i) {
			if b != '-' {
				return id, false
			}
			continue
		}
		digit, ok := hexDigit(b)
		if !ok {
			return id, false
		}
		id[n/2] = id[n/2]<<4 | digit
		n++
	}
	return id, true
}

func (c Column) appendUUID(dst []byte, id [16]byte) []byte {
	if c.Format == FormatBinary {
		return append(dst, id[:]...)
	}
	const digits = "0123456789abcdef"
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, digits[b>>4], digits[b&15])
	}
	return dst
}

func hexDigit(b byte) (byte, bool) {
	switch {
	case isDigit(b):
		return b - '0', true
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10, true
	case 'A' <= b && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}

// readBytea appends the bytes to dst. Of the two text forms it knows the usual
// one, hexadecimal.
func (c Column) readBytea(dst, value []byte) ([]byte, bool) {
	if c.Format == FormatBinary {
		return append(dst, value...), true
	}
	if len(value) < 2 || value[0] != '\\' || value[1] != 'x' {
		return dst, false
	}
	out, err := hex.AppendDecode(dst, value[2:])
	if err != nil {
		return dst, false
	}
	return out, true
}

func (c Column) appendBytea(dst, data []byte) []byte {
	if c.Format == FormatBinary {
		return append(dst, data...)
	}
	return hex.AppendEncode(append(dst, '\\', 'x'), data)
}
