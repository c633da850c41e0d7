package mask

import (
	"bytes"
	"unicode/utf8"
)

// cutText cuts a text to a number of characters; 0 keeps it whole.
func cutText(text []byte, limit int) []byte {
	if limit == 0 || len(text) <= limit {
		return text
	}
	return text[:runesLen(text, limit)]
}

// runesLen returns the length in bytes of the first n characters of text, a
// byte that is not UTF-8 counting as one.
func runesLen(text []byte, n int) int {
	at := 0
	for ; n > 0 && at < len(text); n-- {
		if text[at] < utf8.RuneSelf {
			at++
			continue
		}
		_, size := utf8.DecodeRune(text[at:])
		at += size
	}
	return at
}

// lastRunesLen is runesLen from the end.
func lastRunesLen(text []byte, n int) int {
	end := len(text)
	for ; n > 0 && end > 0; n-- {
		if text[end-1] < utf8.RuneSelf {
			end--
			continue
		}
		_, size := utf8.DecodeLastRune(text[:end])
		end -= size
	}
	return len(text) - end
}

// valueOf drops the blanks that pad a bpchar value.
func (c Column) valueOf(value []byte) []byte {
	if c.TypeOID == oidBPChar {
		return bytes.TrimRight(value, " ")
	}
	return value
}

// textRewrite wraps a rewrite of texts so that its output fits the column.
func textRewrite(c Column, f func(dst, value []byte) []byte) rewrite {
	limit := c.textLimit()
	return func(dst, value []byte) ([]byte, bool) {
		start := len(dst)
		dst = f(dst, c.valueOf(value))
		return dst[:start+len(cutText(dst[start:], limit))], true
	}
}
