package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// outputFlag is the name of the flag that chooses between tables and JSON.
const outputFlag = "output"

// addOutputFlag gives a command and those below it the flag -o.
func addOutputFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringP(outputFlag, "o", "table", "how to print: table or json")
	mustRegister(cmd.RegisterFlagCompletionFunc(outputFlag, cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)))
}

// mustRegister panics if a command was put together wrongly, which every test
// that makes the command would find.
func mustRegister(err error) {
	if err != nil {
		panic(fmt.Sprintf("command: %v", err))
	}
}

// output prints a command's results. On a terminal tables are aligned, have a
// header, and colour where it helps; elsewhere they are lines of cells with tabs
// between them, for other programs. With -o json results are JSON and nothing
// else.
type output struct {
	w        io.Writer
	json     bool
	terminal bool
	colour   bool
}

// outputOf returns the output of a command that has the flag -o.
func outputOf(cmd *cobra.Command) (*output, error) {
	format, err := cmd.Flags().GetString(outputFlag)
	if err != nil {
		return nil, fmt.Errorf("read flag -o: %w", err)
	}
	if format != "table" && format != "json" {
		return nil, fmt.Errorf("output format %q is not known, want table or json", format)
	}
	o := newOutput(cmd.OutOrStdout())
	o.json = format == "json"
	o.colour = o.colour && !o.json
	return o, nil
}

// newOutput returns an output for people.
func newOutput(w io.Writer) *output {
	terminal := isTerminal(w)
	return &output{w: w, terminal: terminal, colour: terminal && os.Getenv("NO_COLOR") == ""}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// show prints a result: data as JSON, or what text prints.
func (o *output) show(data any, text func() error) error {
	if o.json {
		return o.printJSON(data)
	}
	return text()
}

// showTable prints a result: data as JSON, or the table.
func (o *output) showTable(data any, t *table) error {
	return o.show(data, func() error { return o.print(t.String(o)) })
}

func (o *output) printJSON(data any) error {
	enc := json.NewEncoder(o.w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(data); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// print writes text as it is.
func (o *output) print(text string) error {
	if _, err := io.WriteString(o.w, text); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// printf formats text and writes it.
func (o *output) printf(format string, args ...any) error {
	return o.print(fmt.Sprintf(format, args...))
}

// style is a way to set text off on a terminal, as an SGR code.
type style string

const (
	styleBold   style = "1"
	styleFaint  style = "2"
	styleRed    style = "31"
	styleGreen  style = "32"
	styleYellow style = "33"
	styleCyan   style = "36"
)

// paint sets text off where colour is shown.
func (o *output) paint(s style, text string) string {
	if !o.colour || s == "" || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// paintDiff colours the lines of a diff.
func (o *output) paintDiff(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, end := strings.CutSuffix(line, "\n")
		b.WriteString(o.paint(diffStyle(line), line))
		if end {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// diffStyle is the colour of a diff's line.
func diffStyle(line string) style {
	switch {
	case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"):
		return styleBold
	case strings.HasPrefix(line, "@@"):
		return styleCyan
	case strings.HasPrefix(line, "-"):
		return styleRed
	case strings.HasPrefix(line, "+"):
		return styleGreen
	}
	return ""
}

// effectStyle is the colour of a decision.
func effectStyle(effect string) style {
	switch effect {
	case "allow":
		return styleGreen
	case "hold":
		return styleYellow
	case "deny":
		return styleRed
	}
	return styleCyan
}

// table is rows of cells under a header.
type table struct {
	header []string
	rows   [][]cell
}

type cell struct {
	text  string
	style style
}

func newTable(header ...string) *table { return &table{header: header} }

// row adds a row. A cell is a string, a cell or anything that fmt can print.
func (t *table) row(values ...any) {
	cells := make([]cell, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case cell:
			cells[i] = cell{printable(v.text), v.style}
		default:
			cells[i] = cell{text: printable(fmt.Sprint(v))}
		}
	}
	t.rows = append(t.rows, cells)
}

// String lays the table out for the output.
func (t *table) String(o *output) string {
	var b strings.Builder
	if !o.terminal {
		for _, row := range t.rows {
			texts := make([]string, len(row))
			for i, c := range row {
				texts[i] = c.text
			}
			b.WriteString(strings.Join(texts, "\t") + "\n")
		}
		return b.String()
	}
	header := make([]cell, len(t.header))
	for i, h := range t.header {
		header[i] = cell{strings.ToUpper(h), styleFaint}
	}
	rows := append([][]cell{header}, t.rows...)
	widths := columnWidths(rows)
	for _, row := range rows {
		t.line(&b, o, row, widths)
	}
	return b.String()
}

func (t *table) line(b *strings.Builder, o *output, row []cell, widths []int) {
	for i, c := range row {
		b.WriteString(o.paint(c.style, c.text))
		if i < len(row)-1 {
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
		}
	}
	b.WriteByte('\n')
}

func columnWidths(rows [][]cell) []int {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	return widths
}

// printable shows on one line what a terminal would hide, move or obey: control
// characters, and Unicode's invisible and bidirectional ones, as escapes.
func printable(text string) string {
	return escapeUnprintable(text, "")
}

// printableLines is printable for text of several lines.
func printableLines(text string) string {
	return escapeUnprintable(text, "\n\t")
}

func escapeUnprintable(text, keep string) string {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) && !strings.ContainsRune(keep, r) }
	if !strings.ContainsFunc(text, hidden) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case hidden(r):
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
