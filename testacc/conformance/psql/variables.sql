-- psql's own logic around queries.
select 1 as one, null as two \gset
\if :one
select 'yes';
\else
select 'no';
\endif
\set who ana
select id from people where name = :'who';
select id as :"who" from people where name = :'who';
\o :dir/out
select 'into a file';
\o
\! cat $OUT/out
\timing on
\timing off
\pset format csv
select * from people order by id;
\pset format html
select 1 as "<a>";
\pset format aligned
\t on
select 'tuples only';
\t off
select 1 \g :dir/out2
\! cat $OUT/out2
select 1 \g | cat
\c
select 'reconnected';
\c - - - -
\c nowhere
\c postgres
select current_database();
\connect "dbname=conform"
\i nothing.sql
\copy people(name) from nothing.txt
\ev nothing
\sv nothing
\sf nothing
\setenv X y
\! echo $X
select 'done';
