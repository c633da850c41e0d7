package statement

import "fmt"

// ErrorKind says why a text cannot be read.
type ErrorKind int

// The kinds of error. The zero ErrorKind is Syntax.
const (
	Syntax  ErrorKind = iota // not SQL as PostgreSQL 16 writes it
	TooLong                  // more bytes than Limits.MaxBytes
	NotUTF8                  // not valid UTF-8
	NulByte                  // holds a zero byte, which PostgreSQL cannot store
	TooDeep                  // nests deeper than Limits.MaxDepth
	TooMany                  // more statements than Limits.MaxStatements, or of a construct the parser is slow on
)

// String returns the kind's name, as metrics label it.
func (k ErrorKind) String() string {
	switch k {
	case Syntax:
		return "syntax"
	case TooLong:
		return "too_long"
	case NotUTF8:
		return "not_utf8"
	case NulByte:
		return "nul_byte"
	case TooDeep:
		return "too_deep"
	case TooMany:
		return "too_many"
	}
	return "unknown"
}

// Error says that a text cannot be read and was not looked at further. Its
// message holds no constant of the text.
type Error struct {
	Kind     ErrorKind
	Message  string
	Position int // in characters from 1, as PostgreSQL's ErrorResponse has it; 0 if unknown
}

// Error returns the message, with the position if it is known.
func (e *Error) Error() string {
	if e.Position > 0 {
		return fmt.Sprintf("%s (at character %d)", e.Message, e.Position)
	}
	return e.Message
}
