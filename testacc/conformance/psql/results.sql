-- Results and what psql does with them.
\pset null '<null>'
select * from people order by id;
table notes;
\x on
select * from people order by id;
\x off
select 1 as a, 'two' as b \gset pre_
\echo :pre_a :pre_b
select 'select 1', 'select ''generated''' \gexec
select id, name, mood, null::app.pair, 1.5::numeric(10,3), now() from people \gdesc
select person, id, body from notes order by 1, 2 \crosstabview person id body
select 1 \g
select 1 as x, 2 as y \gx
select format('%s', g) from generate_series(1, 3) g \g (format=unaligned tuples_only=on)
select $1::int + $2::int as sum \bind 3 4 \g
select 1; select 2; select 3;
select 1\; select 2\; select 3;
select 1\; select 1/0\; select 3;
select 1/0;
\errverbose
select nothing;
\errverbose
select * from ;
select from where;
\echo :ERROR :SQLSTATE :ROW_COUNT :LAST_ERROR_MESSAGE
insert into notes values (10, 1, default) returning *;
insert into notes values (10, 1, 'again');
\errverbose
update notes set body = body || '!' where id < 3;
\echo :ROW_COUNT
delete from notes where id = 10;
select app.loud('x');
do $$ begin raise notice 'n %', 1; raise warning 'w'; raise info 'i'; raise log 'l'; raise exception 'e' using detail = 'd', hint = 'h', errcode = 'P0002', table = 't', column = 'c', schema = 's', constraint = 'k', datatype = 'y'; end $$;
\errverbose
call app.proc(41);
explain (costs off) select * from people where id = 1;
;
select;
select '\x00'::bytea, E'a\tb', 'é', ''::text;
select repeat('x', 100000) = repeat('x', 100000), length(repeat('é', 1000000));
select array_agg(g) from generate_series(1, 1000) g;
select generate_series(1, 5000);
\set FETCH_COUNT 7
select generate_series(1, 30);
select 1/(15-g) from generate_series(1, 30) g;
\unset FETCH_COUNT
\set AUTOCOMMIT off
select 1;
\echo :AUTOCOMMIT
rollback;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
begin;
select 1;
select 1/0;
select 2;
commit;
\set SINGLELINE
merge into notes n using (values (1), (99)) v(id) on n.id = v.id when matched then update set body = 'merged' when not matched then insert values (v.id, 1, 'new');
with d as (delete from notes where id = 99 returning *) select * from d;
create temp table tt as select 1 as a;
select * from tt;
select xmlelement(name x, 'y');
select '1 day'::interval, '2020-01-01'::date, 'infinity'::float8, 'NaN'::numeric, '{1,2}'::int[], '[1,3)'::int4range, '127.0.0.1'::inet, 'a=>b';
