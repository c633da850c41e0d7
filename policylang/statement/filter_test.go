package statement

import (
	"math/rand/v2"
	"testing"
)

// filteringConditions keep rows out.
func filteringConditions() []string {
	return []string{
		"id = 5", "id = $1", "id in (1, 2)", "id between 1 and 2", "name like 'a%'", "name <> ''", "active", "not active", "id is null", "id is not null",
		"id = 5 and true", "id = 5 and 1 = 1", "id = 5 and (a or true)", "true and id = 5", "false", "1 = 0", "null", "not true", "'f'", "1 > 2", "false or id = 1",
		"id = 5 or id = 6", "id = 5 or false", "id < 5 or id > 7", "a is null or b is not null", "a is true or b is not true", "a = 1 or a <> 2",
		"exists (select 1 from o where o.id = t.id)", "exists (select 1 from o where false and o.id = t.id)", "id in (select id from o)", "id in (select id from t where a)", "id in (select other from t)",
		"current of c", "coalesce(id, 1) = 5", "case when id = 5 then true else false end", "case when id = 5 then true end", "lower(name) = 'a'",
		"id >= 0", "id > -1", "id <> id", "id < id", "id is distinct from id", "id not in (id)", "not (id = id)", "not id <> 5", "name !~~ '%'", "name not like '%'",
		"id + 1 = id", "a = b", "t.id = o.id", "(a, b) = (1, 2)", "length(name) > 5", "abs(id) > 0", "id = any (array[1, 2])", "id = any ($1)",
		"(select id) = 5", "id = (select max(id) from t)", "t.id = (select 5)", "row(id) = row(5)", "ctid = '(0,1)'", "ctid is null", "xmin = '5'",
		"id = 5 or (false and a)", "id = 5 and a is null or a = 1", "true is false", "null is true", "5 is distinct from 5", "1 in (2, 3) and a",
	}
}

// idleConditions do not.
func idleConditions() []string {
	return []string{
		"true", "1 = 1", "'a' = 'a'", "'t'", "'yes'::bool", "true::bool", "1::boolean", "not false", "not not true", "null is null", "true is true", "1 is not null", "false is not true",
		"true or id = 5", "id = 5 or true", "id = 5 or 1 = 1", "1 = 1 and true", "not (false and id = 5)", "1 < 2", "2 >= 2", "1 <> 2", "'a' <> 'b'",
		"id = id", "t.id = id", "public.t.id = public.t.id", "id >= id", "id <= id", "id is not distinct from id", "id in (id)", "id in (1, id)", "id between id and id", "not (id <> id)", "not (id < id)",
		"id + 0 = id", "id = id * 1", "name || '' = name", "lower(name) = lower(name)", "id::int = id", "id::text = id::text", "+ id = id", "(id, name) = (id, name)",
		"id = any (array[id])", "id is null or id is not null", "a or not a", "not a or a", "id = 1 or id <> 1", "id = 1 or not id = 1", "id < 5 or id >= 5", "id < 5 or id > 5 or id = 5", "id <= 5 or id > 5",
		"a is true or a is not true", "a is unknown or a is not unknown", "id in (1) or id not in (1)", "name like 'x' or name not like 'x'", "id between 1 and 2 or id not between 1 and 2",
		"name like '%'", "name ilike '%%'", "name ~ ''", "name ~ '.*'", "name ~* '^'", "name similar to '%'", "name like '%' escape '!'", "not name not like '%'",
		"id >= -2147483648", "id > -9223372036854775808", "-2147483648 <= id", "id <= 2147483647", "id <= 99999999999",
		"length(name) >= 0", "abs(id) > -1", "0 <= char_length(name)",
		"exists (select 1)", "not exists (select 1 where false) or exists (select 1)", "(select true)", "(select 1) = 1", "1 in (select 1)", "exists (select 1 from o)", "exists (select 1 from o where o.x = 1)", "exists (select 1 from o where x = 1)",
		"id in (select id from t)", "t.id in (select x.id from t x)", "random() >= 0", "now() > '2000-01-01'", "current_user = 'joe'", "$1", "$1 = 1", "$1 = 1 or id = 5", "f()",
		"case when true then true else id = 5 end", "case when false then id = 5 else true end", "case when id = 5 then true else true end", "coalesce(true, id = 5)", "coalesce(null, true)",
		"coalesce(id, 1) is not null", "ctid is not null", "tableoid is not null", "tableoid = 't'::regclass", "xmin is not null", "(id = 5) is not null or true",
		"o.x = 1", "o.id = o.id",
	}
}

func TestFiltered(t *testing.T) {
	check := func(conditions []string, want bool) {
		for _, condition := range conditions {
			for _, sql := range []string{
				"delete from t using o where " + condition,
				"update t set a = 1 from o where " + condition,
				"with x as (delete from t using o where " + condition + ") select 1",
				"merge into t using o on " + condition + " when matched then delete",
				"merge into t using o on true when matched and " + condition + " then update set a = 1",
			} {
				tree, err := Parse(sql, Limits{})
				if err != nil {
					if condition == "current of c" {
						continue // is the whole of a WHERE, and has no place in MERGE
					}
					t.Errorf("%s: %v", sql, err)
					continue
				}
				if got := tree.Statements[0].Facts.Filtered; got != want {
					t.Errorf("%s: filtered is %t, want %t", sql, got, want)
				}
			}
		}
	}
	check(filteringConditions(), true)
	check(idleConditions(), false)
}

// TestConditionsCompose joins conditions at random: with AND an idle one takes
// nothing away, with OR it lets every row in. In all of them the facts must
// say so if they depend on a constant.
func TestConditionsCompose(t *testing.T) {
	filtering, idle := filteringConditions(), idleConditions()
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(list []string) string {
		for {
			if s := list[random.IntN(len(list))]; s != "current of c" {
				return "(" + s + ")"
			}
		}
	}
	for range 2000 {
		f, g, i := pick(filtering), pick(filtering), pick(idle)
		for condition, want := range map[string]bool{f + " and " + i: true, i + " and " + f: true, f + " or " + i: false, i + " or " + f: false, f + " and " + g: true, "not (not " + f + ")": true} {
			sql := "delete from t using o where " + condition
			tree, err := Parse(sql, Limits{})
			if err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
			if got := tree.Statements[0].Facts.Filtered; got != want {
				t.Errorf("%s: filtered is %t, want %t", sql, got, want)
			}
		}
		checkNormalForm(t, "delete from t using o where "+f+" or "+g+" and "+i)
	}
}
