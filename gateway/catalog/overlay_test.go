package catalog

import (
	"testing"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// TestOverOwnTemporarySchema has a catalog that still lists what a session which
// has ended had in the temporary schema that this session has now.
func TestOverOwnTemporarySchema(t *testing.T) {
	cluster := pgtest.New(t)
	conn := connect(t, cluster, "postgres", "postgres")
	exec := func(sql string) [][]string {
		t.Helper()
		results, err := conn.Exec(t.Context(), sql).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var rows [][]string
		for _, r := range results {
			for _, values := range r.Rows {
				texts := make([]string, len(values))
				for i, v := range values {
					texts[i] = string(v)
				}
				rows = append(rows, texts)
			}
		}
		return rows
	}
	exec("CREATE TEMP TABLE kept (id int); CREATE SCHEMA app; CREATE TABLE app.other (id int)")
	own := ReadSession(exec(PathSQL)).Path[0]
	base, err := Load(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	b := base.Edit()
	for i, name := range []string{"made", "heir", "unmade"} {
		b.AddRelation(pgcatalog.Relation{OID: uint32(4_000_000_000 + i), Schema: own, Name: name, Kind: pgcatalog.RelationView, Temporary: true})
		b.AddRelation(pgcatalog.Relation{OID: uint32(4_000_001_000 + i), Schema: "pg_temp_9999", Name: name, Kind: pgcatalog.RelationView, Temporary: true})
	}
	stale := b.Build(base.Generation)
	exec("BEGIN; CREATE TEMP TABLE made (id int, note text); CREATE TEMP TABLE heir () INHERITS (kept)")

	path := ReadSession(exec(PathSQL))
	if !path.Empty() || path.Over(stale) != stale {
		t.Error("who was asked for the path alone leaves the catalog as it is")
	}
	seen := ReadSession(exec(SessionSQL)).Over(stale)
	for name, want := range map[string]int{"kept": 1, "made": 2, "heir": -1, "unmade": -1} {
		switch r := seen.RelationNamed(own, name); {
		case r == nil && want >= 0:
			t.Errorf("%s is gone", name)
		case r != nil && len(r.Columns) != want:
			t.Errorf("%s has %d columns, want %d", name, len(r.Columns), want)
		}
	}
	if seen.RelationNamed("pg_temp_9999", "made") == nil || seen.RelationNamed("app", "other") == nil {
		t.Error("what is in other schemas is gone")
	}
}
