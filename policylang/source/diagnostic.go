package source

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"

	"github.com/posternhq/postern/policylang"
)

// noBlock is the summary of what looks like a block and is none.
const noBlock = "neither an attribute nor a block"

// syntaxProblems says in our words what the parser said. A quote that is not
// closed makes the parser complain of every line that follows, which is left
// out.
func syntaxProblems(t *text, diags hcl.Diagnostics) []policylang.Problem {
	var out []policylang.Problem
	open := false
	for _, d := range diags {
		summary, advice := reword(d)
		at := d.Subject
		switch d.Summary {
		case "Invalid multi-line string", "Unterminated template string":
			if open {
				continue
			}
			open = true
			if d.Context != nil {
				at = opening(t, d.Context.Start)
			}
		case "Unclosed configuration block":
			open = true
		}
		s := span{0, 0}
		if at != nil {
			s = rangeSpan(*at)
		}
		out = append(out, t.problem(s, summary, advice))
	}
	return out
}

// opening is where the text that starts at a position was opened: at the
// position, or, for a heredoc, at the end of the line before.
func opening(t *text, start hcl.Pos) *hcl.Range {
	if start.Byte > 0 && t.src[start.Byte-1] == '\n' {
		if i := bytes.LastIndex(t.src[:start.Byte], []byte("<<")); i >= 0 {
			return &hcl.Range{Start: hcl.Pos{Byte: i}, End: hcl.Pos{Byte: start.Byte - 1}}
		}
	}
	return &hcl.Range{Start: start, End: start}
}

func reword(d *hcl.Diagnostic) (summary, advice string) {
	switch d.Summary {
	case "Invalid multi-line string":
		return "a quote is not closed on its line", "Close it. Text of several lines is written as a heredoc: <<-EOT, the lines, EOT."
	case "Unterminated template string":
		return "a text is not closed", "A heredoc ends with its marker on a line of its own, and quoted text with a quote."
	case "Unclosed configuration block":
		return "a block is not closed", "Its closing brace is missing."
	case "Invalid block definition":
		return noBlock, "An attribute is written name = value, and a block has its opening brace on its first line."
	case "Attribute redefined":
		return "the attribute is set a second time", "Remove one of the two."
	case "Invalid character":
		return "a character that has no meaning here", "Text, and everything in it, stands in quotes."
	}
	r, n := utf8.DecodeRuneInString(d.Summary)
	return string(unicode.ToLower(r)) + d.Summary[n:], strings.Join(strings.Fields(d.Detail), " ")
}
