package source

import (
	"bytes"
	"reflect"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/posternhq/postern/policylang"
)

// maxPasses bounds how often the formatter runs until nothing changes.
const maxPasses = 8

// Format returns src in the one form that policy files have: two spaces a
// level, equals signs of neighbouring lines in a column, one blank line at most,
// LF line ends, a newline at the end. It keeps comments, order and meaning, and
// formatting twice changes nothing. A file with syntax errors is not formatted:
// the result is nil and the problems say why.
func Format(filename string, src []byte) ([]byte, []policylang.Problem) {
	before := newReader()
	before.read(filename, src)
	if before.file.partial {
		return nil, before.problems
	}
	out := newText(filename, src).src
	for range maxPasses {
		next := blankLines(hclwrite.Format(out))
		if bytes.Equal(next, out) {
			break
		}
		out = next
	}
	if !sameMeaning(filename, before.file, out) {
		return nil, []policylang.Problem{{
			File:    filename,
			Summary: "cannot format the file without changing what it means",
			Advice:  "This is a defect of the formatter; the file may be right.",
		}}
	}
	return out, nil
}

// sameMeaning reports whether a formatted file says what it said before.
func sameMeaning(filename string, before *File, formatted []byte) bool {
	after := newReader()
	after.read(filename, formatted)
	return !after.file.partial && reflect.DeepEqual(before.Policy, after.file.Policy) && reflect.DeepEqual(before.Tests, after.file.Tests)
}

// blankLines removes blank lines at the file's start and end and all but one
// between its lines, except inside comments and heredocs.
func blankLines(src []byte) []byte {
	t := newText("", src)
	kept := keptLines(t)
	var out [][]byte
	blank := true
	for n := range t.lines {
		line := []byte(t.line(n + 1))
		isBlank := len(bytes.TrimSpace(line)) == 0 && !kept[n]
		if isBlank && blank {
			continue
		}
		if isBlank {
			line = nil
		}
		out = append(out, line)
		blank = isBlank
	}
	return append(bytes.TrimRight(bytes.Join(out, []byte("\n")), "\n"), '\n')
}

// keptLines returns the lines, counted from 0, that begin inside a comment or a
// heredoc.
func keptLines(t *text) map[int]bool {
	kept := map[int]bool{}
	tokens, _ := hclsyntax.LexConfig(t.src, t.name, hcl.InitialPos)
	from := 0
	for _, tok := range tokens {
		first, _ := t.position(tok.Range.Start.Byte)
		last, _ := t.position(tok.Range.End.Byte)
		switch tok.Type { //nolint:exhaustive // only tokens that span lines matter
		case hclsyntax.TokenOHeredoc:
			from = first
		case hclsyntax.TokenCHeredoc:
			keep(kept, from, last)
		case hclsyntax.TokenComment:
			keep(kept, first, last-1)
		}
	}
	return kept
}

// keep adds the lines behind first, up to last; both are counted from 1.
func keep(kept map[int]bool, first, last int) {
	for n := first; n < last; n++ {
		kept[n] = true
	}
}
