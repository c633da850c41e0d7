package lineage_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/scenario"
	"github.com/posternhq/postern/policylang/statement"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden analyses the statements of each file in testdata, one after the
// other, against its schema and masks. Sections: schema.sql; masks, a line
// each of policy, transform, knobs and columns; environment (optional), with
// search_path and server_version; statements.sql; want.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	base := baseline(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runGolden(t, base, archive)
			if *update {
				setSection(archive, "want", got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(section(archive, "want"), got); diff != "" {
				t.Errorf("analysis differs (-want +got); run with -update to accept:\n%s", diff)
			}
		})
	}
}

func baseline(tb testing.TB) *pgcatalog.Catalog {
	tb.Helper()
	base, err := scenario.Baseline()
	if err != nil {
		tb.Fatal(err)
	}
	return base
}

func section(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func setSection(a *txtar.Archive, name, data string) {
	for i := range a.Files {
		if a.Files[i].Name == name {
			a.Files[i].Data = []byte(data)
			return
		}
	}
	a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(data)})
}

func runGolden(t *testing.T, base *pgcatalog.Catalog, a *txtar.Archive) string {
	t.Helper()
	env := lineage.Environment{SearchPath: []string{"pg_catalog", "public"}, Database: "postgres", Role: "ana"}
	for line := range strings.Lines(section(a, "environment")) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key {
		case "search_path":
			env.SearchPath = strings.Fields(value)
		case "server_version":
			version, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			base = withVersion(base, version)
		}
	}
	cat := schema(t, base, section(a, "schema.sql"))
	protection := lineage.Protect(cat, masks(t, section(a, "masks")))
	tree, err := statement.Parse(section(a, "statements.sql"), statement.Limits{})
	if err != nil {
		t.Fatalf("parse statements.sql: %v", err)
	}
	var out strings.Builder
	for i := range tree.Statements {
		st := &tree.Statements[i]
		fmt.Fprintf(&out, "> %s\n", strings.Join(strings.Fields(st.Text), " "))
		analysis, refusal := lineage.Analyze(st, env, cat, protection)
		if refusal != nil {
			printRefusal(&out, refusal)
		} else {
			printAnalysis(&out, analysis, cat)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// withVersion returns the catalog as a server of another version would have it.
func withVersion(c *pgcatalog.Catalog, version int) *pgcatalog.Catalog {
	other := *c
	other.ServerVersion = version
	return &other
}

func schema(tb testing.TB, base *pgcatalog.Catalog, sql string) *pgcatalog.Catalog {
	tb.Helper()
	cat, problems := scenario.ReadSchema("schema.sql", sql, base)
	for _, p := range problems {
		tb.Errorf("schema: %v", p)
	}
	if cat == nil {
		tb.FailNow()
	}
	return cat
}

// masks reads lines such as "pii redact order=allow public.customers.email".
func masks(tb testing.TB, text string) *policylang.MaskSet {
	tb.Helper()
	var out []policylang.Mask
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			tb.Fatalf("mask %q: want policy, transform and columns", line)
		}
		deny := policylang.KnobDeny
		m := policylang.Mask{
			Policy: fields[0], Transform: policylang.Transform{Kind: policylang.TransformKind(fields[1])},
			Predicates: deny, Order: deny, Group: deny, Count: deny,
		}
		for _, f := range fields[2:] {
			key, value, isKnob := strings.Cut(f, "=")
			switch {
			case !isKnob:
				m.Columns = append(m.Columns, f)
			case key == "predicates":
				m.Predicates = policylang.Knob(value)
			case key == "order":
				m.Order = policylang.Knob(value)
			case key == "group":
				m.Group = policylang.Knob(value)
			case key == "count":
				m.Count = policylang.Knob(value)
			case key == "keep_last":
				n, err := strconv.Atoi(value)
				if err != nil {
					tb.Fatal(err)
				}
				m.Transform.KeepLast = n
			default:
				tb.Fatalf("mask %q: unknown key %q", line, key)
			}
		}
		out = append(out, m)
	}
	return policylang.NewMaskSet(out)
}

func printRefusal(out *strings.Builder, r *lineage.Refusal) {
	fmt.Fprintf(out, "refused %s", r.Code)
	if r.Position > 0 {
		fmt.Fprintf(out, " at %d", r.Position)
	}
	fmt.Fprintf(out, ": %s\n", r.Message)
	if r.Hint != "" {
		fmt.Fprintf(out, "  %s\n", r.Hint)
	}
}

func printAnalysis(out *strings.Builder, a *lineage.Analysis, cat *pgcatalog.Catalog) {
	var notes []string
	switch {
	case a.ByName:
		notes = append(notes, "rows by name")
	case !a.Rows && len(a.Columns) > 0:
		notes = append(notes, "rows later")
	case !a.Rows:
		notes = append(notes, "no rows")
	}
	if a.Tainted {
		notes = append(notes, "tainted")
	}
	if a.Equality > 0 {
		notes = append(notes, fmt.Sprintf("equality %d", a.Equality))
	}
	if len(notes) > 0 {
		fmt.Fprintf(out, "%s\n", strings.Join(notes, ", "))
	}
	for _, c := range a.Columns {
		fmt.Fprintf(out, "%s", c.Action)
		if c.Action == lineage.Mask {
			fmt.Fprintf(out, "(%s)", c.Transform.Kind)
		}
		fmt.Fprintf(out, " %s", c.Name)
		if t := cat.Type(c.TypeOID); t != nil {
			fmt.Fprintf(out, " %s", t.Name)
		}
		if len(c.Policies) > 0 {
			fmt.Fprintf(out, " [%s]", strings.Join(c.Policies, " "))
		}
		for i, id := range c.Sources {
			if i == 0 {
				out.WriteString(" <-")
			}
			fmt.Fprintf(out, " %s", cat.ColumnName(id))
		}
		out.WriteString("\n")
	}
}
