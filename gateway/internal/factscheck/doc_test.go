// Package factscheck holds what policylang/statement says of SQL against what a
// real PostgreSQL does with it: command tags, locks, statistics, READ ONLY
// transactions, and the list of functions that PostgreSQL brings along. It has
// tests alone.
package factscheck

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway/internal/pgtest"
)

// server starts PostgreSQL with a small shop in it and connects to it.
func server(t *testing.T) *pgx.Conn {
	t.Helper()
	c := pgtest.New(t, pgtest.Options{Settings: map[string]string{"max_prepared_transactions": "5"}})
	c.MustExec(t, "postgres", schema)
	conn, err := pgx.Connect(t.Context(), c.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

const schema = `
create schema app;
create table customers (id int primary key, name text, email text, country text);
create table orders (id serial primary key, customer_id int references customers on delete cascade, total numeric, status text, done bool);
create index orders_total on orders (total);
create table archive (id int, total numeric);
create table events (id int, at date) partition by range (at);
create table events_2024 partition of events for values from ('2024-01-01') to ('2025-01-01');
create table parent (a int);
create table child (b int) inherits (parent);
create view v_orders as select id, total from orders;
create materialized view mv as select id from orders;
create sequence app.seq;
create table app.t (a int primary key, b text, c int[], j jsonb);
create table logged (what text);
create function app.pure(int) returns int language sql immutable as 'select $1';
create function app.writes(int) returns int language sql as 'insert into logged values (''f''); select $1';
create procedure app.proc() language sql as 'insert into logged values (''p'')';
create function app.on_row() returns trigger language plpgsql as 'begin return new; end';
create function app.on_ddl() returns event_trigger language plpgsql as 'begin end';
create type mood as enum ('ok', 'bad');
create role joe;
create rule r_logged as on delete to logged do instead nothing;
insert into customers select i, 'n' || i, 'e' || i, 'de' from generate_series(1, 20) i;
insert into orders (customer_id, total, status) select i, i, 'open' from generate_series(1, 20) i;
insert into app.t select i, 'b', array[i], '{}' from generate_series(1, 20) i;
insert into events values (1, '2024-05-05');
`
