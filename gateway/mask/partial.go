package mask

import (
	"bytes"
	"unicode/utf8"
)

// hidden stands for the hidden characters of a text, however many.
const hidden = "***"

func partialRewrite(c Column) rewrite {
	if classOf(c.TypeOID) != classText {
		return nil
	}
	keep := kept{first: max(c.Transform.KeepFirst, 0), last: max(c.Transform.KeepLast, 0)}
	switch c.Transform.Format {
	case "email":
		return textRewrite(c, keep.appendEmail)
	case "card", "phone":
		return textRewrite(c, keep.appendDigits)
	}
	return textRewrite(c, keep.appendText)
}

// kept is how many characters are shown at either end.
type kept struct{ first, last int }

// of returns what is shown of a value of n characters: nothing, if less than a
// third of them would be hidden.
func (k kept) of(n int) kept {
	if k.first > n || k.last > n || (n-k.first-k.last)*3 < n {
		return kept{}
	}
	return k
}

func (k kept) appendText(dst, value []byte) []byte {
	show := k.of(utf8.RuneCount(value))
	dst = append(dst, value[:runesLen(value, show.first)]...)
	dst = append(dst, hidden...)
	return append(dst, value[len(value)-lastRunesLen(value, show.last):]...)
}

// appendEmail hides the part before the @. What is no address is a text.
func (k kept) appendEmail(dst, value []byte) []byte {
	at := bytes.LastIndexByte(value, '@')
	if at <= 0 || !isDomain(value[at+1:]) {
		return k.appendText(dst, value)
	}
	return append(k.appendText(dst, value[:at]), value[at:]...)
}

// isDomain reports whether text may be a host name (RFC 1123).
func isDomain(text []byte) bool {
	if len(text) == 0 || len(text) > 253 {
		return false
	}
	for _, b := range text {
		if partialClass[b]&inDomain == 0 {
			return false
		}
	}
	return true
}

// partialClass says what partial needs to know of each byte.
var partialClass = func() (c [256]byte) {
	for b := range c {
		switch b := byte(b); {
		case isDigit(b):
			c[b] = inDomain | aDigit
		case isLower(b), isUpper(b), b == '-', b == '.':
			c[b] = inDomain
		}
		if isDigitSeparator(byte(b)) {
			c[b] |= aSeparator
		}
	}
	return c
}()

const (
	inDomain byte = 1 << iota
	aDigit
	aSeparator
)

// appendDigits hides digits, counting these alone, and whatever is neither a
// digit nor a separator.
func (k kept) appendDigits(dst, value []byte) []byte {
	digits := 0
	for _, b := range value {
		digits += int(partialClass[b] & aDigit / aDigit)
	}
	show := k.of(digits)
	seen, hideUntil := 0, digits-show.last
	start := len(dst)
	dst = append(dst, value...)
	out := dst[start:]
	at := 0 // in out, which characters of several bytes leave shorter
	for i := 0; i < len(value); at++ {
		b := value[i]
		i++
		switch class := partialClass[b]; {
		case class&aDigit != 0:
			seen++
			if seen > show.first && seen <= hideUntil {
				b = '*'
			}
		case class&aSeparator == 0:
			if b >= utf8.RuneSelf {
				_, size := utf8.DecodeRune(value[i-1:])
				i += size - 1
			}
			b = '*'
		}
		out[at] = b
	}
	return dst[:start+at]
}

func isDigitSeparator(b byte) bool {
	switch b {
	case ' ', '-', '+', '.', '/', '(', ')':
		return true
	}
	return false
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
func isLower(b byte) bool { return 'a' <= b && b <= 'z' }
func isUpper(b byte) bool { return 'A' <= b && b <= 'Z' }
