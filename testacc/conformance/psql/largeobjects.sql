-- Large objects by psql, which calls functions by the fast path, and by SQL.
\lo_list
\lo_export 424242 :dir/lo.bin
\! od -c < $OUT/lo.bin
\! printf 'new content' > $OUT/in.bin
\lo_import :dir/in.bin 'a comment'
select convert_from(lo_get(:LASTOID), 'UTF8');
\lo_unlink :LASTOID
\lo_unlink 4
\lo_export 4 :dir/nothing
\! head -c 3000000 /dev/zero > $OUT/big.bin
\lo_import :dir/big.bin
\lo_export :LASTOID :dir/big.out
\! cmp $OUT/big.bin $OUT/big.out && echo same
begin;
select lo_open(424242, 131072 + 262144);
select lowrite(0, '\xaabb'), lo_lseek(0, 0, 0), loread(0, 10), lo_tell(0), lo_close(0);
rollback;
select lo_get(424242);
