package policylang

import (
	"errors"
	"fmt"
	"strings"
)

// Glob matches a dotted name part by part, as in "public.*" or
// "*.*.ssn". In a part, * stands for any run of characters; a part in double
// quotes stands for itself, dots and stars included, with "" for a quote.
// Matching is case-sensitive, as PostgreSQL's names are once folded.
type Glob struct {
	parts []globPart
}

type globPart struct {
	text    string
	literal bool // no star has a meaning
}

// ParseGlob reads a glob of up to want parts. A glob with fewer parts matches
// any value of the parts missing at its left.
func ParseGlob(pattern string, want int) (Glob, error) {
	var g Glob
	rest := pattern
	for {
		part, tail, err := cutGlobPart(rest)
		if err != nil {
			return Glob{}, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		g.parts = append(g.parts, part)
		if tail == "" {
			break
		}
		rest = tail[1:]
	}
	if len(g.parts) > want {
		return Glob{}, fmt.Errorf("pattern %q has %d parts, at most %d are possible", pattern, len(g.parts), want)
	}
	for len(g.parts) < want {
		g.parts = append([]globPart{{text: "*"}}, g.parts...)
	}
	return g, nil
}

// cutGlobPart reads one part; tail is empty or starts with the dot behind it.
func cutGlobPart(s string) (part globPart, tail string, err error) {
	if strings.HasPrefix(s, `"`) {
		var text strings.Builder
		for i := 1; i < len(s); i++ {
			switch {
			case s[i] != '"':
				text.WriteByte(s[i])
			case i+1 < len(s) && s[i+1] == '"':
				text.WriteByte('"')
				i++
			case i+1 < len(s) && s[i+1] != '.':
				return globPart{}, "", errors.New("a dot must follow the closing quote")
			case text.Len() == 0:
				return globPart{}, "", errors.New("a part is empty")
			default:
				return globPart{text: text.String(), literal: true}, s[i+1:], nil
			}
		}
		return globPart{}, "", errors.New("a quote is not closed")
	}
	end := strings.IndexByte(s, '.')
	if end < 0 {
		end = len(s)
	}
	text := s[:end]
	switch {
	case text == "":
		return globPart{}, "", errors.New("a part is empty")
	case strings.Contains(text, `"`):
		return globPart{}, "", errors.New("a quote must enclose the whole part")
	}
	return globPart{text: text, literal: !strings.Contains(text, "*")}, s[end:], nil
}

// Match reports whether the glob matches the name given in parts. An empty
// part is a name that is not known: it matches if unknown is true (for rules
// that deny, hold or mask), and otherwise only a part that matches everything.
func (g Glob) Match(unknown bool, parts ...string) bool {
	if len(parts) != len(g.parts) {
		return false
	}
	for i, p := range g.parts {
		if parts[i] == "" {
			if !unknown && (p.literal || strings.Trim(p.text, "*") != "") {
				return false
			}
			continue
		}
		if p.literal {
			if p.text != parts[i] {
				return false
			}
		} else if !matchStars(p.text, parts[i]) {
			return false
		}
	}
	return true
}

// Literal returns the glob's part i and true if it stands for one name only.
func (g Glob) Literal(i int) (string, bool) {
	if i < 0 || i >= len(g.parts) || !g.parts[i].literal {
		return "", false
	}
	return g.parts[i].text, true
}

// matchStars matches s against a pattern in which * is any run, in time
// linear in len(s) for each star.
func matchStars(pattern, s string) bool {
	pieces := strings.Split(pattern, "*")
	first, last := pieces[0], pieces[len(pieces)-1]
	if len(pieces) == 1 {
		return pattern == s
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, piece := range pieces[1 : len(pieces)-1] {
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s = s[i+len(piece):]
	}
	return true
}
