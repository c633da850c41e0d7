package condition

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"

	"github.com/posternhq/postern/policylang"
)

// translate says CEL's messages in plain words.
func translate(env *environment, at *spans, issues []*cel.Error) []policylang.Problem {
	t := translator{env: env, spans: at, lines: strings.Split(at.expr, "\n")}
	var problems []policylang.Problem
	for _, issue := range meaningful(issues) {
		p := t.problem(issue)
		if !slices.Contains(problems, p) {
			problems = append(problems, p)
		}
	}
	slices.SortStableFunc(problems, func(a, b policylang.Problem) int { return a.Path.Offset - b.Path.Offset })
	return problems
}

// meaningful leaves out what the parser says of text that the lexer could not
// read.
func meaningful(issues []*cel.Error) []*cel.Error {
	var lexed []*cel.Error
	for _, issue := range issues {
		if strings.HasPrefix(issue.Message, "Syntax error: "+lexical) {
			lexed = append(lexed, issue)
		}
	}
	if len(lexed) > 0 {
		return lexed
	}
	return issues
}

type translator struct {
	env   *environment
	spans *spans
	lines []string
}

func (t translator) problem(issue *cel.Error) policylang.Problem {
	offset := t.offset(issue)
	p := t.words(issue.Message, offset)
	p.Path = t.at(offset, p.Path.Name)
	return p
}

// offset is the byte offset of an issue.
func (t translator) offset(issue *cel.Error) int {
	offset := 0
	for i, line := range t.lines {
		if i+1 < issue.Location.Line() {
			offset += len(line) + 1
			continue
		}
		characters := issue.Location.Column()
		for at := range line {
			if characters == 0 {
				return offset + at
			}
			characters--
		}
		return offset + len(line)
	}
	return min(offset, len(t.spans.expr))
}

// at is the range of the token at the offset, or of the word that the message
// names if it stands behind it.
func (t translator) at(offset int, word string) policylang.Path {
	toks := t.spans.lexed()
	for i, tok := range toks {
		if tok.end() <= offset {
			continue
		}
		if word != "" {
			for _, next := range toks[i:min(i+3, len(toks))] {
				if next.text == word {
					return policylang.Path{Offset: next.offset, Length: len(word)}
				}
			}
		}
		switch {
		case tok.text == "(" && i > 0 && toks[i-1].isWord():
			tok = toks[i-1] // CEL points at the bracket of a call
		case tok.text == "." && i+1 < len(toks):
			tok = toks[i+1] // and at the dot of a field
		}
		return policylang.Path{Offset: tok.offset, Length: len(tok.text)}
	}
	return policylang.Path{Offset: offset}
}

// The messages of CEL that are put in other words.
var (
	undeclaredMessage = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	fieldMessage      = regexp.MustCompile(`^undefined field '([^']*)'`)
	overloadMessage   = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
	selectionMessage  = regexp.MustCompile(`^type '(.*)' does not support field selection`)
	rangeMessage      = regexp.MustCompile(`^expression of type '(.*)' cannot be range of a comprehension`)
	mismatchMessage   = regexp.MustCompile(`^expected type '(.*)' but found '(.*)'`)
)

// words puts a message in plain words. The path's name is the word that the
// problem is about.
func (t translator) words(message string, offset int) policylang.Problem {
	about := func(word string, p policylang.Problem) policylang.Problem {
		p.Path.Name = word
		return p
	}
	if m := undeclaredMessage.FindStringSubmatch(message); m != nil {
		return about(m[1], t.undeclared(m[1], offset))
	}
	if m := fieldMessage.FindStringSubmatch(message); m != nil {
		return about(m[1], t.undefinedField(m[1], offset))
	}
	if m := overloadMessage.FindStringSubmatch(message); m != nil {
		return t.noOverload(m[1], m[2])
	}
	if m := selectionMessage.FindStringSubmatch(message); m != nil {
		return policylang.Problem{Summary: typeWords(m[1]) + " has no fields", Advice: "Only identity, session, statement, a relation and claims have fields."}
	}
	if m := rangeMessage.FindStringSubmatch(message); m != nil {
		return policylang.Problem{Summary: "exists, all, map and filter need a list or a map, not " + typeWords(m[1])}
	}
	if m := mismatchMessage.FindStringSubmatch(message); m != nil {
		return policylang.Problem{Summary: fmt.Sprintf("%s is needed here, not %s", typeWords(m[1]), typeWords(m[2]))}
	}
	if rest, ok := strings.CutPrefix(message, "Syntax error: "); ok {
		return t.syntax(rest)
	}
	if strings.Contains(message, "recursion depth") || strings.Contains(message, "limit") {
		return policylang.Problem{Summary: "the expression nests too deep or is too large", Advice: "Split the rule into several."}
	}
	return policylang.Problem{Summary: sentenceStart(message)}
}

