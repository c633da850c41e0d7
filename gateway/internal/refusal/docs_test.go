package refusal

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/errors.md")

const docsFile = "../../../docs/errors.md"

// TestDocumentation keeps docs/errors.md the table's.
func TestDocumentation(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Errors

What a gateway says to a client that it refuses. The code is stable: it is in
the evidence and the gateway's log. A statement's refusal is an ERROR and the
connection stays usable; at login, and when a session is ended, it is FATAL.
No message holds a literal of the query or a value of a row. This page is
generated from the table in gateway/internal/refusal.

| code | SQLSTATE | cause | cure |
|---|---|---|---|
`)
	for _, e := range Table() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", e.Code, e.SQLSTATE, e.Cause, e.Hint)
	}
	if *update {
		if err := os.WriteFile(docsFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil || string(got) != b.String() {
		t.Errorf("docs/errors.md is not the table's (run: go test ./gateway/internal/refusal -update): %v", err)
	}
}
