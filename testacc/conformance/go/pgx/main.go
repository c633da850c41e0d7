// Command pgx drives PostgreSQL by pgx: every mode of execution, batches,
// pipelines, COPY, large objects, tracing what it sees.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"

	. "github.com/posternhq/postern/testacc/conformance/go/transcript"
)

var ctx = context.Background()

func main() {
	if len(os.Args) > 1 {
		fmt.Println(Version("github.com/jackc/pgx/v5"))
		return
	}
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	}
	for _, mode := range modes {
		fmt.Println("==", mode)
		basics(connect(mode))
	}
	wire(connect(pgx.QueryExecModeCacheStatement))
	viaSQL()
}

func connect(mode pgx.QueryExecMode) *pgx.Conn {
	cfg, err := pgx.ParseConfig("")
	if err == nil {
		cfg.DefaultQueryExecMode = mode
		cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { fmt.Println("notice", n.Severity, n.Code, n.Message) }
		cfg.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { fmt.Println("notified", n.Channel, n.Payload) }
		var conn *pgx.Conn
		if conn, err = pgx.ConnectConfig(ctx, cfg); err == nil {
			return conn
		}
	}
	fmt.Println("connect:", err)
	os.Exit(1)
	return nil
}

func all(rows pgx.Rows, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []any
	for rows.Next() {
		v, err := rows.Values()
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

func basics(c *pgx.Conn) {
	defer c.Close(ctx)
	query := func(name, sql string, args ...any) {
		Step(name, func() (any, error) { return all(c.Query(ctx, sql, args...)) })
	}
	exec := func(name, sql string, args ...any) {
		Step(name, func() (any, error) { return c.Exec(ctx, sql, args...) })
	}
	query("simple", "select 1, null, true, 'é'")
	for i := range 3 {
		query("parameters", "select $1::int + 1, $2::text, $3::bytea", i, "o'b", []byte{0, 255})
	}
	query("types", "select id, name, tags, doc, born, seen, raw from people where id < 3 order by id")
	query("null", "select $1::int", nil)
	query("error", "select nothing")
	query("division", "select 1/$1::int", 0)
	exec("insert", "insert into notes values ($1, 1, $2)", 600, "x")
	exec("duplicate", "insert into notes values ($1, 1, $2)", 600, "x")
	exec("delete", "delete from notes where id = $1", 600)
	query("syntax", "select from where")
	query("empty", "")
	query("notice", "select app.loud($1)", "x")
	exec("ddl", "create temp table ch(a int)")
	query("before", "select * from ch")
	exec("alter", "alter table ch add b int")
	query("after", "select * from ch")
	query("and again", "select * from ch")
	Step("transaction", func() (any, error) {
		tx, err := c.Begin(ctx)
		if err != nil {
			return nil, err
		}
		defer tx.Rollback(ctx)
		_, err = tx.Exec(ctx, "select 1/0")
		_, second := tx.Exec(ctx, "select 1")
		return string(c.PgConn().TxStatus()), errors.Join(err, second, tx.Commit(ctx))
	})
	Step("savepoint", func() (any, error) {
		tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable, AccessMode: pgx.ReadWrite})
		if err != nil {
			return nil, err
		}
		inner, err := tx.Begin(ctx)
		if err != nil {
			return nil, err
		}
		_, failed := inner.Exec(ctx, "select nothing")
		if err := inner.Rollback(ctx); err != nil {
			return failed, err
		}
		rows, err := all(tx.Query(ctx, "show transaction_isolation"))
		return []any{failed, rows}, errors.Join(err, tx.Commit(ctx))
	})
	Step("batch", func() (any, error) {
		b := &pgx.Batch{}
		for i := range 5 {
			b.Queue("select $1::int", i)
		}
		b.Queue("insert into notes values (601, 1, 'b') returning id")
		r := c.SendBatch(ctx, b)
		var out []any
		for range b.Len() {
			v, err := all(r.Query())
			if err != nil {
				return out, errors.Join(err, r.Close())
			}
			out = append(out, v)
		}
		return out, r.Close()
	})
	exec("undo", "delete from notes where id = 601")
	Step("batch that fails", func() (any, error) {
		b := &pgx.Batch{}
		b.Queue("insert into notes values (602, 1, 'b')")
		b.Queue("select 1/$1::int", 0)
		b.Queue("select 2")
		return nil, c.SendBatch(ctx, b).Close()
	})
	query("what it left", "select count(*) from notes where id = 602")
	Step("copy from", func() (any, error) {
		if _, err := c.Exec(ctx, "create temp table cf(a int, b text, c timestamptz)"); err != nil {
			return nil, err
		}
		return c.CopyFrom(ctx, pgx.Identifier{"cf"}, []string{"a", "b", "c"}, pgx.CopyFromSlice(5000, func(i int) ([]any, error) {
			return []any{i, strings.Repeat("x", i%50), time.Unix(int64(i), 0)}, nil
		}))
	})
	Step("copy from, an error on our side", func() (any, error) {
		return c.CopyFrom(ctx, pgx.Identifier{"cf"}, []string{"a"}, pgx.CopyFromFunc(func() ([]any, error) { return nil, errors.New("never mind") }))
	})
	query("copied", "select count(*), sum(a), max(c) from cf")
	Step("time limit", func() (any, error) {
		_, err := c.Exec(ctx, "set statement_timeout = '1s'")
		if err != nil {
			return nil, err
		}
		_, err = c.Exec(ctx, "select pg_sleep(60)")
		return nil, err
	})
}

