"""psycopg2: text protocol, named cursors, COPY, large objects, notifications."""
import io
import sys
import threading

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from transcript import await_sleep, step

if sys.argv[1:] == ["version"]:
    print(psycopg2.__version__)
    sys.exit()

conn = psycopg2.connect("")
conn.autocommit = True
cur = conn.cursor()


def rows(sql, args=None):
    cur.execute(sql, args)
    return cur.fetchall()


step("simple", lambda: rows("select 1, null, true, 'é'"))
step("types", lambda: rows("select * from people order by id limit 2"))
step("description", lambda: (cur.execute("select id, name, score from people"), [tuple(d)[:2] for d in cur.description])[1])
step("parameters", lambda: rows("select %s + 1, %s, %s::int[]", (41, "o'b", [1, None])))
step("several", lambda: rows("select 1; select 2"))
step("status", lambda: (cur.execute("insert into notes values (300, 1, 'x')"), cur.statusmessage, cur.rowcount))
step("error", lambda: rows("select nothing"))
step("unique", lambda: rows("insert into notes values (300, 1, 'x')"))
step("execute_values", lambda: psycopg2.extras.execute_values(cur, "insert into notes values %s returning id", [(301, 1, "a"), (302, 2, None)], fetch=True))
step("execute_batch", lambda: psycopg2.extras.execute_batch(cur, "update notes set body = %s where id = %s", [("p", 301), ("q", 302)]))
step("procedure", lambda: (cur.callproc("app.twice", [4]), cur.fetchall()))
step("notices", lambda: (rows("select app.loud('x')"), conn.notices))
step("prepared", lambda: (cur.execute("prepare p as select $1::int"), rows("execute p(3)"), cur.execute("deallocate p")))


def copies():
    cur.execute("create temp table c(a int, b text)")
    cur.copy_from(io.StringIO("".join(f"{i}\tline\n" for i in range(5000))), "c")
    out = io.StringIO()
    cur.copy_expert("copy (select * from c order by a) to stdout csv", out)
    return len(out.getvalue()), rows("select count(*), sum(a) from c")


step("copy", copies)
step("copy bad data", lambda: cur.copy_from(io.StringIO("x\ty\n"), "c"))
step("after it", lambda: rows("select 1"))

conn.autocommit = False
step("status in it", lambda: (rows("select 1"), conn.info.transaction_status))
step("failing", lambda: rows("select 1/0"))
step("failed", lambda: rows("select 1"))
step("failed status", lambda: conn.info.transaction_status)
conn.rollback()


def named():
    with conn.cursor("named", scrollable=True) as c:
        c.itersize = 3
        c.execute("select generate_series(1, 10)")
        first = c.fetchmany(2)
        c.scroll(3)
        return first, c.fetchone(), list(c)


step("named cursor", named)


def hold():
    c = conn.cursor("held", withhold=True)
    c.execute("select generate_series(1, 5)")
    conn.commit()
    out = c.fetchall()
    c.close()
    return out


step("cursor with hold", hold)


def large():
    lo = conn.lobject(0, "wb")
    lo.write(b"x" * 100000)
    lo.close()
    lo = conn.lobject(lo.oid, "rb")
    lo.seek(99990)
    out = (lo.read(), lo.tell())
    lo.unlink()
    conn.commit()
    return out


step("large object", large)


def two_phase():
    conn.rollback()
    conn.tpc_begin(conn.xid(1, "gtrid", "bqual"))
    cur.execute("insert into notes values (310, 1, 'tpc')")
    conn.tpc_prepare()
    conn.tpc_commit()
    return rows("select body from notes where id = 310")


step("two-phase", two_phase)
conn.rollback()
conn.autocommit = True


def listen():
    cur.execute("listen ch")
    cur.execute("notify ch, 'payload'")
    conn.poll()
    return [(n.channel, n.payload) for n in conn.notifies]


step("listen", listen)


def cancel():
    def when_it_runs():
        other = psycopg2.connect("")
        other.autocommit = True
        with other.cursor() as look:
            await_sleep(lambda q: (look.execute(q), look.fetchall())[1])
        other.close()
        conn.cancel()

    threading.Thread(target=when_it_runs).start()
    return rows("select pg_sleep(60)")


step("cancel", cancel)
step("reset", lambda: (conn.reset(), rows("select 1")))
step("encoding", lambda: (conn.encoding, conn.get_parameter_status("standard_conforming_strings"), conn.info.server_version))
step("isolation", lambda: (conn.set_session(isolation_level="SERIALIZABLE", readonly=True, autocommit=False), rows("show transaction_isolation"), conn.rollback()))
step("terminated", lambda: rows("select pg_terminate_backend(pg_backend_pid())"))
step("closed", lambda: (rows("select 1"), conn.closed))
