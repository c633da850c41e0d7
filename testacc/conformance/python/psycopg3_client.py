"""psycopg 3: the extended protocol, pipelines, server cursors, COPY, binary."""
import logging
import sys
import threading

import psycopg
from psycopg import sql

from transcript import await_sleep, step

logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # what it logs about a pipeline depends on timing

if sys.argv[1:] == ["version"]:
    print(psycopg.__version__)
    sys.exit()

conn = psycopg.connect("", autocommit=True)
conn.add_notice_handler(lambda d: print("notice", d.severity, d.sqlstate, d.message_primary))
seen = []
conn.add_notify_handler(lambda n: seen.append((n.channel, n.payload)))


def rows(q, args=None, **kw):
    return conn.execute(q, args, **kw).fetchall()


step("simple", lambda: rows("select 1, null, true, 'é'"))
step("types", lambda: rows("select id, name, mood, short, tags, doc, score, seen, raw from people where id < 3 order by id"))
step("parameters", lambda: rows("select %s + 1, %s, %s::int[]", (41, "o'b", [1, None])))
step("binary", lambda: rows("select %b::int, %b::bytea", (7, b"\0\xff"), binary=True))
for n in range(8):
    step(f"prepared by use {n}", lambda: rows("select %s::int * 2", (n,)))
step("prepared at once", lambda: rows("select %s::text", ("x",), prepare=True))
step("several", lambda: [r.fetchall() for r in [conn.execute("select 1; select 2")]])
step("executemany", lambda: conn.cursor().executemany("insert into notes values (%s, 1, %s)", [(400, "a"), (401, None)]))


def returning():
    c = conn.cursor()
    c.executemany("insert into notes values (%s, 1, 'r') returning id", [(402,), (403,)], returning=True)
    out = [c.fetchone()]
    while c.nextset():
        out.append(c.fetchone())
    return out


step("executemany returning", returning)
step("error", lambda: rows("select nothing"))
step("error with a parameter", lambda: rows("select 1/%s", (0,)))
step("wrong parameter", lambda: rows("select %s::int", ("x",)))
step("diagnostics", lambda: rows("insert into notes values (400, 1, 'x')"))
step("notice", lambda: rows("select app.loud('x')"))


def pipeline():
    out = []
    with conn.pipeline() as p:
        a = conn.execute("select %s::int", (1,))
        b = conn.execute("insert into notes values (%s, 1, 'p') returning id", (410,))
        p.sync()
        c = conn.execute("select %s::text", ("c",))
        out += [a.fetchall(), b.fetchall(), c.fetchall()]
    return out


step("pipeline", pipeline)


def pipeline_fails():
    with conn.pipeline():
        conn.execute("insert into notes values (411, 1, 'p')")
        conn.execute("select 1/%s", (0,))
        conn.execute("select 2")


step("pipeline that fails", pipeline_fails)
step("what it left", lambda: rows("select id from notes where id in (410, 411)"))


def transactions():
    with conn.transaction():
        conn.execute("insert into notes values (420, 1, 't')")
        try:
            with conn.transaction():
                conn.execute("select 1/0")
        except psycopg.errors.DivisionByZero as e:
            print("in it", e.sqlstate, conn.info.transaction_status.name)
    return rows("select id from notes where id = 420")


step("transactions", transactions)


def named():
    with conn.transaction():
        with conn.cursor("named") as c:
            c.itersize = 3
            c.execute("select generate_series(1, %s::int)", (10,))
            return c.fetchmany(2), list(c)


step("server cursor", named)
step("stream", lambda: [r for r in conn.cursor().stream("select generate_series(1, 5)")])


def copies():
    conn.execute("create temp table c(a int, b text, c timestamptz)")
    for binary in (False, True):
        with conn.cursor() as c:
            with c.copy("copy c (a, b) from stdin" + (" (format binary)" if binary else "")) as copy:
                if binary:
                    copy.set_types(["int4", "text"])
                for i in range(2000):
                    copy.write_row((i, None if i % 3 else "line"))
    with conn.cursor() as c:
        with c.copy("copy (select a, b from c order by a, b) to stdout") as copy:
            size = sum(len(b) for b in copy)
        with c.copy("copy (select a, b from c order by a, b limit 3) to stdout (format binary)") as copy:
            copy.set_types(["int4", "text"])
            return size, list(copy.rows()), rows("select count(*), sum(a) from c")


step("copy", copies)


def copy_abandoned():
    with conn.cursor().copy("copy c (a) from stdin") as copy:
        copy.write("1\n")
        raise RuntimeError("never mind")


step("copy abandoned", copy_abandoned)
step("copy left early", lambda: next(iter(conn.cursor().copy("copy (select generate_series(1, 3)) to stdout").__enter__())) and None)
conn.close()
conn = psycopg.connect("", autocommit=True)
conn.add_notify_handler(lambda n: seen.append((n.channel, n.payload)))


def listen():
    conn.execute("listen ch")
    conn.execute(sql.SQL("notify ch, {}").format("payload"))
    conn.execute("select 1")
    return seen


step("listen", listen)


def cancel():
    def when_it_runs():
        with psycopg.connect("", autocommit=True) as other:
            await_sleep(lambda q: other.execute(q).fetchall())
        conn.cancel()

    threading.Thread(target=when_it_runs).start()
    return rows("select pg_sleep(60)")


step("cancel", cancel)


def two_phase():
    conn.autocommit = False
    conn.tpc_begin(conn.xid(1, "gtrid", "bqual"))
    conn.execute("insert into notes values (430, 1, 'tpc')")
    conn.tpc_prepare()
    conn.tpc_commit()
    conn.autocommit = True
    return rows("select body from notes where id = 430")


step("two-phase", two_phase)
step("client cursor", lambda: psycopg.ClientCursor(conn).execute("select %s, %s", (1, "x")).fetchall())
step("info", lambda: (conn.info.encoding, conn.info.server_version, conn.info.parameter_status("TimeZone")))
step("terminated", lambda: rows("select pg_terminate_backend(pg_backend_pid())"))
step("closed", lambda: (conn.closed, conn.broken))
