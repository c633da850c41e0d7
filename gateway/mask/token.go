package mask

import (
	"bytes"
	"crypto/cipher"
	"unicode/utf8"
)

func tokenRewrite(c Column, keys *policyKeys) rewrite {
	var f func(dst, value []byte, s *scratch, block cipher.Block) ([]byte, bool)
	switch classOf(c.TypeOID) {
	case classText:
		f = c.tokenText
	case classInteger:
		f = c.tokenInteger
	case classNumeric:
		f = c.tokenNumeric
	case classUUID:
		f = c.tokenUUID
	case classBytea:
		f = c.tokenBytea
	case classNone, classFloat, classDate, classTimestamp, classTimestamptz:
		return nil
	}
	return func(dst, value []byte) ([]byte, bool) {
		s := keys.get()
		defer keys.put(s)
		return f(dst, value, s, keys.block)
	}
}

// safeDomain ends the domain of a tokenised address: no mail is delivered there
// (RFC 2606).
const safeDomain = ".invalid"

func (c Column) tokenText(dst, value []byte, s *scratch, block cipher.Block) ([]byte, bool) {
	value = c.valueOf(value)
	start := len(dst)
	dst = s.appendToken(dst, value, block)
	if c.Transform.Format == "email" && bytes.IndexByte(value, '@') >= 0 {
		dst = append(dst, safeDomain...)
	}
	return dst[:start+len(cutText(dst[start:], c.textLimit()))], true
}

// appendToken appends a text with its digits and letters permuted. Characters
// that are neither those nor separators become letters.
func (s *scratch) appendToken(dst, value []byte, block cipher.Block) []byte {
	for at := 0; at < len(value); {
		b, size := value[at], 1
		switch {
		case isDigit(b):
			s.push(b-'0', 10)
		case isLower(b):
			s.push(b-'a', 26)
		case isUpper(b):
			s.push(b-'A', 26)
		case !isTokenSeparator(b):
			_, size = utf8.DecodeRune(value[at:])
			s.push(0, 1) // a place, which can hold nothing else
			s.extra = append(s.extra, value[at:at+size]...)
		}
		at += size
	}
	if len(s.symbols) == 0 && len(value) > 0 {
		return append(dst, hidden...)
	}
	s.prepare(block)
	s.permute(block)
	if len(s.extra) > 0 {
		s.roundStream(block, letterLabel, s.symbols)
	}
	return s.appendSymbols(dst, value, block)
}

// appendSymbols writes the permuted symbols in the places of value's.
func (s *scratch) appendSymbols(dst, value []byte, block cipher.Block) []byte {
	symbol, letter := 0, 0
	for at := 0; at < len(value); {
		b, size := value[at], 1
		if isTokenSeparator(b) {
			dst = append(dst, b)
			at++
			continue
		}
		switch {
		case isDigit(b):
			b = '0' + s.symbols[symbol]
		case isLower(b):
			b = 'a' + s.symbols[symbol]
		case isUpper(b):
			b = 'A' + s.symbols[symbol]
		default:
			_, size = utf8.DecodeRune(value[at:])
			b = 'a' + byte(s.streamAt(block, letter)%26)
			letter++
		}
		symbol++
		dst = append(dst, b)
		at += size
	}
	return dst
}

func (s *scratch) push(symbol, radix byte) {
	s.symbols = append(s.symbols, symbol)
	s.radix = append(s.radix, radix)
}

func isTokenSeparator(b byte) bool {
	switch b {
	case ' ', '-', '_', '.', ',', ':', ';', '/', '+', '(', ')', '@', '\'':
		return true
	}
	return false
}

// maxWalk bounds the steps of a cycle walk; the worst type needs nine on
// average.
const maxWalk = 1000

// walk permutes the symbols until they are accepted, which stays a permutation
// of those that are. It gives up only when chance is absurdly unkind.
func (s *scratch) walk(block cipher.Block, accepted func(symbols []byte) bool) bool {
	s.prepare(block)
	for range maxWalk {
		if s.permute(block); accepted(s.symbols) {
			return true
		}
	}
	return false
}

func (c Column) tokenInteger(dst, value []byte, s *scratch, block cipher.Block) ([]byte, bool) {
	n, ok := c.readInteger(value)
	if !ok {
		return dst, false
	}
	n.negative = n.negative && n.magnitude > 0
	s.text = integer{magnitude: n.magnitude}.appendText(s.text)
	for _, b := range s.text {
		s.push(b-'0', 10)
	}
	most, canBeZero := c.largest(n.negative), !n.negative && n.magnitude < 10
	ok = s.walk(block, func(symbols []byte) bool {
		n.magnitude = 0
		for _, digit := range symbols {
			n.magnitude = n.magnitude*10 + uint64(digit)
		}
		return n.magnitude <= most && (symbols[0] != 0 || canBeZero)
	})
	return c.appendInteger(dst, n), ok
}

// tokenNumeric permutes all digits but a whole part of zero; the first digit
// stays one that is not.
func (c Column) tokenNumeric(dst, value []byte, s *scratch, block cipher.Block) ([]byte, bool) {
	var ok bool
	if s.text, ok = c.readNumeric(s.text, value); !ok {
		return dst, false
	}
	d, _ := splitDecimal(s.text)
	below1 := len(d.whole) == 1 && d.whole[0] == '0'
	if !below1 {
		s.pushDigits(d.whole)
	}
	s.pushDigits(d.fraction)
	if len(s.symbols) == 0 { // 0 alone: as an integer, which may become any digit
		s.push(0, 10)
		below1 = false
	}
	canBeZero := below1 || len(d.whole) == 1 && len(d.fraction) == 0
	if !s.walk(block, func(symbols []byte) bool {
		return (symbols[0] != 0 || canBeZero) && (!d.negative || !isZero(symbols))
	}) {
		return dst, false
	}
	at := 0
	for i, b := range s.text {
		if isDigit(b) && (!below1 || i >= len(s.text)-len(d.fraction)) {
			s.text[i] = '0' + s.symbols[at]
			at++
		}
	}
	return c.appendNumeric(dst, s.text)
}

func isZero(symbols []byte) bool {
	for _, symbol := range symbols {
		if symbol != 0 {
			return false
		}
	}
	return true
}

func (s *scratch) pushDigits(digits []byte) {
	for _, b := range digits {
		s.push(b-'0', 10)
	}
}

// tokenUUID permutes all but the two hexadecimal digits that say what kind of
// uuid it is.
func (c Column) tokenUUID(dst, value []byte, s *scratch, block cipher.Block) ([]byte, bool) {
	id, ok := c.readUUID(value)
	if !ok {
		return dst, false
	}
	const version, variant = 12, 16
	for i := range 32 {
		digit := id[i/2] >> (4 - 4*(i%2)) & 15
		if i == version || i == variant {
			s.extra = append(s.extra, digit)
		} else {
			s.push(digit, 16)
		}
	}
	s.prepare(block)
	s.permute(block)
	at := 0
	for i := range 32 {
		if i != version && i != variant {
			shift := 4 - 4*(i%2)
			id[i/2] = id[i/2]&^(15<<shift) | s.symbols[at]<<shift
			at++
		}
	}
	return c.appendUUID(dst, id), true
}

func (c Column) tokenBytea(dst, value []byte, s *scratch, block cipher.Block) ([]byte, bool) {
	var ok bool
	if s.symbols, ok = c.readBytea(s.symbols, value); !ok {
		return dst, false
	}
	for range s.symbols {
		s.radix = append(s.radix, 0)
	}
	s.prepare(block)
	s.permute(block)
	return c.appendBytea(dst, s.symbols), true
}
