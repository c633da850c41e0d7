package statement

import (
	"slices"
	"testing"

	"github.com/posternhq/postern/policylang"
)

// TestEveryVolatileFunctionIsClassified fails for a volatile function of
// PostgreSQL's own that is neither in the table of effects nor said to be
// harmless.
func TestEveryVolatileFunctionIsClassified(t *testing.T) {
	for _, name := range builtinVolatile {
		_, listed := functionEffect(name)
		if listed == harmlessVolatile(name) {
			t.Errorf("%s: in the table is %t, harmless is %t", name, listed, harmlessVolatile(name))
		}
	}
}

func TestBuiltinsAreSorted(t *testing.T) {
	for _, list := range [][]string{builtinFunctions[:], builtinVolatile[:], builtinOperators[:], builtinTypes[:]} {
		if !slices.IsSorted(list) || len(list) == 0 {
			t.Errorf("the list from %q on is not sorted", list[:min(len(list), 1)])
		}
	}
}

// TestFunctionCalls has a call for each kind of function.
func TestFunctionCalls(t *testing.T) {
	tests := []struct {
		call     string
		class    policylang.Class
		readOnly bool
		opaque   bool
	}{
		{"lower('A')", policylang.ClassRead, true, false},
		{"pg_catalog.lower('A')", policylang.ClassRead, true, false},
		{"now()", policylang.ClassRead, true, false},
		{"random()", policylang.ClassRead, true, false},
		{"pg_sleep(1)", policylang.ClassRead, true, false},
		{"currval('s')", policylang.ClassRead, true, false},
		{"pg_stat_get_xact_tuples_inserted(1)", policylang.ClassRead, true, false},
		{"information_schema._pg_truetypid(a, t)", policylang.ClassRead, true, false},
		{"public.lower('A')", policylang.ClassFunction, false, true},
		{"no_such_function(1)", policylang.ClassFunction, false, true},
		{`"LOWER"('A')`, policylang.ClassFunction, false, true},
		{"nextval('s')", policylang.ClassFunction, false, false},
		{"pg_catalog.nextval('s')", policylang.ClassFunction, false, false},
		{"app.nextval('s')", policylang.ClassFunction, false, true},
		{"set_config('a.b', 'c', false)", policylang.ClassFunction, false, false},
		{"set_config($1, 'c', false)", policylang.ClassRole, false, true},
		{"set_config('ROLE', 'c', false)", policylang.ClassRole, false, false},
		{"set_config(setting_name => 'a.b', new_value => 'c', is_local => false)", policylang.ClassRole, false, true},
		{"pg_notify('a', 'b')", policylang.ClassFunction, false, false},
		{"pg_try_advisory_lock(1)", policylang.ClassFunction, false, false},
		{"lo_unlink(1)", policylang.ClassFunction, false, false},
		{"lo_export(1, '/x')", policylang.ClassRole, false, true},
		{"pg_read_file('/x')", policylang.ClassRole, false, true},
		{"pg_terminate_backend(1)", policylang.ClassRole, false, false},
		{"pg_reload_conf()", policylang.ClassRole, false, false},
		{"binary_upgrade_set_next_pg_authid_oid(1)", policylang.ClassRole, false, false},
		{"pg_logical_slot_peek_changes('s', null, null)", policylang.ClassRole, false, true},
		{"dblink('x', 'select 1')", policylang.ClassFunction, false, true},
		{"extensions.dblink_exec('x', 'drop table t')", policylang.ClassFunction, false, true},
		{"query_to_xml('select 1', true, true, '')", policylang.ClassFunction, false, false},
		{"query_to_xml('drop table t', true, true, '')", policylang.ClassDDL, false, false},
		{"query_to_xml('not sql', true, true, '')", policylang.ClassFunction, false, true},
		{"query_to_xml($1, true, true, '')", policylang.ClassFunction, false, true},
		{"query_to_xml(query => 'select 1', nulls => true, tableforest => true, targetns => '')", policylang.ClassFunction, false, true},
		{"database_to_xml(true, true, '')", policylang.ClassFunction, false, true},
		{"table_to_xml('t', true, true, '')", policylang.ClassFunction, false, false},
		{"ts_rewrite('a'::tsquery, 'b'::tsquery, 'c'::tsquery)", policylang.ClassRead, true, false},
		{"crosstab('select 1')", policylang.ClassFunction, false, true},
		{"pg_import_system_collations('s')", policylang.ClassDDL, false, false},
		{"lower(no_such_function(1))", policylang.ClassFunction, false, true},
		{"case when false then pg_terminate_backend(1) end", policylang.ClassRole, false, false},
	}
	for _, tt := range tests {
		for _, sql := range []string{"select " + tt.call, "explain select " + tt.call, "select 1 where exists (select 1 from t order by " + tt.call + ")"} {
			tree, err := Parse(sql, Limits{})
			if err != nil {
				t.Errorf("%s: %v", sql, err)
				continue
			}
			if f := tree.Statements[0].Facts; f.Class != tt.class || f.ReadOnly != tt.readOnly || f.Opaque != tt.opaque {
				t.Errorf("%s: %s read_only=%t opaque=%t, want %s %t %t", sql, f.Class, f.ReadOnly, f.Opaque, tt.class, tt.readOnly, tt.opaque)
			}
		}
	}
}
