package bypass

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Verb says what a step does.
type Verb string

// The verbs of steps: see the package comment.
const (
	Query   Verb = "query"
	Feed    Verb = "feed" // becomes part of the query before it
	Stream  Verb = "stream"
	Send    Verb = "send"
	Connect Verb = "connect"
	Dial    Verb = "dial"
	Cancel  Verb = "cancel"
	Admin   Verb = "admin"
	Sleep   Verb = "sleep"
)

// Step is one step of a case.
type Step struct {
	Verb     Verb
	Conn     string // empty is the main connection
	Text     string
	Feed     *string       // Query: the data of COPY FROM STDIN
	Limit    time.Duration // Stream, Sleep
	Messages []message     // Send
}

// words splits at spaces. What is in double quotes is one word, or part of
// one, with Go's escapes.
func words(s string) ([]string, error) {
	var out []string
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		var word strings.Builder
		for s != "" && s[0] != ' ' {
			if s[0] != '"' {
				word.WriteByte(s[0])
				s = s[1:]
				continue
			}
			literal, err := strconv.QuotedPrefix(s)
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", s, err)
			}
			value, err := strconv.Unquote(literal)
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", literal, err)
			}
			word.WriteString(value)
			s = s[len(literal):]
		}
		out = append(out, word.String())
	}
	return out, nil
}

// repetition is {3*ab}.
var repetition = regexp.MustCompile(`\{([0-9]{1,7})\*([^{}]*)\}`)

// expand replaces the placeholders of a text.
func expand(s string, placeholders *strings.Replacer) string {
	s = placeholders.Replace(s)
	return repetition.ReplaceAllStringFunc(s, func(m string) string {
		parts := repetition.FindStringSubmatch(m)
		n, _ := strconv.Atoi(parts[1])
		return strings.Repeat(parts[2], n)
	})
}
