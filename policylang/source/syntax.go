package source

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/posternhq/postern/policylang"
)

// The parser is recursive, so what makes it recurse is bounded before it runs.
const (
	maxNesting = 64  // brackets, braces and templates in one another
	maxPrefix  = 8   // operators in a row before a value
	maxChoices = 256 // question marks in a file, which a policy file never has
)

// parse returns a file's top-level blocks and the problems of its syntax. After
// a syntax error the parser loses its bearings until the end of the file, so
// each block is then read by itself.
func (r *reader) parse(t *text) ([]*hclsyntax.Block, []policylang.Problem) {
	if deep, ok := tooDeep(t); ok {
		r.file.partial = true
		return nil, []policylang.Problem{t.problem(deep, "the file is nested too deeply", "A policy file needs no more than a few levels.")}
	}
	body, diags := parseSpan(t, span{0, len(t.src)})
	spans := []span{{0, len(t.src)}}
	if loses(diags) {
		r.file.partial = true
		spans = chunks(t)
	}
	var blocks []*hclsyntax.Block
	var problems []policylang.Problem
	for _, s := range spans {
		if len(spans) > 1 {
			body, diags = parseSpan(t, s)
		}
		problems = append(problems, syntaxProblems(t, diags)...)
		r.topAttributes(t, body)
		blocks = append(blocks, body.Blocks...)
	}
	return blocks, problems
}

func parseSpan(t *text, s span) (*hclsyntax.Body, hcl.Diagnostics) {
	line, _ := t.position(s.start)
	file, diags := hclsyntax.ParseConfig(t.src[s.start:s.end], t.name, hcl.Pos{Line: line, Column: 1, Byte: s.start})
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return &hclsyntax.Body{}, diags
	}
	return body, diags
}

// loses reports whether the parser left something out of its result.
func loses(diags hcl.Diagnostics) bool {
	for _, d := range diags {
		if d.Summary != "Attribute redefined" {
			return true
		}
	}
	return false
}

// addSyntax adds problems of the syntax but for those that were told better by
// who read the blocks.
func (r *reader) addSyntax(syntax []policylang.Problem) {
	told := map[string]bool{}
	for _, p := range r.problems {
		told[p.File+":"+strconv.Itoa(p.Line)] = true
	}
	for _, p := range syntax {
		if p.Summary != noBlock || !told[p.File+":"+strconv.Itoa(p.Line)] {
			r.add(p)
		}
	}
}

// topAttributes reports attributes that stand in no block.
func (r *reader) topAttributes(t *text, body *hclsyntax.Body) {
	for _, a := range attributes(body) {
		p := t.problem(rangeSpan(a.NameRange), "the attribute "+a.Name+" stands in no block", "A policy file holds blocks: "+strings.Join(topBlocks(), ", ")+".")
		p.Suggestion = policylang.Suggest(a.Name, topBlocks())
		r.add(p)
	}
}

// topBlockLine matches the first line of a top-level block as people and
// formatters write it, at the line's very start. The type is the submatch.
var topBlockLine = regexp.MustCompile(`^([a-z_]+)[ \t]+("[^"\n]*"?[ \t]*)?\{`)

// heredocLine matches a line that opens a heredoc.
var heredocLine = regexp.MustCompile(`=[ \t]*<<-?([A-Za-z_][A-Za-z0-9_-]*)[ \t]*$`)

// chunks cuts a file before each line that seems to start a top-level block.
func chunks(t *text) []span {
	var out []span
	start, heredoc := 0, ""
	for n := range t.lines {
		line := t.line(n + 1)
		switch {
		case heredoc != "":
			if strings.TrimSpace(line) == heredoc {
				heredoc = ""
			}
		case startsBlock(line) && t.lines[n] > start:
			out = append(out, span{start, t.lines[n]})
			start = t.lines[n]
		default:
			if m := heredocLine.FindStringSubmatch(line); m != nil {
				heredoc = m[1]
			}
		}
	}
	return append(out, span{start, len(t.src)})
}

func startsBlock(line string) bool {
	m := topBlockLine.FindStringSubmatch(line)
	return m != nil && slices.Contains(topBlocks(), m[1])
}

// tooDeep finds the first place where the parser would go too deep.
func tooDeep(t *text) (span, bool) {
	tokens, _ := hclsyntax.LexConfig(t.src, t.name, hcl.InitialPos)
	nesting, prefix, choices := 0, 0, 0
	for _, tok := range tokens {
		switch tok.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			nesting++
			prefix = 0
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc,
			hclsyntax.TokenTemplateSeqEnd:
			nesting = max(nesting-1, 0)
			prefix = 0
		case hclsyntax.TokenMinus, hclsyntax.TokenBang:
			prefix++
		case hclsyntax.TokenQuestion:
			choices++
		default:
			prefix = 0
		}
		if nesting > maxNesting || prefix > maxPrefix || choices > maxChoices {
			return rangeSpan(tok.Range), true
		}
	}
	return span{}, false
}
