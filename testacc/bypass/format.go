package bypass

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"golang.org/x/tools/txtar"
)

//go:embed testdata/corpus/*.txtar testdata/schema.sql testdata/roles.sql testdata/standard.postern.hcl testdata/guarded.postern.hcl
var files embed.FS

// Corpus returns every case, by category and in the order of the files.
func Corpus() ([]Case, error) {
	dir, err := fs.Sub(files, "testdata/corpus")
	if err != nil {
		return nil, err
	}
	return Read(dir)
}

// Read returns the cases of the categories in a directory, as "view.txtar": the
// corpus itself, or attacks of one's own.
func Read(dir fs.FS) ([]Case, error) {
	names, err := fs.Glob(dir, "*.txtar")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("no category: the directory holds no file *.txtar")
	}
	var out []Case
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, err
		}
		cases, err := Parse(strings.TrimSuffix(name, ".txtar"), data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, cases...)
	}
	return out, nil
}

// Parse reads a category. Its errors name the case and the line within it.
func Parse(category string, data []byte) ([]Case, error) {
	archive := txtar.Parse(data)
	seen := map[string]bool{}
	var out []Case
	for _, f := range archive.Files {
		c := Case{Category: category, Name: f.Name, Role: "analyst"}
		if err := c.parse(string(f.Data)); err != nil {
			return nil, fmt.Errorf("case %s: %w", f.Name, err)
		}
		if seen[f.Name] {
			return nil, fmt.Errorf("case %s: there are two", f.Name)
		}
		seen[f.Name] = true
		out = append(out, c)
	}
	return out, nil
}

func (c *Case) parse(text string) error {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line, at := lines[i], i+1
		if rest, ok := strings.CutPrefix(line, "#"); ok {
			if c.Title == "" {
				c.Title = strings.TrimSpace(rest)
			}
			continue
		}
		if line == "" {
			continue
		}
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "\t") {
			i++
			line += "\n" + lines[i][1:]
		}
		verb, arg := line, ""
		if end := strings.IndexAny(line, " \n"); end >= 0 {
			verb, arg = line[:end], line[end+1:]
		}
		if err := c.line(verb, unquote(arg)); err != nil {
			return fmt.Errorf("line %d: %w", at, err)
		}
	}
	return c.check()
}

// unquote returns the value of a Go string literal in double quotes, and
// anything else as it is.
func unquote(s string) string {
	if strings.HasPrefix(s, `"`) {
		if v, err := strconv.Unquote(s); err == nil {
			return v
		}
	}
	return s
}

// line takes one line into the case.
func (c *Case) line(verb, arg string) error {
	switch verb {
	case "as":
		c.Role = arg
	case "versions":
		v, err := parseVersions(arg)
		c.Versions = v
		return err
	case "setup":
		c.Setup = append(c.Setup, arg)
	case "teardown":
		c.Teardown = append(c.Teardown, arg)
	case "protect":
		c.Protect = append(c.Protect, arg)
	case "alone":
		c.Alone = true
	case "unproven":
		c.Unproven = true
	case "leak":
		c.Leaks = append(c.Leaks, arg)
		return c.setGoal(Reveal)
	case "cell":
		c.Cells = append(c.Cells, arg)
		return c.setGoal(Reveal)
	case "rows":
		c.Rows = true
		return c.setGoal(Reveal)
	case "guess":
		return c.guess(arg)
	case "effect":
		c.Effect = arg
		return c.setGoal(Execute)
	case "equals":
		c.Equals = arg
		return c.setGoal(Execute)
	case "accepted":
		c.Accepted = arg
		return c.setGoal(Execute)
	case "same":
		return c.setGoal(Allow)
	case "masked":
		for f := range strings.FieldsSeq(arg) {
			n, err := strconv.Atoi(f)
			if err != nil || n < 1 {
				return fmt.Errorf("masked %q is not a column's position", f)
			}
			c.Masked = append(c.Masked, n)
		}
		return c.setGoal(Serve)
	case "control":
		return c.setGoal(Control)
	default:
		return c.step(verb, arg)
	}
	return nil
}

func (c *Case) setGoal(g Goal) error {
	switch {
	case c.Goal == "" || c.Goal == g, c.Goal == Reveal && g == Serve:
		c.Goal = g
	case c.Goal == Serve && g == Reveal: // what must not be served
	default:
		return fmt.Errorf("the case is to %s and to %s", c.Goal, g)
	}
	return nil
}

func (c *Case) guess(s string) error {
	switch {
	case s == "":
		return errors.New("an empty guess")
	case c.Guesses[0] == "":
		c.Guesses[0] = s
	case c.Guesses[1] == "":
		c.Guesses[1] = s
	default:
		return errors.New("a third guess")
	}
	return c.setGoal(Reveal)
}

// step takes a line that is a step.
func (c *Case) step(verb, arg string) error {
	verb, conn, _ := strings.Cut(verb, "@")
	s := Step{Verb: Verb(verb), Conn: conn, Text: arg}
	switch s.Verb {
	case Query, Admin, Cancel:
	case Feed:
		if len(c.Steps) == 0 || c.Steps[len(c.Steps)-1].Verb != Query {
			return errors.New("feed does not follow a query")
		}
		c.Steps[len(c.Steps)-1].Feed = &arg
		return nil
	case Stream:
		limit, sql, _ := strings.Cut(arg, " ")
		d, err := time.ParseDuration(limit)
		if err != nil {
			return err
		}
		s.Text, s.Limit = sql, d
	case Sleep:
		d, err := time.ParseDuration(arg)
		if err != nil {
			return err
		}
		s.Limit = d
	case Send:
		for line := range strings.Lines(arg) {
			m, err := parseMessage(strings.TrimSuffix(line, "\n"))
			if err != nil {
				return err
			}
			s.Messages = append(s.Messages, m)
		}
	case Connect, Dial:
		if _, err := words(arg); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown verb %q", verb)
	}
	c.Steps = append(c.Steps, s)
	return nil
}

// check refuses cases that could not be judged.
func (c *Case) check() error {
	switch {
	case c.Title == "":
		return errors.New("it has no title")
	case len(c.Steps) == 0:
		return errors.New("it has no step")
	case c.Goal == "":
		return errors.New("nothing says what decides")
	case c.Oracle() && c.Guesses[1] == "":
		return errors.New("one guess proves nothing")
	case c.Goal == Execute && (c.Effect == "") == (c.Accepted == ""):
		return errors.New("to execute needs an effect or a tag")
	case c.Goal == Serve && len(c.Masked) == 0:
		return errors.New("no column is masked")
	}
	return nil
}
