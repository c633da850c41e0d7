-- COPY and \copy.
create table c(a int, b text);
copy c from stdin;
1	one
2	\N
3	tab\there
\.
copy c to stdout;
copy c from stdin with (format csv, header, null 'NIL');
a,b
4,"quo""ted"
5,NIL
6,"two
lines"
\.
copy c to stdout with (format csv, header, force_quote *);
copy (select * from c order by a desc limit 2) to stdout;
copy c from stdin;
not a number	x
\.
\errverbose
copy c from stdin;
\.
copy nowhere from stdin;
1
\.
copy c(nothing) to stdout;
\copy c to :dir/out.txt
\copy c to pstdout csv
\copy (select a from c) to program 'cat'
\copy c from program 'printf "7\tseven\n8\teight\n"'
select * from c order by a;
begin;
copy c from stdin;
9	nine
\.
copy c from stdin;
x
\.
select 1;
rollback;
select count(*) from c;
copy c from stdin \; select count(*) from c;
10	ten
\.
copy (select 1) to stdout \; copy (select 2) to stdout;
copy c to stdout where a > 1;
copy people to stdout;
copy c from stdin where a > 100;
1	no
101	yes
\.
select * from c where a > 100;
truncate c;
copy c from stdin (freeze);
1	one
\.
