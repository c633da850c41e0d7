package source

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/posternhq/postern/policylang"
)

type placeKey struct {
	kind policylang.Kind
	name string
	attr string // empty: the object itself
}

// place is where an object's name or an attribute's value stands.
type place struct {
	text *text
	span span
	expr hclsyntax.Expression // the value; nil for names
}

// String returns the place as in "orders.postern.hcl:12:3".
func (p place) String() string {
	line, col := p.text.position(p.span.start)
	return fmt.Sprintf("%s:%d:%d", p.text.name, line, col)
}

// Locate returns the problems with the positions that their paths have in the
// files. It leaves out what needs no telling: problems that [Parse] told
// already, and those that only follow from one, such as the absence of an
// attribute whose value could not be read. A problem that has a position keeps
// it.
func (f *File) Locate(problems []policylang.Problem) []policylang.Problem {
	var out []policylang.Problem
	for _, p := range problems {
		if p.File != "" || p.Line > 0 {
			out = append(out, p)
			continue
		}
		if !f.told(p) {
			out = append(out, f.locate(p))
		}
	}
	return out
}

// Position returns where what a path names stands, or the nearest thing around
// it: a file's name, and line and column counted from 1. Line 0 means that it is
// in none of the files.
func (f *File) Position(p policylang.Path) (file string, line, col int) {
	at := f.locate(policylang.Problem{Path: p})
	return at.File, at.Line, at.Col
}

// told reports whether p is known or follows from something known.
func (f *File) told(p policylang.Problem) bool {
	key := placeKey{p.Path.Kind, p.Path.Name, p.Path.Attr}
	if f.reported[unplaced(p)] || f.broken[key] {
		return true
	}
	if !f.partial {
		return false
	}
	_, present := f.places[key]
	return !present || p.Path.Attr == "" || p.Path.Attr == "approval_group"
}

// unplaced is p without what Locate fills in.
func unplaced(p policylang.Problem) policylang.Problem {
	p.File, p.Line, p.Col, p.EndLine, p.EndCol = "", 0, 0, 0, 0
	return p
}

func (f *File) locate(p policylang.Problem) policylang.Problem {
	key := placeKey{p.Path.Kind, p.Path.Name, p.Path.Attr}
	at, ok := f.places[key]
	for !ok && key.attr != "" {
		key.attr = key.attr[:max(0, strings.LastIndexAny(key.attr, ".["))]
		at, ok = f.places[key]
	}
	if !ok {
		if len(f.texts) == 1 {
			for name := range f.texts {
				p.File = name
			}
		}
		return p
	}
	s := at.span
	if at.expr != nil && key.attr == p.Path.Attr && (p.Path.Offset > 0 || p.Path.Length > 0) {
		s = at.within(p.Path.Offset, p.Path.Length)
	}
	return at.text.at(p, s)
}

// within returns the span of part of a text's value.
func (p place) within(offset, length int) span {
	template, ok := p.expr.(*hclsyntax.TemplateExpr)
	if !ok {
		return p.span
	}
	at := p.text.valueOffsets(template)
	last := len(at) - 1
	start := min(max(offset, 0), last)
	end := min(start+max(length, 1), last)
	if end == start {
		return span{at[start], at[start]}
	}
	stop := max(at[end], at[start])
	if bytes.IndexByte(p.text.src[at[end-1]:max(at[end], at[end-1])], '\n') >= 0 {
		stop = at[end-1] + 1 // a line's indentation lies between this byte and the next
	}
	return span{at[start], stop}
}

// valueOffsets returns, for each byte of the template's value and for its end,
// the offset in the file of what stands for it.
func (t *text) valueOffsets(e *hclsyntax.TemplateExpr) []int {
	quoted := bytes.HasPrefix(t.src[e.SrcRange.Start.Byte:], []byte(`"`))
	var at []int
	end := e.SrcRange.End.Byte
	for _, part := range e.Parts {
		lit, ok := part.(*hclsyntax.LiteralValueExpr)
		if !ok {
			break
		}
		s := rangeSpan(lit.SrcRange)
		at = append(at, alignLines(lit.Val.AsString(), unescape(t.src[s.start:s.end], s.start, quoted))...)
		end = s.end
	}
	return append(at, end)
}

// decoded is text after escapes, with the offset in the file of each byte.
type decoded struct {
	bytes []byte
	at    []int
}

func (d *decoded) add(at int, b ...byte) {
	for _, c := range b {
		d.bytes = append(d.bytes, c)
		d.at = append(d.at, at)
	}
}

// unescape reads HCL's escapes: backslashes in quoted text, and $${ and %%{ in
// all text.
func unescape(src []byte, base int, quoted bool) decoded {
	var d decoded
	for i := 0; i < len(src); {
		n := 1
		switch rest := src[i:]; {
		case bytes.HasPrefix(rest, []byte("$${")), bytes.HasPrefix(rest, []byte("%%{")):
			d.add(base+i, rest[0])
			d.add(base+i+2, '{')
			n = 3
		case quoted && rest[0] == '\\' && len(rest) > 1:
			var r []byte
			r, n = unescapeBackslash(rest)
			d.add(base+i, r...)
		default:
			d.add(base+i, rest[0])
		}
		i += n
	}
	return d
}

// unescapeBackslash reads one escape at the start of src and returns what it
// stands for and its length.
func unescapeBackslash(src []byte) (value []byte, length int) {
	switch c := src[1]; c {
	case 'n':
		return []byte("\n"), 2
	case 'r':
		return []byte("\r"), 2
	case 't':
		return []byte("\t"), 2
	case 'u', 'U':
		digits := 4
		if c == 'U' {
			digits = 8
		}
		var r rune
		if len(src) >= 2+digits {
			if _, err := fmt.Sscanf(string(src[2:2+digits]), "%x", &r); err == nil {
				return []byte(string(r)), 2 + digits
			}
		}
		return []byte(string(c)), 2
	default:
		return []byte{c}, 2
	}
}

// alignLines maps each byte of value to the file. A line of the value is the
// end of the same line as it was written, since a heredoc may drop indentation;
// where normalisation changed the characters of a line, its bytes are counted
// from the line's start.
func alignLines(value string, d decoded) []int {
	out := make([]int, 0, len(value))
	rest := string(d.bytes)
	base := 0
	for line := range strings.SplitAfterSeq(value, "\n") {
		written := rest
		if i := strings.IndexByte(rest, '\n'); i >= 0 {
			written = rest[:i+1]
		}
		skip := 0
		if strings.HasSuffix(written, line) {
			skip = len(written) - len(line)
		}
		for i := range len(line) {
			out = append(out, d.offset(base+min(skip+i, max(len(written)-1, 0))))
		}
		base += len(written)
		rest = rest[len(written):]
	}
	return out
}

func (d *decoded) offset(i int) int {
	if len(d.at) == 0 {
		return 0
	}
	return d.at[min(i, len(d.at)-1)]
}

func rangeSpan(r hcl.Range) span { return span{r.Start.Byte, r.End.Byte} }

// problem returns a problem that stands at s.
func (t *text) problem(s span, summary, advice string) policylang.Problem {
	return t.at(policylang.Problem{Summary: summary, Advice: advice}, s)
}

// at fills in the position of a problem. After a syntax error the parser's
// ranges may end before they start.
func (t *text) at(p policylang.Problem, s span) policylang.Problem {
	p.File = t.name
	p.Line, p.Col = t.position(s.start)
	p.EndLine, p.EndCol = t.position(max(s.start, s.end))
	return p
}
