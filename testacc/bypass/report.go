package bypass

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Tally counts outcomes by category.
type Tally map[string]map[Outcome]int

// Add counts a result.
func (t Tally) Add(r Result) {
	if t[r.Case.Category] == nil {
		t[r.Case.Category] = map[Outcome]int{}
	}
	t[r.Case.Category][r.Outcome]++
}

// Outcomes returns the outcomes in the order of the table's columns.
func Outcomes() []Outcome {
	return []Outcome{Refused, Withheld, Served, Alive, Skipped, Revealed, Executed, Denied, Differs, Broken}
}

// Failures counts what must not be.
func (t Tally) Failures() int {
	n := 0
	for _, counts := range t {
		for o, k := range counts {
			if o.Failure() {
				n += k
			}
		}
	}
	return n
}

// WriteTable writes the tally as a Markdown table, a row a category.
func (t Tally) WriteTable(w io.Writer) error {
	outcomes := Outcomes()
	head := []string{"category"}
	for _, o := range outcomes {
		head = append(head, string(o))
	}
	rows := [][]string{head}
	total := map[Outcome]int{}
	var categories []string
	for c := range t {
		categories = append(categories, c)
	}
	slices.Sort(categories)
	line := func(name string, counts map[Outcome]int) {
		cells := []string{name}
		for _, o := range outcomes {
			cells = append(cells, strings.ReplaceAll(fmt.Sprintf("%3d", counts[o]), "  0", "   "))
		}
		rows = append(rows, cells)
	}
	for _, c := range categories {
		line(c, t[c])
		for o, n := range t[c] {
			total[o] += n
		}
	}
	line("all", total)
	for i, cells := range rows {
		for j := range cells {
			width := max(len(head[j]), longest(rows, j))
			cells[j] = fmt.Sprintf("%-*s", width, strings.TrimLeft(cells[j], " "))
		}
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")); err != nil {
			return err
		}
		if i == 0 {
			if _, err := fmt.Fprintln(w, "|"+strings.Repeat("---|", len(cells))); err != nil {
				return err
			}
		}
	}
	return nil
}

func longest(rows [][]string, column int) int {
	widest := slices.MaxFunc(rows, func(a, b []string) int { return cmp.Compare(len(a[column]), len(b[column])) })
	return len(widest[column])
}
