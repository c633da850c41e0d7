package statement

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// Shape returns the text with every constant replaced by ? and with comments
// dropped, tokens apart by one space where there was any: what policy and
// evidence see of a statement without its values. It is empty if the text
// cannot be cut into tokens. An operator with a question mark in it is written
// OPERATOR(…), so that it is not taken for a constant.
func Shape(sql string) string {
	shape, _ := shapeAndFingerprint(sql)
	return shape
}

// shapeAndFingerprint also returns a hash that alike statements share: of the
// shape with words folded, parameters taken for constants, and lists of
// constants taken for one.
func shapeAndFingerprint(sql string) (shape, fingerprint string) {
	var (
		b     strings.Builder
		print = newFingerprinter()
		lex   = lexer{text: sql}
		end   = 0
	)
	b.Grow(len(sql))
	for {
		tok := lex.next()
		if among(tok.kind, tokenError, tokenOther) || lex.reread > maxReread {
			return "", ""
		}
		if tok.kind == tokenEnd {
			print.flush()
			return b.String(), print.String()
		}
		if b.Len() > 0 && tok.start > end {
			b.WriteByte(' ')
		}
		end = tok.end
		text := sql[tok.start:tok.end]
		switch {
		case tok.kind.isConstant():
			b.WriteByte('?')
			print.constant()
		case tok.kind == tokenParam:
			b.WriteString(text)
			print.constant()
		case tok.kind == tokenOperator && strings.Contains(text, "?"):
			b.WriteString("OPERATOR(" + text + ")")
			print.token(text)
		case tok.kind == tokenWord:
			b.WriteString(text)
			print.token(foldWord(text))
		default:
			b.WriteString(text)
			print.token(text)
		}
	}
}

func (k tokenKind) isConstant() bool {
	return among(k, tokenString, tokenUString, tokenBits, tokenHexBits, tokenInteger, tokenFloat)
}

// fingerprinter hashes tokens, by 64-bit FNV-1a. A comma behind a constant
// waits: if another constant follows, both are part of the list.
type fingerprinter struct {
	hash   uint64
	inList bool // the last token was a constant
	comma  bool // and a comma waits
}

// The parameters of FNV-1a: RFC 9923, section 5.
const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x100000001b3
)

func newFingerprinter() fingerprinter { return fingerprinter{hash: fnvOffset} }

// String returns the hash as 16 hexadecimal digits.
func (f *fingerprinter) String() string {
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], f.hash)
	var digits [2 * len(sum)]byte
	hex.Encode(digits[:], sum[:])
	return string(digits[:])
}

func (f *fingerprinter) constant() {
	if f.comma {
		f.comma = false
		return
	}
	f.write("?")
	f.inList = true
}

func (f *fingerprinter) token(text string) {
	if text == "," && f.inList && !f.comma {
		f.comma = true
		return
	}
	f.flush()
	f.write(text)
}

func (f *fingerprinter) flush() {
	if f.comma {
		f.write(",")
	}
	f.comma, f.inList = false, false
}

func (f *fingerprinter) write(text string) {
	for i := range len(text) {
		f.hash = (f.hash ^ uint64(text[i])) * fnvPrime
	}
	f.hash *= fnvPrime // a zero byte
}

// normalForm appends to key what a text has in common with all that differ from
// it in constants alone, and returns the text of its only statement. Two texts
// of one normal form are cut into the same tokens, but for the values of
// constants, and so parse to the same tree but for these. It is not ok if the
// text has several statements, or constants that the lexer does not check: with
// escapes, or with an escape character of their own.
//
// In the form a constant is a zero byte, which no text holds, and its kind. The
// number behind LIMIT, FETCH FIRST and FETCH NEXT stays, see [countAt].
func normalForm(key []byte, sql string) (form []byte, statement string, ok bool) {
	var (
		lex   = lexer{text: sql}
		end   = 0
		count = false // a number of rows may follow
		stop  = len(sql)
	)
	for {
		tok := lex.next()
		if among(tok.kind, tokenError, tokenOther, tokenUString, tokenUQuoted) || lex.reread > maxReread {
			return key, "", false
		}
		if tok.kind == tokenEnd {
			statement, _ = trim(sql, 0, stop)
			return key, statement, len(key) > 0
		}
		text := sql[tok.start:tok.end]
		if text == ";" {
			if len(key) == 0 {
				return key, "", false
			}
			stop = min(stop, tok.start)
			continue
		}
		if stop < len(sql) || lex.escaped {
			return key, "", false
		}
		if len(key) > 0 && tok.start > end {
			key = append(key, ' ')
		}
		end = tok.end
		if tok.kind.isConstant() && (!count || tok.kind != tokenInteger) {
			key = append(key, 0, '0'+byte(tok.kind))
		} else {
			key = append(key, text...)
		}
		count = tok.kind == tokenWord && wordOf(text) == wordLimit
	}
}

// countAt reports whether the integer at that offset is one that a normal form
// keeps.
func countAt(sql string, offset int) bool {
	lex := lexer{text: sql}
	count := false
	for {
		tok := lex.next()
		switch {
		case tok.kind == tokenEnd || tok.start > offset:
			return false
		case tok.start == offset:
			return count && tok.kind == tokenInteger
		}
		count = tok.kind == tokenWord && wordOf(sql[tok.start:tok.end]) == wordLimit
	}
}
