package source

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// text is one file as it is parsed, with the positions of its lines.
type text struct {
	name  string
	src   []byte
	lines []int // offset of each line's first byte
}

func newText(name string, src []byte) *text {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))
	t := &text{name: name, src: src, lines: []int{0}}
	for i, b := range src {
		if b == '\n' {
			t.lines = append(t.lines, i+1)
		}
	}
	return t
}

// position returns the line and column of an offset, both counted from 1,
// columns in characters.
func (t *text) position(offset int) (line, col int) {
	offset = min(max(offset, 0), len(t.src))
	i, found := slices.BinarySearch(t.lines, offset)
	if !found {
		i--
	}
	return i + 1, 1 + utf8.RuneCount(t.src[t.lines[i]:offset])
}

// line returns the text of a line counted from 1, without its end.
func (t *text) line(n int) string {
	if n < 1 || n > len(t.lines) {
		return ""
	}
	end := len(t.src)
	if n < len(t.lines) {
		end = t.lines[n] - 1
	}
	return string(t.src[t.lines[n-1]:end])
}

// span is a run of bytes of a text.
type span struct{ start, end int }
