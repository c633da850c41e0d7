// Command libpq drives PostgreSQL by lib/pq under database/sql.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/lib/pq"

	. "github.com/posternhq/postern/testacc/conformance/go/transcript"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Println(Version("github.com/lib/pq"))
		return
	}
	for _, dsn := range []string{"", "binary_parameters=yes"} {
		fmt.Printf("== %q\n", dsn)
		run(dsn)
	}
	listen()
}

func run(dsn string) {
	base, err := pq.NewConnector(dsn)
	if err != nil {
		fmt.Println(err)
		return
	}
	db := sql.OpenDB(pq.ConnectorWithNoticeHandler(base, func(n *pq.Error) { fmt.Println("notice", n.Severity, n.Code, n.Message) }))
	defer db.Close()
	db.SetMaxOpenConns(1)
	query := func(name, text string, args ...any) {
		Step(name, func() (any, error) { return all(db.Query(text, args...)) })
	}
	exec := func(name, text string, args ...any) {
		Step(name, func() (any, error) {
			r, err := db.Exec(text, args...)
			if err != nil {
				return nil, err
			}
			return r.RowsAffected()
		})
	}
	query("simple", "select 1, null, true, 'é'")
	query("types", "select * from people order by id limit 2")
	query("parameters", "select $1::int + 1, $2::text, $3::bytea, $4::int[]", 41, "o'b", []byte{0, 255}, pq.Array([]int{1, 2}))
	query("several", "select 1; select 2, 3")
	exec("several that fail", "insert into notes values (800, 1, 'x'); select 1/0")
	query("error", "select nothing")
	query("division", "select 1/$1::int", 0)
	query("wrong parameter", "select $1::int", "x")
	exec("insert", "insert into notes values ($1, 1, $2)", 801, nil)
	exec("duplicate", "insert into notes values ($1, 1, $2)", 801, "x")
	exec("delete", "delete from notes where id = 801")
	exec("empty", "")
	query("notice", "select app.loud('x')")
	Step("prepared", func() (any, error) {
		st, err := db.Prepare("select $1::int * 2")
		if err != nil {
			return nil, err
		}
		defer st.Close()
		var out []any
		for i := range 3 {
			v, err := all(st.Query(i))
			if err != nil {
				return out, err
			}
			out = append(out, v)
		}
		return out, nil
	})
	Step("a bad prepare", func() (any, error) {
		_, err := db.Prepare("select nothing where $1")
		return nil, err
	})
	Step("transaction", func() (any, error) {
		tx, err := db.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
		if err != nil {
			return nil, err
		}
		_, first := tx.Exec("insert into notes values (802, 1, 'x')")
		_, second := tx.Exec("select 1")
		return nil, errors.Join(first, second, tx.Commit())
	})
	Step("copy in", func() (any, error) {
		tx, err := db.Begin()
		if err != nil {
			return nil, err
		}
		defer tx.Rollback()
		if _, err := tx.Exec("create temp table c(a int, b text) on commit drop"); err != nil {
			return nil, err
		}
		st, err := tx.Prepare(pq.CopyIn("c", "a", "b"))
		if err != nil {
			return nil, err
		}
		for i := range 5000 {
			if _, err := st.Exec(i, "line"); err != nil {
				return nil, err
			}
		}
		if _, err := st.Exec(); err != nil {
			return nil, err
		}
		if err := st.Close(); err != nil {
			return nil, err
		}
		return all(tx.Query("select count(*), sum(a) from c"))
	})
	Step("copy in, bad data", func() (any, error) {
		tx, err := db.Begin()
		if err != nil {
			return nil, err
		}
		defer tx.Rollback()
		if _, err := tx.Exec("create temp table c(a int)"); err != nil {
			return nil, err
		}
		st, err := tx.Prepare(pq.CopyIn("c", "a"))
		if err != nil {
			return nil, err
		}
		_, err = st.Exec("x")
		_, end := st.Exec()
		return nil, errors.Join(err, end)
	})
	Step("deadline", func() (any, error) {
		limited, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		_, err := db.ExecContext(limited, "select pg_sleep(60)")
		return nil, err
	})
	query("after", "select 1")
	query("terminated", "select pg_terminate_backend(pg_backend_pid())")
	query("connected again", "select 1")
}

func all(rows *sql.Rows, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []any
	for more := true; more; more = rows.NextResultSet() {
		columns, err := rows.Columns()
		if err != nil {
			return out, err
		}
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				return out, err
			}
			for i, v := range values {
				if b, ok := v.([]byte); ok {
					values[i] = string(b)
				}
			}
			out = append(out, values)
		}
	}
	return out, rows.Err()
}

func listen() {
	l := pq.NewListener("", time.Second, time.Second, nil)
	defer l.Close()
	Step("listen", func() (any, error) { return nil, l.Listen("ch") })
	Step("notified", func() (any, error) {
		db, err := sql.Open("postgres", "")
		if err != nil {
			return nil, err
		}
		defer db.Close()
		if _, err := db.Exec("notify ch, 'payload'"); err != nil {
			return nil, err
		}
		select {
		case n := <-l.Notify:
			return []string{n.Channel, n.Extra}, nil
		case <-time.After(30 * time.Second):
			return nil, errors.New("nothing came")
		}
	})
	Step("ping", func() (any, error) { return nil, l.Ping() })
}
