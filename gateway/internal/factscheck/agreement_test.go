package factscheck

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/statement"
)

// corpus is what is run. A statement may touch more than its text says: through
// a view, a partition, inheritance, a foreign key or a function, which a
// catalog adds; those relations are named.
var corpus = []struct {
	sql   string
	hides string // relations, apart by spaces
	fails bool   // this server cannot run it
}{
	{sql: "select * from customers"},
	{sql: "select c.name, o.total from customers c join orders o on o.customer_id = c.id where o.total > 5 order by 2 limit 3"},
	{sql: "select (select count(*) from orders where customer_id = c.id) from customers c"},
	{sql: "select * from (select email from customers) s, lateral (select s.email) l"},
	{sql: "with x as (select * from orders) select * from x"},
	{sql: "with orders as (select * from customers) select * from orders"},
	{sql: "with recursive t as (select 1 as n union all select n + 1 from t where n < 5) select * from t"},
	{sql: "with gone as (delete from orders where id = 1 returning *) select * from gone"},
	{sql: "with gone as (delete from orders where id = 1) select 1"},
	{sql: "with a as (insert into archive values (1, 2) returning id), b as (update app.t set b = 'x' where a = 1 returning a) select * from a, b"},
	{sql: "select id from customers union select id from archive"},
	{sql: "values (1), (2)"},
	{sql: "table customers"},
	{sql: "select * from only parent"},
	{sql: "select * from parent", hides: "child"},
	{sql: "select * from events", hides: "events_2024"},
	{sql: "select * from v_orders", hides: "orders"},
	{sql: "select * from mv"},
	{sql: "select * from orders where id = 1 for update"},
	{sql: "select * from orders o, customers c where o.customer_id = c.id for share of c"},
	{sql: "select * from (select * from orders) s for no key update"},
	{sql: "select * into copied from customers"},
	{sql: "select nextval('app.seq')"},
	{sql: "select setval('app.seq', 5)"},
	{sql: "select nextval('app.seq'), currval('app.seq')"},
	{sql: "select set_config('work_mem', '5MB', true)"},
	{sql: "select pg_notify('c', 'x')"},
	{sql: "select pg_advisory_xact_lock(1)"},
	{sql: "select lo_create(0)"},
	{sql: "select lo_from_bytea(0, 'x')"},
	{sql: "select now(), random(), clock_timestamp(), gen_random_uuid(), version(), current_user, pg_backend_pid()"},
	{sql: "select pg_sleep(0), pg_relation_size('customers'), pg_size_pretty(1::bigint), pg_get_viewdef('v_orders')", hides: "customers v_orders orders"},
	{sql: "select lower(name), upper(email), length(name), coalesce(name, 'x'), array_agg(id) over (partition by name) from customers"},
	{sql: "select json_agg(c), row_to_json(c), jsonb_build_object('a', c.id) from customers c group by c, c.id"},
	{sql: "select row_to_json(c) from customers c"},
	{sql: "select xmlelement(name a, xmlattributes(name as b), email), xmlforest(id) from customers"},
	{sql: "select query_to_xml('select * from customers', true, false, '')"},
	{sql: "select table_to_xml('app.t'::regclass, true, false, '')"},
	{sql: "select word from ts_stat('select to_tsvector(name) from customers')"},
	{sql: "select ts_rewrite('a'::tsquery, 'select ''a''::tsquery, plainto_tsquery(name) from customers')"},
	{sql: "select app.pure(1), app.writes(2)", hides: "logged"},
	{sql: "select 'ok'::mood, a::text, (a, b)::text, c[1], j -> 'x' from app.t"},
	{sql: "select * from generate_series(1, 3) g, unnest(array[1, 2]) with ordinality u"},
	{sql: "select * from customers tablesample system (50)"},
	{sql: "select * from json_to_record('{\"a\": 1}') as x (a int)"},
	{sql: "select 'customers'::regclass, 'app.t'::regclass::oid"},
	{sql: "select has_table_privilege('customers', 'select'), current_setting('work_mem'), pg_typeof(1)"},
	{sql: "select * from pg_stat_activity"},
	{sql: "select * from pg_locks"},
	{sql: "select * from pg_settings limit 1"},
	{sql: "select * from information_schema.tables limit 1"},

	{sql: "insert into archive values (1, 2)"},
	{sql: "insert into archive (id) select id from orders"},
	{sql: "insert into archive default values"},
	{sql: "insert into app.t (a, b) values (1, 'x') on conflict (a) do update set b = excluded.b where t.b <> 'y' returning *"},
	{sql: "insert into app.t (a, b) values (1, 'x') on conflict do nothing"},
	{sql: "insert into orders (customer_id) values (1) returning id", hides: "customers orders_id_seq"},
	{sql: "insert into events values (2, '2024-02-02')", hides: "events_2024"},
	{sql: "with x as (delete from app.t where a = 1 returning a) insert into archive (id) select a from x"},
	{sql: "update orders set total = total + 1 where id = 5"},
	{sql: "update orders set total = 1"},
	{sql: "update orders o set total = c.id from customers c where c.id = o.customer_id returning o.*"},
	{sql: "update app.t set (a, b) = (select 100, name from customers where id = 1) where a = 1"},
	{sql: "update v_orders set total = 1 where id = 1", hides: "orders"},
	{sql: "update pg_settings set setting = '6MB' where name = 'work_mem'"},
	{sql: "delete from orders where id = 3"},
	{sql: "delete from orders using customers c where c.id = customer_id and c.id = 2"},
	{sql: "delete from customers where id = 4", hides: "orders"},
	{sql: "merge into archive a using orders o on a.id = o.id when matched then delete when not matched then insert values (o.id, o.total)"},
	{sql: "merge into app.t t using archive a on t.a = a.id when matched then update set b = 'x'"},
	{sql: "merge into app.t t using archive a on t.a = a.id when matched then do nothing", hides: "t"},
	{sql: "truncate archive, logged"},
	{sql: "truncate customers cascade"},
	{sql: "copy customers to stdout"},
	{sql: "copy customers (id, name) to stdout csv header"},
	{sql: "copy (select * from orders) to stdout"},
	{sql: "copy (delete from orders returning id) to stdout"},
	{sql: "copy archive from stdin"},
	{sql: "explain select * from customers"},
	{sql: "explain delete from orders"},
	{sql: "explain analyze delete from orders where id = 1"},
	{sql: "explain (analyze, costs off) select * from orders for update"},
	{sql: "explain create table x as select * from orders"},
	{sql: "explain analyze create table x as select * from orders"},
	{sql: "create table made as select * from orders"},
	{sql: "create materialized view made as select id from orders limit 1"},
	{sql: "refresh materialized view mv", hides: "orders"},

	{sql: "begin"},
	{sql: "savepoint s"},
	{sql: "savepoint s; release s"},
	{sql: "savepoint s; rollback to s"},
	{sql: "set work_mem = '5MB'"},
	{sql: "set local search_path = app"},
	{sql: "reset work_mem"},
	{sql: "reset all"},
	{sql: "show work_mem"},
	{sql: "show all"},
	{sql: "set transaction isolation level repeatable read"},
	{sql: "set session characteristics as transaction read write"},
	{sql: "set constraints all deferred"},
	{sql: "set role joe"},
	{sql: "set session authorization joe"},
	{sql: "prepare p1 as select * from customers; execute p1"},
	{sql: "prepare p2 (int) as delete from orders where id = $1; execute p2(1)"},
	{sql: "prepare p3 as select 1; deallocate p3"},
	{sql: "deallocate all"},
	{sql: "declare c cursor for select * from customers; fetch 2 from c; move 1 in c; close c"},
	{sql: "close all"},
	{sql: "listen c"},
	{sql: "notify c, 'x'"},
	{sql: "unlisten *"},
	{sql: "discard plans"},
	{sql: "discard temp"},
	{sql: "discard sequences"},
	{sql: "lock table orders in access exclusive mode"},
	{sql: "lock table orders, customers in share mode"},
	{sql: "analyze orders"},
	{sql: "reindex table orders"},
	{sql: "cluster orders using orders_pkey"},

	{sql: "do $$ begin delete from orders where id = 5; insert into archive values (1, 1); end $$"},
	{sql: "do $$ declare r record; begin for r in select * from customers loop update orders set total = r.id where customer_id = r.id; end loop; end $$"},
	{sql: "do $$ begin execute 'delete from orders where id = 6'; end $$"},
	{sql: "do $$ begin perform nextval('app.seq'); end $$"},
	{sql: "call app.proc()", hides: "logged"},
	{sql: "create function made(a int) returns bigint language sql as 'select count(*) from customers where id = a'"},
	{sql: "create function made() returns void language plpgsql as 'begin delete from orders; end'"},
	{sql: "create function made() returns bigint begin atomic select count(*) from customers; end"},
	{sql: "create function made() returns bigint return (select count(*) from customers)"},
	{sql: "create procedure made() language sql as 'truncate archive'"},
	{sql: "alter function app.pure(int) stable"},
	{sql: "alter procedure app.proc() security definer"},
	{sql: "alter routine app.pure(int) cost 5"},
	{sql: "drop function app.pure(int)"},
	{sql: "drop procedure app.proc()"},
	{sql: "drop routine app.proc()"},

	{sql: "create table made (id int primary key, o int references orders (id), check (id > app.pure(1)))"},
	{sql: "create temp table made (a int) on commit drop"},
	{sql: "create table made (like customers including all) inherits (parent)"},
	{sql: "create table made partition of events for values from ('2025-01-01') to ('2026-01-01')"},
	{sql: "alter table orders add column x int default app.pure(5), alter column total set not null"},
	{sql: "alter table orders drop column status", hides: ""},
	{sql: "alter table archive owner to joe"},
	{sql: "alter table archive enable row level security"},
	{sql: "alter table archive rename to other"},
	{sql: "alter table orders rename column total to sum", hides: "v_orders"},
	{sql: "alter table archive set schema app"},
	{sql: "alter index orders_total rename to i"},
	{sql: "alter view v_orders rename to v"},
	{sql: "alter materialized view mv rename to m"},
	{sql: "alter sequence app.seq restart with 10"},
	{sql: "alter table app.t add foreign key (a) references customers (id)"},
	{sql: "alter table events detach partition events_2024"},
	{sql: "alter table child no inherit parent"},
	{sql: "create index made on orders (status, lower(status)) where total > 1"},
	{sql: "create sequence made"},
	{sql: "create view made as select * from customers"},
	{sql: "create or replace view v_orders as select id, total from orders"},
	{sql: "create statistics made on id, total from orders"},
	{sql: "create trigger made before insert on archive for each row when (new.id > 1) execute function app.on_row()"},
	{sql: "create rule made as on insert to archive do also insert into logged values ('x')"},
	{sql: "create policy made on archive using (id > 1)"},
	{sql: "create schema made create table a (b int) create view c as select b from a"},
	{sql: "drop table archive"},
	{sql: "drop table customers cascade"},
	{sql: "drop view v_orders"},
	{sql: "drop materialized view mv"},
	{sql: "drop sequence app.seq"},
	{sql: "drop index orders_total", hides: "orders"},
	{sql: "drop schema app cascade"},
	{sql: "drop type mood"},
	{sql: "drop rule r_logged on logged"},
	{sql: "comment on table orders is 'x'"},
	{sql: "comment on column orders.id is 'x'"},
	{sql: "grant select on orders, customers to joe"},
	{sql: "grant select (id) on orders to joe"},
	{sql: "revoke all on orders from joe"},
	{sql: "grant select on all tables in schema app to joe"},
	{sql: "grant joe to postgres"},
	{sql: "revoke joe from postgres"},
	{sql: "alter default privileges grant select on tables to joe"},
	{sql: "create role made"},
	{sql: "create user made"},
	{sql: "alter role joe createdb"},
	{sql: "alter role joe set work_mem = '5MB'"},
	{sql: "alter role joe rename to jo"},
	{sql: "drop role joe"},
	{sql: "drop owned by joe"},
	{sql: "reassign owned by joe to postgres"},
	{sql: "alter database postgres set work_mem = '5MB'"},
	{sql: "create publication made for table orders"},
	{sql: "create publication made for all tables; alter publication made rename to x; drop publication x"},
	{sql: "create type made as enum ('a')"},
	{sql: "create type made as (a int)"},
	{sql: "create type made as range (subtype = int)"},
	{sql: "alter type mood add value 'x'"},
	{sql: "create domain made as int check (value > 0)"},
	{sql: "create domain made as int; alter domain made set default 5; drop domain made"},
	{sql: "create operator === (function = int4eq, leftarg = int, rightarg = int)"},
	{sql: "create aggregate made (int) (sfunc = int4pl, stype = int)"},
	{sql: "create cast (text as mood) with inout"},
	{sql: "create collation made from \"C\""},
	{sql: "create text search configuration made (copy = simple); alter text search configuration made drop mapping for word; drop text search configuration made"},
	{sql: "create text search dictionary made (template = simple)"},
	{sql: "create operator family made using btree"},
	{sql: "create event trigger made on ddl_command_start execute function app.on_ddl()"},
	{sql: "create access method made type index handler bthandler"},
	{sql: "create foreign data wrapper made; create server s foreign data wrapper made; create user mapping for joe server s; create foreign table ft (a int) server s; alter server s version '1'; drop user mapping for joe server s; drop foreign table ft; drop server s; drop foreign data wrapper made"},
	{sql: "create language made handler plpgsql_call_handler"},
	{sql: "create conversion made for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8"},
	{sql: "checkpoint"},
	{sql: "load 'plpgsql'"},
	{sql: "create extension if not exists plpgsql schema pg_catalog"},
	{sql: "alter extension plpgsql update"},
	{sql: "security label on table orders is 'x'", fails: true},
	{sql: "import foreign schema a from server b into app", fails: true},
}

