package catalog

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/tools/txtar"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// TestOracle holds the analysis of the statements of lineage's golden files
// against what a real server makes of them: what it says it reads is what we
// say is touched, or less, and the columns that it announces are those that we
// foresee.
func TestOracle(t *testing.T) {
	files, err := filepath.Glob("../../policylang/lineage/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, version := range []int{15, 18} {
		t.Run("PostgreSQL "+strconv.Itoa(version), func(t *testing.T) { oracleGolden(t, version, files) })
	}
}

func oracleGolden(t *testing.T, version int, files []string) {
	t.Helper()
	o := newOracle(t, version)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if sectionOf(archive, "environment") != "" || version == 18 && strings.HasSuffix(file, "_old.txtar") {
				return // made for another server or path
			}
			o.begin(t, sectionOf(archive, "schema.sql"))
			tree, err := statement.Parse(sectionOf(archive, "statements.sql"), statement.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			for j := range tree.Statements {
				o.compare(t, &tree.Statements[j])
			}
		})
	}
	t.Logf("%d statements compared, %d refused by us %v, %d by the server", o.compared, o.refused, o.codes, o.failed)
	if o.compared < 200 || o.read < o.compared {
		t.Errorf("only %d statements were compared, and %d columns", o.compared, o.read)
	}
}

func sectionOf(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// oracle is a database whose server says what it reads.
type oracle struct {
	cluster *pgtest.Cluster
	loader  *pgconn.PgConn // reads the catalog
	conn    *pgconn.PgConn
	tree    string // the rewritten trees that the server printed
	cat     *pgcatalog.Catalog
	env     lineage.Environment
	prot    *lineage.Protection

	compared, refused, failed int
	read                      int            // columns that the server said it reads
	codes                     map[string]int // of refusals
}

func newOracle(t *testing.T, version int) *oracle {
	t.Helper()
	o := &oracle{cluster: pgtest.New(t, pgtest.Options{Version: version}), codes: map[string]int{}}
	o.env = lineage.Environment{SearchPath: []string{"pg_catalog", "public"}, Database: "postgres"}
	o.loader = connect(t, o.cluster, "postgres", "postgres")
	config, err := pgconn.ParseConfig(o.cluster.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["debug_print_rewritten"] = "on"
	config.RuntimeParams["debug_pretty_print"] = "off"
	config.RuntimeParams["client_min_messages"] = "log"
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if strings.HasPrefix(n.Message, "rewritten parse tree") {
			o.tree += n.Detail
		}
	}
	o.conn, err = pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.conn.Close(context.WithoutCancel(t.Context())) })
	return o
}

// begin makes the database hold a schema and nothing else.
func (o *oracle) begin(t *testing.T, schema string) {
	t.Helper()
	o.cluster.MustExec(t, "postgres", "SET client_min_messages = warning; DROP SCHEMA IF EXISTS app CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;"+schema)
	cat, err := Load(t.Context(), o.loader)
	if err != nil {
		t.Fatal(err)
	}
	o.cat, o.prot = cat, lineage.Protect(cat, everyColumn())
}

// everyColumn masks every column of every user's relation with masks that
// allow everything, so that the analysis runs through.
func everyColumn() *policylang.MaskSet {
	allow := policylang.KnobAllow
	return policylang.NewMaskSet([]policylang.Mask{{
		Policy: "all", Columns: []string{"*.*.*"}, Transform: policylang.Transform{Kind: policylang.TransformRedact},
		Predicates: allow, Order: allow, Group: allow, Count: allow,
	}})
}

func (o *oracle) compare(t *testing.T, st *statement.Statement) {
	t.Helper()
	analysis, refusal := lineage.Analyze(st, o.env, o.cat, o.prot)
	o.tree = ""
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	described, err := o.conn.Prepare(ctx, "", st.Text, nil)
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr):
		o.failed++
		return
	case err != nil:
		t.Fatalf("%s: %v", st.Text, err)
	case refusal != nil:
		o.refused++
		o.codes[refusal.Code]++
		switch refusal.Code {
		case lineage.CodeInternal, lineage.CodeUnknown, lineage.CodeAmbiguous:
			t.Errorf("%s\nrefused, though the server knows what it means: %s: %s", st.Text, refusal.Code, refusal.Message)
		}
		return
	}
	o.compared++
	if !analysis.ByName && analysis.Rows {
		o.compareColumns(t, st, analysis, described)
	}
	for _, id := range o.reads() {
		o.read++
		whole := pgcatalog.ColumnID{Relation: id.Relation}
		if !slices.Contains(analysis.Touched, id) && (id.Column == 0 || !slices.Contains(analysis.Touched, whole)) {
			t.Errorf("%s\nthe server reads %s (%d.%d), which is not among the columns touched", st.Text, o.cat.ColumnName(id), id.Relation, id.Column)
		}
	}
}

func (o *oracle) compareColumns(t *testing.T, st *statement.Statement, analysis *lineage.Analysis, described *pgconn.StatementDescription) {
	t.Helper()
	if st.Session.Kind == statement.Copy {
		return // a COPY announces no columns before it runs
	}
	if len(described.Fields) != len(analysis.Columns) {
		t.Errorf("%s\nthe server returns %d columns, we foresee %d", st.Text, len(described.Fields), len(analysis.Columns))
		return
	}
	for i, field := range described.Fields {
		column := analysis.Columns[i]
		if field.Name != column.Name {
			t.Errorf("%s\ncolumn %d is named %q, we foresee %q", st.Text, i+1, field.Name, column.Name)
		}
		if column.TypeOID != 0 && column.TypeOID != field.DataTypeOID {
			t.Errorf("%s\ncolumn %q is of type %d, we foresee %d", st.Text, field.Name, field.DataTypeOID, column.TypeOID)
		}
		if _, protected := o.prot.Transform(field.TableOID, int16(field.TableAttributeNumber)); protected && column.Action == lineage.Pass {
			t.Errorf("%s\ncolumn %q comes from a protected column, and would pass", st.Text, field.Name)
		}
	}
}

// These find the relations of a rewritten tree and the columns that are selected
// from each: bit 7 is the whole row, bit 8 the first column. Since PostgreSQL 16
// they stand in a list of their own.
var (
	readsPattern   = regexp.MustCompile(`:rtekind 0 :relid (\d+) .*?:selectedCols \(b([ \d]*)\)`)
	readsPattern16 = regexp.MustCompile(`\{RTEPERMISSIONINFO :relid (\d+) .*?:selectedCols \(b([ \d]*)\)`)
)

// reads lists the columns of users' relations that the server says it reads.
func (o *oracle) reads() []pgcatalog.ColumnID {
	found := map[pgcatalog.ColumnID]bool{}
	pattern := readsPattern
	if o.cat.ServerVersion >= 160000 {
		pattern = readsPattern16
	}
	for _, m := range pattern.FindAllStringSubmatch(strings.Join(strings.Fields(o.tree), " "), -1) {
		relation, err := strconv.ParseUint(m[1], 10, 32)
		if err != nil || relation < pgcatalog.FirstUserOID {
			continue
		}
		for _, bit := range strings.Fields(m[2]) {
			n, err := strconv.Atoi(bit)
			if err == nil && n >= 7 {
				found[pgcatalog.ColumnID{Relation: uint32(relation), Column: int16(n - 7)}] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(found), pgcatalog.ColumnID.Compare)
}
