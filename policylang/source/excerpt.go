package source

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/posternhq/postern/policylang"
)

// maxExcerpt bounds how much of a long line an excerpt shows, in characters.
const maxExcerpt = 160

// Excerpt returns the line that a problem stands in, with its number, and under
// it a line of carets, or "" if no position is known. What may be a secret is
// not shown, and characters that would move or hide text on a terminal are
// replaced.
//
//	12 │   effect = "alow"
//	   │            ^^^^^^
func (f *File) Excerpt(p policylang.Problem) string {
	t, ok := f.texts[p.File]
	if !ok || p.Line < 1 || p.Line > len(t.lines) || secret(p.Path.Attr) {
		return ""
	}
	line := t.line(p.Line)
	if hidesSecret(line) {
		return ""
	}
	shown, first := window([]rune(line), p.Col-1)
	from := min(max(p.Col-1-first, 0), len(shown))
	to := len(shown)
	if p.EndLine == p.Line {
		to = min(p.EndCol-1-first, to)
	}
	number := fmt.Sprintf("%3d", p.Line)
	return fmt.Sprintf("%s │ %s\n%s │ %s%s\n", number, visible(shown), strings.Repeat(" ", len(number)),
		blank(shown[:from]), strings.Repeat("^", max(to-from, 1)))
}

// window returns the part of a line around column at, and where it starts.
func window(line []rune, at int) (shown []rune, first int) {
	if len(line) <= maxExcerpt {
		return line, 0
	}
	first = min(max(at-maxExcerpt/2, 0), len(line)-maxExcerpt)
	return line[first : first+maxExcerpt], first
}

// credentialsLine matches a line that sets credentials to something else than
// a reference.
var credentialsLine = regexp.MustCompile(`(?i)\b(credentials|password|secret)\b\s*=`)

// referenceLine matches a line that sets credentials to a reference.
var referenceLine = regexp.MustCompile(`=\s*"(env|file|vault):[^"]*"\s*(#.*)?$`)

func hidesSecret(line string) bool {
	return credentialsLine.MatchString(line) && !referenceLine.MatchString(line)
}

// visible replaces what a terminal would not show as one character.
func visible(line []rune) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return '\t'
		case !unicode.IsPrint(r):
			return '�'
		}
		return r
	}, string(line))
}

// blank is as wide as line.
func blank(line []rune) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return '\t'
		}
		return ' '
	}, string(line))
}
