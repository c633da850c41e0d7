package bypass

import (
	"context"
	"slices"
	"strings"
)

// Extended returns the case with each simple Query sent by the extended
// protocol instead: Parse, Bind, Execute and Sync, without a Describe. What
// the server refuses there, as several statements in a text, stays simple.
func (c Case) Extended(binary bool) Case {
	c.Name += "+extended"
	format := map[string]string{}
	if binary {
		c.Name += "+binary"
		format["results"] = "1"
	}
	c.Steps = slices.Clone(c.Steps)
	for i, s := range c.Steps {
		if s.Verb != Query || s.Feed != nil || severalStatements(s.Text) || onlySimple(s.Text) {
			continue
		}
		c.Steps[i] = Step{Verb: Send, Conn: s.Conn, Messages: []message{
			{verb: "parse", text: s.Text}, {verb: "bind", options: format}, {verb: "execute"}, {verb: "sync"},
		}}
	}
	return c
}

// severalStatements reports whether a text may have more than one statement.
func severalStatements(sql string) bool { return strings.Contains(sql, ";") }

// onlySimple reports whether a text is one of a replication connection, which
// knows the simple protocol only.
func onlySimple(sql string) bool {
	return strings.HasPrefix(sql, "IDENTIFY_SYSTEM") || strings.HasPrefix(sql, "CREATE_REPLICATION_SLOT")
}

// Elsewhere rewrites SQL that builds a database so that the standard columns
// hold other values, of other lengths and in another order, with the same last
// four characters where those may be seen. It is a [Runner]'s Rewrite.
func Elsewhere(sql string) string {
	return strings.NewReplacer(
		"alice@secret.example", "zoe@elsewhere.test", "bob@secret.example", "a.very.long.name@elsewhere.test", "carol@secret.example", "m@n.test",
		"111-22-3333", "987-65-3333", "222-33-4444", "876-54-4444", "333-44-5555", "765-43-5555",
		"4111111111111111", "4929000000001111", "5500005555555559", "2223000000005559", "340000000000009", "378200000000009",
	).Replace(sql)
}

// Compare plays the case in two worlds: against the target of r, and of other,
// whose databases differ from those of r in protected values alone. Any
// difference between the answers is a leak, unless two answers of one world
// differ as well.
func (r *Runner) Compare(ctx context.Context, c Case, other *Runner) Result {
	return r.timed(ctx, c, func(ctx context.Context, result *Result) error {
		here, err := r.answers(ctx, &c, result)
		if err != nil {
			return err
		}
		there, err := other.answers(ctx, &c, &Result{})
		if err != nil || slices.Equal(here, there) {
			return err
		}
		again, err := r.answers(ctx, &c, &Result{})
		switch {
		case err != nil:
			return err
		case !slices.Equal(here, again):
			result.Outcome, result.Detail = Skipped, "its answers differ by themselves: "+firstDifference(here, again)
		default:
			result.Outcome, result.Detail = Revealed, "the worlds differ: "+firstDifference(here, there)
		}
		return nil
	})
}

// answers plays the case and returns what can be compared of its answers.
func (r *Runner) answers(ctx context.Context, c *Case, result *Result) ([]string, error) {
	p, err := r.perform(ctx, c, &r.Target, c.Guesses[0])
	if err != nil {
		return nil, err
	}
	result.Transcript = p.transcript("")
	result.Outcome, result.Detail = Withheld, p.refusal()
	if result.Detail != "" {
		result.Outcome = Refused
	}
	return r.comparable(result.Transcript), nil
}

// comparable takes from a transcript what differs between any two runs.
func (r *Runner) comparable(lines []string) []string {
	if r.Ignore == nil {
		return lines
	}
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = r.Ignore.ReplaceAllString(line, "…")
	}
	return out
}
