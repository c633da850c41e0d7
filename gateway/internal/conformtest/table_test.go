package conformtest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// document holds the table between two marks.
const (
	document   = "../../../docs/compatibility.md"
	tableStart = "<!-- results: written by make conformance -->\n"
	tableEnd   = "<!-- end of results -->\n"
)

// table is the outcome by client and server.
type table struct {
	clients []string
	agreed  map[string]map[int]int
	differ  map[string]map[int][]string
}

func newTable() *table {
	return &table{agreed: map[string]map[int]int{}, differ: map[string]map[int][]string{}}
}

func (r *table) add(c check, version int, agrees bool) {
	if !slices.Contains(r.clients, c.client) {
		r.clients = append(r.clients, c.client)
		r.agreed[c.client], r.differ[c.client] = map[int]int{}, map[int][]string{}
	}
	if agrees {
		r.agreed[c.client][version]++
		return
	}
	r.differ[c.client][version] = append(r.differ[c.client][version], c.name)
}

// write puts the table into the document.
func (r *table) write(t *testing.T) error {
	t.Helper()
	data, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(data), tableStart)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no marks for the table", document)
	}
	var b strings.Builder
	b.WriteString("| client | version |")
	for _, v := range versions {
		fmt.Fprintf(&b, " PostgreSQL %d |", v)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(versions)) + "\n")
	for _, client := range r.clients {
		fmt.Fprintf(&b, "| %s | %s |", client, clientVersion(t, client))
		for _, v := range versions {
			fmt.Fprintf(&b, " %s |", r.cell(client, v))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\nOn %s, in the long form.\n", time.Now().UTC().Format(time.DateOnly))
	return os.WriteFile(document, []byte(before+tableStart+b.String()+tableEnd+after), 0o644)
}

func (r *table) cell(client string, version int) string {
	agreed, differ := r.agreed[client][version], r.differ[client][version]
	if len(differ) == 0 {
		return fmt.Sprintf("%d of %d agree", agreed, agreed)
	}
	return fmt.Sprintf("%d of %d agree; differs: %s", agreed, agreed+len(differ), strings.Join(differ, ", "))
}
