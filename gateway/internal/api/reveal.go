package api

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Span is a piece of a text as an approver should see it.
type Span struct {
	Text   string // if Hidden, the name of one character: "U+202E"
	Hidden bool
}

// blank are the characters that take part in words or marks, as far as
// Unicode's categories say, and yet show nothing or only a gap.
var blank = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x034f, 0x034f, 1},
		{0x115f, 0x1160, 1},
		{0x17b4, 0x17b5, 1},
		{0x180b, 0x180f, 1},
		{0x2800, 0x2800, 1},
		{0x3164, 0x3164, 1},
		{0xfe00, 0xfe0f, 1},
		{0xffa0, 0xffa0, 1},
	},
	R32: []unicode.Range32{{0xe0100, 0xe01ef, 1}},
}

// Reveal takes a statement apart so that nothing in it is hidden: characters
// that are invisible, that change the direction of writing or that steer a
// terminal come as Hidden spans by their names; line feeds, tabs and spaces
// stay as they are, other white space does not. Joined again without them, the
// spans are the text without what was hidden.
func Reveal(text string) []Span {
	var out []Span
	start := 0
	plain := func(end int) {
		if end > start {
			out = append(out, Span{Text: text[start:end]})
		}
	}
	for i, width := 0, 0; i < len(text); i += width {
		var r rune
		r, width = utf8.DecodeRuneInString(text[i:])
		bad := r == utf8.RuneError && width == 1
		if !bad && !hidden(r) {
			continue
		}
		plain(i)
		start = i + width
		name := fmt.Sprintf("U+%04X", r)
		if bad {
			name = fmt.Sprintf("byte %02X", text[i])
		}
		out = append(out, Span{Text: name, Hidden: true})
	}
	plain(len(text))
	return out
}

func hidden(r rune) bool {
	return r != '\n' && r != '\t' && (!unicode.IsPrint(r) || unicode.Is(blank, r))
}

// RevealText is Reveal as text, with what is hidden in ‹angle quotes›.
func RevealText(text string) string {
	var b strings.Builder
	for _, s := range Reveal(text) {
		if s.Hidden {
			b.WriteString("‹" + s.Text + "›")
		} else {
			b.WriteString(s.Text)
		}
	}
	return b.String()
}
