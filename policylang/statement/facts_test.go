package statement

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pg_query "github.com/pganalyze/pg_query_go/v5"
	"golang.org/x/tools/txtar"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestFacts compares the facts of each testdata/facts/NODE.txtar, one file for
// each statement of the grammar, with what is written there.
func TestFacts(t *testing.T) {
	for _, path := range factsFiles(t) {
		node := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(node, func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := range archive.Files {
				name, isFacts := strings.CutSuffix(archive.Files[i].Name, ".facts")
				if !isFacts {
					continue
				}
				sql := strings.TrimSuffix(string(archive.Files[i-1].Data), "\n")
				tree, err := Parse(sql, Limits{})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if len(tree.Statements) != 1 {
					t.Errorf("%s: %d statements, want 1", name, len(tree.Statements))
					continue
				}
				st := &tree.Statements[0]
				if !inTree(ast.Unwrap(st.Node()), node) {
					t.Errorf("%s: no %s in it, but %T", name, node, ast.Unwrap(st.Node()))
				}
				for _, command := range st.Facts.Commands {
					if !slices.Contains(policylang.Commands(), command) {
						t.Errorf("%s: policylang.Commands has no %s", name, command)
					}
				}
				got := render(st)
				if *update {
					archive.Files[i].Data = []byte(got)
				} else if diff := cmp.Diff(string(archive.Files[i].Data), got); diff != "" {
					t.Errorf("%s: (-want +got)\n%s", name, diff)
				}
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func factsFiles(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/facts/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	return paths
}

// typeIs reports whether the message is of that type.
func typeIs(m any, node string) bool {
	return strings.TrimPrefix(fmt.Sprintf("%T", m), "*pg_query.") == node
}

// newMessage returns an empty message of a member of Node.
func newMessage(t *testing.T, name string) any {
	t.Helper()
	fields := (&pg_query.Node{}).ProtoReflect().Descriptor().Oneofs().ByName("node").Fields()
	for i := range fields.Len() {
		if string(fields.Get(i).Message().Name()) == name {
			node := &pg_query.Node{}
			m := node.ProtoReflect()
			m.Set(fields.Get(i), m.NewField(fields.Get(i)))
			return ast.Unwrap(node)
		}
	}
	t.Fatalf("no node %s", name)
	return nil
}

// render writes what a statement's facts and effects say, but for the text.
func render(st *Statement) string {
	var b strings.Builder
	f := st.Facts
	line := func(name string, values ...string) {
		if text := strings.Join(values, ", "); text != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, text)
		}
	}
	flag := func(set bool, name string) string {
		if set {
			return " " + name
		}
		return ""
	}
	line("command", f.Command)
	if len(f.Commands) != 1 || f.Commands[0] != f.Command {
		line("commands", f.Commands...)
	}
	line("class", string(f.Class))
	line("is", strings.TrimSpace(flag(f.ReadOnly, "read_only")+flag(f.Writes, "writes")+flag(f.DDL, "ddl")+flag(!f.Filtered, "unfiltered")+
		flag(f.Opaque, "opaque")+flag(f.LiteralDependent, "literal_dependent")+flag(f.Transaction, "transaction")))
	for _, r := range f.Relations {
		line("relation", strings.TrimSpace(qualified(r.Schema, r.Name)+" "+string(r.Verb)))
	}
	line("columns", f.Columns...)
	line("functions", f.Functions...)
	if f.Limit >= 0 {
		line("limit", fmt.Sprint(f.Limit))
	}
	if f.Parameters > 0 {
		line("parameters", fmt.Sprint(f.Parameters))
	}
	line("unknown", f.Unknown...)
	if len(f.Unknown) > 0 {
		line("known", strings.TrimSpace(string(f.Known.Class)+flag(f.Known.ReadOnly, "read_only")+flag(f.Known.Opaque, "opaque")))
	}
	line("assigns", st.Assigns...)
	if s := st.Session; s.Kind != NoEffect {
		line("session", strings.TrimSpace(fmt.Sprintf("%d name=%q value=%q", s.Kind, s.Name, s.Value)+flag(s.Local, "local")))
		if s.Inner != nil {
			line("inner", fmt.Sprintf("%q %s", s.Inner.Text, s.Inner.Facts.Command))
		}
	}
	return b.String()
}

// grammarNodes lists the members of Node, the parser's union of all nodes.
func grammarNodes() []string {
	fields := (&pg_query.Node{}).ProtoReflect().Descriptor().Oneofs().ByName("node").Fields()
	var names []string
	for i := range fields.Len() {
		names = append(names, string(fields.Get(i).Message().Name()))
	}
	return names
}

// notStatements are the nodes that are named as statements are but never are
// one in a parser's tree.
func notStatements() map[string]bool {
	return map[string]bool{
		"RawStmt":             true, // taken off by Parse
		"SetOperationStmt":    true, // made by the analyzer of a SELECT
		"PLAssignStmt":        true, // of PL/pgSQL's own parser
		"ReplicaIdentityStmt": true, // part of ALTER TABLE
	}
}

// TestEveryObjectHasCommands wants what command tags call objects to be known
// to those who check conditions.
func TestEveryObjectHasCommands(t *testing.T) {
	kinds := pg_query.ObjectType(0).Descriptor().Values()
	for i := range kinds.Len() {
		name := objectName(ast.ObjectType(kinds.Get(i).Number()))
		if name != "???" && !slices.Contains(policylang.Commands(), "DROP "+name) {
			t.Errorf("policylang.Commands has no DROP %s", name)
		}
	}
}

// TestEveryStatementHasFacts fails for a statement of the grammar that no
// golden file is about: a new one must not pass unread.
func TestEveryStatementHasFacts(t *testing.T) {
	have := map[string]bool{}
	for _, path := range factsFiles(t) {
		have[strings.TrimSuffix(filepath.Base(path), ".txtar")] = true
	}
	for _, name := range grammarNodes() {
		if strings.HasSuffix(name, "Stmt") && !notStatements()[name] && !have[name] {
			t.Errorf("no testdata/facts/%s.txtar", name)
		}
	}
}

// TestUnknownIsDangerous gives each node to the collector as a statement: what
// is not one is opaque and of the most dangerous class.
func TestUnknownIsDangerous(t *testing.T) {
	for _, name := range grammarNodes() {
		if strings.HasSuffix(name, "Stmt") && !notStatements()[name] {
			continue
		}
		c := collector{filtered: true}
		f := c.facts(c.statement(newMessage(t, name)), nil)
		if f.Class != policylang.ClassRole || !f.Opaque || f.ReadOnly || f.Transaction || f.Command != "" {
			t.Errorf("%s as a statement: %s opaque=%t", name, f.Class, f.Opaque)
		}
	}
	if f := read(nil, "", 0, Limits{}.withDefaults()).Facts; f.Class != policylang.ClassRole || !f.Opaque {
		t.Errorf("no node at all: %s opaque=%t", f.Class, f.Opaque)
	}
}

// factsCorpus returns the statements of the golden files.
func factsCorpus(tb testing.TB) []string {
	tb.Helper()
	var out []string
	for _, path := range factsFiles(tb) {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		for _, f := range archive.Files {
			if strings.HasSuffix(f.Name, ".sql") {
				out = append(out, strings.TrimSuffix(string(f.Data), "\n"))
			}
		}
	}
	return out
}