func (t translator) undeclared(name string, offset int) policylang.Problem {
	var names []string
	for _, v := range t.env.variables {
		names = append(names, v.name)
	}
	if t.isFunction(name, offset) {
		if isWordOperator(name) {
			return policylang.Problem{Summary: fmt.Sprintf("there is no function %q", name), Advice: wordOperatorAdvice}
		}
		return policylang.Problem{
			Summary:    fmt.Sprintf("there is no function %q", name),
			Suggestion: policylang.Suggest(name, functionNames()),
		}
	}
	p := policylang.Problem{
		Summary:    fmt.Sprintf("there is no variable %q", name),
		Advice:     fmt.Sprintf("%s may mention %s.", t.env.kind.inWords(), andList(names)),
		Suggestion: policylang.Suggest(name, names),
	}
	for _, v := range variables() {
		if v.name == name {
			p.Summary = fmt.Sprintf("%q cannot be mentioned here", name)
			p.Suggestion = ""
		}
	}
	if isWordOperator(name) {
		p.Advice = wordOperatorAdvice
		p.Suggestion = ""
	}
	return p
}

// isFunction reports whether the name at or behind the offset is called.
func (t translator) isFunction(name string, offset int) bool {
	toks := t.spans.lexed()
	for i, tok := range toks {
		if tok.end() <= offset {
			continue
		}
		if tok.text == "(" {
			return i > 0 && toks[i-1].text == name
		}
		for j := i; j < min(i+3, len(toks)); j++ {
			if toks[j].text == name {
				return j+1 < len(toks) && toks[j+1].text == "("
			}
		}
		return false
	}
	return false
}

func (t translator) undefinedField(name string, offset int) policylang.Problem {
	owner, fields := t.owner(name, offset)
	if owner == "" {
		return policylang.Problem{Summary: fmt.Sprintf("there is no field %q", name)}
	}
	p := policylang.Problem{
		Summary:    fmt.Sprintf("%s has no field %q", owner, name),
		Advice:     fmt.Sprintf("It has %s.", andList(fields)),
		Suggestion: policylang.Suggest(name, fields),
	}
	for _, m := range t.env.members {
		if m.name == name {
			p.Advice = fmt.Sprintf("%s is a function, as in %s.", name, m.example)
			p.Suggestion = ""
		}
	}
	return p
}

// owner finds whose field is missing: the variable before the dot, else a
// relation, the only other thing with fields.
func (t translator) owner(name string, offset int) (string, []string) {
	toks := t.spans.lexed()
	for i := 2; i < len(toks); i++ {
		if toks[i].text != name || toks[i].end() <= offset || toks[i-1].text != "." {
			continue
		}
		for _, v := range variables() {
			if v.name != toks[i-2].text || i > 2 && toks[i-3].text == "." {
				continue
			}
			var names []string
			for _, f := range v.fields {
				names = append(names, f.name)
			}
			return v.name, names
		}
		break
	}
	var names []string
	for _, f := range relationFields() {
		names = append(names, f.name)
	}
	return "a relation", names
}

func (t translator) noOverload(function, signature string) policylang.Problem {
	receiver, arguments := splitSignature(signature)
	symbol, operator := operatorSymbol(function)
	switch {
	case symbol == "[...]" && len(arguments) == 2:
		return policylang.Problem{
			Summary: fmt.Sprintf("%s has no element that %s names", typeWords(arguments[0]), typeWords(arguments[1])),
			Advice:  "Lists have elements by number, claims by name.",
		}
	case symbol == "? :":
		return policylang.Problem{
			Summary: "the parts of ? : do not fit together",
			Advice:  "Before the ? stands what is true or false; what stands on both sides of the : must be of one type.",
		}
	case operator && len(arguments) == 2:
		p := policylang.Problem{Summary: fmt.Sprintf("%s cannot be used between %s and %s", symbol, typeWords(arguments[0]), typeWords(arguments[1]))}
		if symbol == "==" || symbol == "!=" || symbol == "in" {
			p.Advice = "Both sides must be of one type."
		}
		if symbol == "in" {
			p.Advice = "The right side must be a list of what the left side is, or a map with such keys."
		}
		return p
	case operator && len(arguments) == 1:
		return policylang.Problem{Summary: fmt.Sprintf("%s cannot be used with %s", symbol, typeWords(arguments[0]))}
	case operator:
		return policylang.Problem{Summary: fmt.Sprintf("%s cannot be used with these types", symbol)}
	}
	p := policylang.Problem{Summary: fmt.Sprintf("%s cannot be called with %s", function, typesWords(arguments))}
	if receiver != "" {
		p.Summary = fmt.Sprintf("%s cannot be called on %s with %s", function, typeWords(receiver), typesWords(arguments))
	}
	for _, f := range Declarations().Functions {
		if f.Name == function {
			p.Advice = fmt.Sprintf("It is used as in %s.", f.Example)
		}
	}
	return p
}

