package lineage_test

import (
	"testing"

	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

func TestTriggers(t *testing.T) {
	plain := schema(t, baseline(t), `
		CREATE TABLE customers (id int, email text, notes text, updated_at timestamptz);
		CREATE TABLE orders (id int, notes text, updated_at timestamptz);
		CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
		CREATE FUNCTION users_own(t text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN t; END';
		CREATE TRIGGER t BEFORE INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION fire();
		CREATE TRIGGER t BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION fire();`)
	tests := []struct {
		name, body string
		path       string
		orders     bool // a write to orders passes
		customers  bool // and one to customers
	}{
		{"nothing", "BEGIN RETURN NEW; END", "", true, true},
		{"clock", "BEGIN NEW.updated_at := now(); RETURN NEW; END", "", true, true},
		{"case and space", "BEGIN new . Updated_At = NOW(); RETURN new; END", "", true, true},
		{"own path", "BEGIN NEW.notes := lower(NEW.notes); RETURN NEW; END", "pg_catalog, public", true, true},
		{"path of the user", "BEGIN RETURN NEW; END", `"$user"`, false, false},
		{"condition", "BEGIN IF NEW.id < 0 THEN RAISE EXCEPTION 'bad'; END IF; RETURN NEW; END", "", true, true},
		{"protected column", "BEGIN NEW.notes := NEW.email; RETURN NEW; END", "", true, false},
		{"quoted protected column", `BEGIN NEW.notes := NEW."email"; RETURN NEW; END`, "", true, false},
		{"spelt protected column", `BEGIN NEW.notes := NEW.U&"\0065mail"; RETURN NEW; END`, "", true, false},
		{"whole row", "BEGIN NEW.notes := row_to_json(NEW); RETURN NEW; END", "", true, false},
		{"all fields", "BEGIN NEW.notes := ROW(OLD.*); RETURN NEW; END", "", true, false},
		{"other table", "BEGIN INSERT INTO orders VALUES (1); RETURN NEW; END", "", false, false},
		{"reads a table", "BEGIN NEW.notes := (SELECT email FROM customers LIMIT 1); RETURN NEW; END", "", false, false},
		{"dynamic", "BEGIN EXECUTE NEW.notes; RETURN NEW; END", "", false, false},
		{"user's function", "BEGIN NEW.notes := users_own(NEW.notes); RETURN NEW; END", "", false, false},
		{"setting", "BEGIN PERFORM set_config('a.b', NEW.notes, true); RETURN NEW; END", "", false, false},
		{"not readable", "BEGIN ???", "", false, false},
		{"quotes itself", "BEGIN RETURN NEW; END $body$", "", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := plain.Edit()
			f := *plain.FunctionsNamed("public", "fire")[0]
			f.Source, f.Path = tt.body, tt.path
			b.AddFunction(f)
			cat := b.Build(1)
			prot := lineage.Protect(cat, masks(t, "pii redact public.customers.email"))
			for table, want := range map[string]bool{"orders": tt.orders, "customers": tt.customers} {
				if got := passes(t, "UPDATE "+table+" SET notes = 'x'", cat, prot); got != want {
					t.Errorf("a write to %s passes: %v, want %v", table, got, want)
				}
				if !passes(t, "DELETE FROM "+table, cat, prot) {
					t.Errorf("a delete that fires no trigger is refused")
				}
			}
		})
	}
}

func passes(t *testing.T, sql string, cat *pgcatalog.Catalog, prot *lineage.Protection) bool {
	t.Helper()
	tree, err := statement.Parse(sql, statement.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	env := lineage.Environment{SearchPath: []string{"pg_catalog", "public"}, Database: cat.Database}
	_, refusal := lineage.Analyze(&tree.Statements[0], env, cat, prot)
	if refusal != nil && refusal.Code != lineage.CodeOpaque {
		t.Errorf("%s: refused with %s: %s", sql, refusal.Code, refusal.Message)
	}
	return refusal == nil
}
