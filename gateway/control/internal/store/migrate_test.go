package store

import (
	"database/sql"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/internal/pgtest"
)

// firstRows is a store as the first version has left it, with a row in each
// table that later versions change.
const firstRows = `
INSERT INTO objects VALUES ('identity', 'ana', '{"kind":"human","when":"true"}', 'sha256:1', 1, 1000000, 'author');
INSERT INTO blobs VALUES ('b', 'c2VhbGVk');
INSERT INTO bundles VALUES ('sha256:1', 'b', 6, 'prod+1', 1000000, 'author');
INSERT INTO releases VALUES ('orders', 1, 'sha256:1', '', 1000000, 'first', 'prod+1', 'author', 1000000, 'c2lnbmVk');
INSERT INTO instances VALUES ('orders', 'i1', '0.1.0', 'sha256:1', 1, '', 3, 1000000, 1000000);
INSERT INTO tokens VALUES ('t_1', 'ci', 'hash', '["author"]', '', 1000000, 'admin', 0, 0, 0);
UPDATE revision SET rev = 7
`

// TestMigrationsFromEachVersion leaves a store at each version there ever was,
// with rows of the first, and opens it: nothing is lost, and all of it works.
func TestMigrationsFromEachVersion(t *testing.T) {
	cluster := pgtest.New(t)
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(files) < 2 {
		t.Fatalf("migrations %v, %v", files, err)
	}
	for version := 1; version <= len(files); version++ {
		database := fmt.Sprintf("v%d", version)
		cluster.MustExec(t, "postgres", "CREATE DATABASE "+database)
		for kind, url := range map[string]string{"sqlite": filepath.Join(t.TempDir(), "control.db"), "postgres": cluster.URL(database, "postgres")} {
			t.Run(fmt.Sprintf("%s from %d", kind, version), func(t *testing.T) {
				leaveAt(t, url, files[:version])
				s := opener(Config{URL: url})(t)
				checkFirstRows(t, s)
			})
		}
	}
}

// leaveAt makes a store with the first rows and the migrations of a version.
func leaveAt(t *testing.T, url string, files []string) {
	t.Helper()
	s := &Store{}
	if err := s.connect(url); err != nil {
		t.Fatal(err)
	}
	defer func() { is(t, s.closeDatabases(), nil) }()
	is(t, s.makeVersionTable(t.Context()), nil)
	exec := func(tx *sql.Tx, query string, args ...any) {
		t.Helper()
		if _, err := tx.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := s.w.BeginTx(t.Context(), nil)
	is(t, err, nil)
	for i, file := range files {
		is(t, runFile(t.Context(), tx, file), nil)
		if i > 0 {
			continue
		}
		for _, statement := range strings.Split(firstRows, ";\n") {
			exec(tx, statement)
		}
	}
	exec(tx, "UPDATE schema_version SET version = $1", len(files))
	is(t, tx.Commit(), nil)
}

func checkFirstRows(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	o, err := s.Object(ctx, "identity", "ana")
	if err != nil || o.Rev != 1 || o.UpdatedBy != "author" {
		t.Errorf("object %+v, %v", o, err)
	}
	sealed, err := s.Bundle(ctx, "sha256:1")
	if err != nil || string(sealed) != "sealed" {
		t.Errorf("bundle %q, %v", sealed, err)
	}
	live, err := s.Live(ctx, "orders")
	if err != nil || live.Revision != 1 || live.Note != "first" || string(live.Signed) != "signed" || live.Run != "" {
		t.Errorf("release %+v, %v", live, err)
	}
	instances, err := s.Instances(ctx, "orders", fromMicros(1))
	if err != nil || len(instances) != 1 || instances[0].Sessions != 3 || instances[0].Statements != 0 {
		t.Errorf("instances %+v, %v", instances, err)
	}
	tokens, err := s.Tokens(ctx)
	if err != nil || len(tokens) != 1 || tokens[0].Name != "ci" {
		t.Errorf("tokens %+v, %v", tokens, err)
	}
	if running, err := s.RunningRollouts(ctx); err != nil || len(running) != 0 {
		t.Errorf("rollouts %+v, %v", running, err)
	}
	rev, err := s.CreateObject(ctx, object("ben", "true"), nothing)
	if err != nil || rev != 8 {
		t.Errorf("the next revision is %d, %v", rev, err)
	}
}