func wire(c *pgx.Conn) {
	fmt.Println("== by pgconn")
	pg := c.PgConn()
	step := func(name string, results []*pgconn.Result, err error) {
		Step(name, func() (any, error) {
			var out []string
			for _, r := range results {
				out = append(out, fmt.Sprintf("%v %q %v", r.CommandTag, r.Rows, r.Err))
			}
			return out, err
		})
	}
	r, err := pg.Exec(ctx, "select 1; select 2; insert into notes values (700, 1, 'x'); select 1/0; select 3").ReadAll()
	step("several", r, err)
	r, err = pg.Exec(ctx, "begin; select 1; commit; select 2").ReadAll()
	step("a transaction in one text", r, err)
	Step("pipeline", func() (any, error) {
		p := pg.StartPipeline(ctx)
		p.SendPrepare("ps1", "select $1::int", nil)
		p.SendQueryPrepared("ps1", [][]byte{[]byte("1")}, nil, nil)
		p.SendPipelineSync()
		p.SendQueryParams("select nothing", nil, nil, nil, nil)
		p.SendQueryParams("select 2", nil, nil, nil, nil)
		p.SendPipelineSync()
		p.SendQueryPrepared("ps1", [][]byte{[]byte("3")}, nil, nil)
		p.SendFlushRequest() // before the last Sync: pgx closes a pipeline of which something is not synced
		p.SendDeallocate("ps1")
		p.SendPipelineSync()
		if err := p.Flush(); err != nil {
			return nil, err
		}
		var out []string
		for range 8 {
			v, err := p.GetResults()
			switch v := v.(type) {
			case *pgconn.ResultReader:
				res := v.Read()
				out = append(out, fmt.Sprintf("%q %v %v", res.Rows, res.CommandTag, res.Err))
			default:
				out = append(out, fmt.Sprintf("%T %v", v, err))
			}
		}
		return strings.Join(out, "; "), p.Close()
	})
	r, err = pg.Exec(ctx, "create temp table c(a int)").ReadAll()
	step("table", r, err)
	Step("copy in", func() (any, error) { return pg.CopyFrom(ctx, strings.NewReader("1\n2\n"), "copy c from stdin") })
	Step("copy in, bad data", func() (any, error) { return pg.CopyFrom(ctx, strings.NewReader("x\n"), "copy c from stdin") })
	Step("copy in, a reader that fails", func() (any, error) {
		return pg.CopyFrom(ctx, io.MultiReader(strings.NewReader("1\n"), failing{}), "copy c from stdin")
	})
	Step("copy out", func() (any, error) {
		var b bytes.Buffer
		tag, err := pg.CopyTo(ctx, &b, "copy c to stdout")
		return fmt.Sprintf("%v %q", tag, b.String()), err
	})
	Step("copy out, an error later", func() (any, error) {
		return pg.CopyTo(ctx, io.Discard, "copy (select 1/(500-g) from generate_series(1, 1000) g) to stdout")
	})
	Step("large object", func() (any, error) {
		tx, err := c.Begin(ctx)
		if err != nil {
			return nil, err
		}
		defer tx.Rollback(ctx)
		lo := tx.LargeObjects()
		id, err := lo.Create(ctx, 0)
		if err != nil {
			return nil, err
		}
		o, err := lo.Open(ctx, id, pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite)
		if err != nil {
			return nil, err
		}
		n, err := o.Write(bytes.Repeat([]byte("x"), 50000))
		return n, errors.Join(err, lo.Unlink(ctx, id), tx.Commit(ctx))
	})
	Step("listen", func() (any, error) {
		if _, err := c.Exec(ctx, "listen ch"); err != nil {
			return nil, err
		}
		other := connect(pgx.QueryExecModeExec)
		defer other.Close(ctx)
		if _, err := other.Exec(ctx, "notify ch, 'from another'"); err != nil {
			return nil, err
		}
		limited, stop := context.WithTimeout(ctx, 30*time.Second)
		defer stop()
		return nil, c.PgConn().WaitForNotification(limited)
	})
	Step("cancel", func() (any, error) {
		other := connect(pgx.QueryExecModeExec)
		defer other.Close(ctx)
		limited, ended := context.WithTimeout(ctx, 30*time.Second)
		var cancelled sync.WaitGroup
		cancelled.Go(func() {
			for running := false; !running && limited.Err() == nil; time.Sleep(20 * time.Millisecond) {
				const query = "select exists (select from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)')"
				if err := other.QueryRow(ctx, query).Scan(&running); err != nil {
					fmt.Println("look:", err)
					return
				}
			}
			_ = pg.CancelRequest(ctx)
		})
		_, err := pg.Exec(ctx, "select pg_sleep(60)").ReadAll()
		ended()
		cancelled.Wait()
		return nil, err
	})
	Step("parameters", func() (any, error) {
		return []string{pg.ParameterStatus("TimeZone"), pg.ParameterStatus("client_encoding"), pg.ParameterStatus("is_superuser"), pg.ParameterStatus("session_authorization")}, nil
	})
	Step("terminated", func() (any, error) { return c.Exec(ctx, "select pg_terminate_backend(pg_backend_pid())") })
	Step("closed", func() (any, error) { return c.IsClosed(), nil })
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("never mind") }

func viaSQL() {
	fmt.Println("== database/sql")
	db, err := sql.Open("pgx", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	Step("query", func() (any, error) {
		var a int
		var b sql.NullString
		err := db.QueryRowContext(ctx, "select id, short from people where name = $1", "bea").Scan(&a, &b)
		return []any{a, b}, err
	})
	Step("deadline", func() (any, error) {
		limited, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		_, err := db.ExecContext(limited, "select pg_sleep(60)")
		return errors.Is(err, context.DeadlineExceeded), nil
	})
	Step("after", func() (any, error) {
		var n int
		err := db.QueryRow("select 1").Scan(&n)
		return n, err
	})
}
