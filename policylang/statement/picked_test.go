package statement

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPickedParameter: set_config of a column names the parameter that WHERE
// holds the column to, and any parameter if that is not certain.
func TestPickedParameter(t *testing.T) {
	tests := []struct {
		name, sql string
		want      []string
	}{
		{"as pg_dump does", "select set_config(name, 'view', false) from pg_settings where name = 'A_b'", []string{"=a_b"}},
		{"among other conditions", "select set_config(name, 'view', false) from pg_catalog.pg_settings s where setting <> '' and name = 'a_b'", []string{"=a_b"}},
		{"who the session is", "select set_config(name, 'ben', false) from pg_settings where name = 'role'", []string{"*"}},
		{"by OR", "select set_config(name, 'view', false) from pg_settings where name = 'a' or true", []string{"*"}},
		{"by another operator", "select set_config(name, 'view', false) from pg_settings where name >= 'a'", []string{"*"}},
		{"by a named operator", "select set_config(name, 'view', false) from pg_settings where name operator(public.=) 'a'", []string{"*"}},
		{"of another column", "select set_config(setting, 'view', false) from pg_settings where name = 'a'", []string{"*"}},
		{"of several relations", "select set_config(name, 'view', false) from pg_settings, t where name = 'a'", []string{"*"}},
		{"of a function", "select set_config(name, 'view', false) from f() where name = 'a'", []string{"*"}},
		{"in a query within", "select (select set_config(name, 'view', false)) from pg_settings where name = 'a'", []string{"*"}},
		{"in the WHERE itself", "select 1 from pg_settings where name = 'a' and set_config(name, 'view', false) = ''", []string{"*"}},
		{"without a WHERE", "select set_config(name, 'view', false) from pg_settings", []string{"*"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree, err := Parse(tt.sql, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tree.Statements[0].Assigns); diff != "" {
				t.Error(diff)
			}
		})
	}
}