// splitSignature splits "receiver.(a, b)" or "(a, b)".
func splitSignature(s string) (receiver string, arguments []string) {
	receiver, rest, found := strings.Cut(s, ".(")
	if !found {
		receiver, rest = "", strings.TrimPrefix(s, "(")
	}
	rest = strings.TrimSuffix(rest, ")")
	depth, start := 0, 0
	for i := 0; i <= len(rest); i++ {
		switch {
		case i == len(rest) || rest[i] == ',' && depth == 0:
			if arg := strings.TrimSpace(rest[start:i]); arg != "" {
				arguments = append(arguments, arg)
			}
			start = i + 1
		case rest[i] == '(':
			depth++
		case rest[i] == ')':
			depth--
		}
	}
	return receiver, arguments
}

func operatorSymbol(function string) (string, bool) {
	switch function {
	case "_[_]":
		return "[...]", true
	case "_?_:_":
		return "? :", true
	case "@in", "in", "_in_":
		return "in", true
	case "!_", "-_":
		return function[:1], true
	}
	if strings.HasPrefix(function, "_") && strings.HasSuffix(function, "_") && len(function) > 2 {
		return strings.Trim(function, "_"), true
	}
	return "", false
}

func (t translator) syntax(rest string) policylang.Problem {
	p := policylang.Problem{Summary: "syntax error: " + rest}
	switch {
	case strings.Contains(rest, "'<EOF>'"):
		p.Summary = "syntax error: the expression ends too early"
		p.Advice = "Look for an operator without a right side, or a bracket that is not closed."
	case strings.HasPrefix(rest, lexical+`'"`), strings.HasPrefix(rest, lexical+"''"):
		p.Summary = "syntax error: a string is not closed"
	case strings.HasPrefix(rest, lexical):
		p.Summary = fmt.Sprintf("syntax error: '%s' is not understood", strings.TrimSpace(strings.Trim(strings.TrimPrefix(rest, lexical), "'")))
	case strings.Contains(rest, "no viable alternative at input"), strings.Contains(rest, "extraneous input"), strings.Contains(rest, "mismatched input"):
		if word := quotedWord(rest); word != "" {
			p.Summary = fmt.Sprintf("syntax error: %s is not expected here", word)
		}
	}
	switch {
	case strings.HasSuffix(p.Summary, "'=' is not understood"):
		p.Advice = "CEL compares with ==."
	case isWordOperator(strings.Trim(quotedWord(rest), "'")):
		p.Advice = wordOperatorAdvice
	}
	return p
}

// lexical is how the messages begin that the lexer gives.
const lexical = "token recognition error at: "

const wordOperatorAdvice = "CEL writes &&, || and !."

func isWordOperator(word string) bool {
	switch strings.ToLower(word) {
	case "and", "or", "not":
		return true
	}
	return false
}

// quotedWord is the first quoted part of a message, with its quotes.
func quotedWord(s string) string {
	_, rest, found := strings.Cut(s, "'")
	if !found {
		return ""
	}
	if end := strings.LastIndex(rest, "' expecting"); end >= 0 {
		return "'" + rest[:end] + "'"
	}
	if end := strings.LastIndex(rest, "'"); end >= 0 {
		return "'" + rest[:end] + "'"
	}
	return ""
}

func (k Kind) inWords() string {
	switch k {
	case KindRule:
		return "The condition of a query rule"
	case KindMask:
		return "The condition of a masking policy"
	case KindIdentity:
		return "The condition of an identity"
	case KindNameFrom:
		return "name_from"
	case KindGroupsFrom:
		return "groups_from"
	}
	return "An expression"
}

func functionNames() []string {
	var names []string
	for _, f := range Declarations().Functions {
		names = append(names, f.Name)
	}
	return names
}

func sentenceStart(s string) string { return strings.ToLower(s[:1]) + strings.TrimSuffix(s[1:], ".") }