// TestFactsAgreeWithServer runs the corpus, each statement in a transaction of
// its own that is rolled back, and compares.
func TestFactsAgreeWithServer(t *testing.T) {
	conn := server(t)
	for _, tt := range corpus {
		t.Run(tt.sql, func(t *testing.T) {
			tree, err := statement.Parse(tt.sql, statement.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			defer cleanUp(t, conn)
			exec(t, conn, "begin")
			for i := range tree.Statements {
				st := &tree.Statements[i]
				tag, err := run(t.Context(), conn, st)
				if tt.fails != (err != nil) {
					t.Fatalf("error %v, want one: %t", err, tt.fails)
				}
				if err != nil {
					return
				}
				if !slices.Contains(st.Facts.Commands, tag) && st.Session.Kind != statement.Execute {
					t.Errorf("the server answers %s, not one of %q", tag, st.Facts.Commands)
				}
				if st.Facts.ReadOnly && !st.Facts.Transaction && assignedTransaction(t, conn) {
					t.Error("read-only, but the server gave it a transaction id")
				}
			}
			checkRelations(t, conn, tree, strings.Fields(tt.hides))
		})
	}
}

// TestReadOnlyFactsAgreeWithServer runs what is said to be read-only in a READ
// ONLY transaction.
func TestReadOnlyFactsAgreeWithServer(t *testing.T) {
	conn := server(t)
	for _, tt := range corpus {
		tree, err := statement.Parse(tt.sql, statement.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		exec(t, conn, "begin read only")
		for i := range tree.Statements {
			st := &tree.Statements[i]
			_, err := run(t.Context(), conn, st)
			var refused *pgconn.PgError
			if errors.As(err, &refused) && refused.Code == "25006" && st.Facts.ReadOnly {
				t.Errorf("%s: read-only, but %v", st.Text, err)
			}
			if err != nil {
				break
			}
		}
		cleanUp(t, conn)
	}
}

// cleanUp ends the transaction and forgets what the session has set.
func cleanUp(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	exec(t, conn, "rollback")
	exec(t, conn, "reset session authorization")
	exec(t, conn, "discard all")
	exec(t, conn, "select pg_stat_force_next_flush()") // so that statistics start from nothing
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// run runs a statement and returns its command tag without counts.
func run(ctx context.Context, conn *pgx.Conn, st *statement.Statement) (string, error) {
	var tag pgconn.CommandTag
	var err error
	if st.Session.Kind == statement.Copy && st.Session.Value == "in" {
		tag, err = conn.PgConn().CopyFrom(ctx, strings.NewReader("1\t2\n"), st.Text)
	} else if st.Session.Kind == statement.Copy {
		var out strings.Builder
		tag, err = conn.PgConn().CopyTo(ctx, &out, st.Text)
	} else {
		var results []*pgconn.Result
		if results, err = conn.PgConn().Exec(ctx, st.Text).ReadAll(); err == nil && len(results) == 1 {
			tag = results[0].CommandTag
		}
	}
	return strings.TrimRight(tag.String(), " 0123456789"), err
}

func assignedTransaction(t *testing.T, conn *pgx.Conn) bool {
	t.Helper()
	var assigned bool
	if err := conn.QueryRow(t.Context(), "select pg_current_xact_id_if_assigned() is not null", pgx.QueryExecModeSimpleProtocol).Scan(&assigned); err != nil {
		t.Fatal(err)
	}
	return assigned
}

// touched is a relation that the transaction has locked, and what it did to its
// rows.
type touched struct {
	schema, name               string
	mode                       string // the strongest lock
	inserted, updated, deleted bool
}

func relations(t *testing.T, conn *pgx.Conn) []touched {
	t.Helper()
	const sql = `select n.nspname, c.relname, array_to_string(array_agg(distinct l.mode), ' '),
		coalesce(bool_or(s.n_tup_ins > 0), false), coalesce(bool_or(s.n_tup_upd > 0), false), coalesce(bool_or(s.n_tup_del > 0), false)
		from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
		left join pg_stat_xact_all_tables s on s.relid = c.oid
		where l.pid = pg_backend_pid() and l.locktype = 'relation' and c.relkind in ('r', 'v', 'm', 'S', 'f', 'p')
		and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_toast' group by 1, 2`
	rows, err := conn.Query(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r touched, err error) {
		return r, row.Scan(&r.schema, &r.name, &r.mode, &r.inserted, &r.updated, &r.deleted)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkRelations compares what the transaction touched with what the facts of
// its statements say.
func checkRelations(t *testing.T, conn *pgx.Conn, tree *statement.Tree, hidden []string) {
	t.Helper()
	opaque := false
	for i := range tree.Statements {
		f := tree.Statements[i].Facts
		opaque = opaque || f.Opaque
	}
	for _, r := range relations(t, conn) {
		if slices.Contains(hidden, r.name) {
			continue
		}
		verbs := verbsOf(tree, r)
		switch {
		case len(verbs) == 0 && !opaque:
			t.Errorf("locks %s.%s (%s), which the facts do not name", r.schema, r.name, r.mode)
		case r.inserted && !has(verbs, policylang.VerbInsert, policylang.VerbCreate, policylang.VerbMaintain) && !opaque:
			t.Errorf("inserts into %s.%s, the facts say %v", r.schema, r.name, verbs)
		case r.updated && !has(verbs, policylang.VerbUpdate) && !opaque:
			t.Errorf("updates %s.%s, the facts say %v", r.schema, r.name, verbs)
		case r.deleted && !has(verbs, policylang.VerbDelete) && !opaque:
			t.Errorf("deletes from %s.%s, the facts say %v", r.schema, r.name, verbs)
		case strings.Trim(strings.ReplaceAll(r.mode, "AccessShareLock", ""), " ") != "" && !opaque && !planned(tree) &&
			!slices.ContainsFunc(verbs, func(v policylang.Verb) bool { return v != policylang.VerbRead }):
			t.Errorf("locks %s.%s with %s, the facts say %v", r.schema, r.name, r.mode, verbs)
		}
	}
}

// planned reports whether the statement is a plain EXPLAIN, which locks as the
// statement in it would.
func planned(tree *statement.Tree) bool {
	s := tree.Statements[0].Session
	return s.Kind == statement.Explain && s.Value == ""
}

func verbsOf(tree *statement.Tree, r touched) []policylang.Verb {
	var verbs []policylang.Verb
	for i := range tree.Statements {
		for _, rel := range tree.Statements[i].Facts.Relations {
			if (rel.Name == r.name || rel.Name == "") && (rel.Schema == r.schema || rel.Schema == "") {
				verbs = append(verbs, rel.Verb)
			}
		}
	}
	return verbs
}

func has(verbs []policylang.Verb, wanted ...policylang.Verb) bool {
	return slices.ContainsFunc(wanted, func(v policylang.Verb) bool { return slices.Contains(verbs, v) })
}
