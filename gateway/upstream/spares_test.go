package upstream_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/policylang"
)

// spareBench keeps spares for a server.
type spareBench struct {
	*upstream.Spares
	t       *testing.T
	cluster *pgtest.Cluster
	target  *policylang.Upstream
	gauge   atomic.Int64
}

// TestSpares runs everything about spares against one server.
func TestSpares(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{HBA: []string{"host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"}})
	c.MustExec(t, "postgres", "create role ana login")
	c.MustExec(t, "postgres", "create role ben login password 'right'")
	c.MustExec(t, "postgres", "create database other")
	for name, run := range map[string]func(*testing.T, *pgtest.Cluster){
		"spare is made for a repeated login": spareIsMadeForARepeatedLogin,
		"spare is of one login":              spareIsOfOneLogin,
		"spare that ended":                   spareThatEnded,
		"spares are bounded":                 sparesAreBounded,
		"spare gives way":                    spareGivesWay,
		"no spares for":                      noSparesFor,
		"spares closed while making":         sparesClosedWhileMaking,
	} {
		t.Run(name, func(t *testing.T) { run(t, c) })
	}
}

func newSpareBench(t *testing.T, c *pgtest.Cluster, perLogin int) *spareBench {
	t.Helper()
	c.MustExec(t, "postgres", "alter role ana password 'right' connection limit -1")
	t.Setenv("POSTERN_TEST_PASSWORD", "right")
	b := &spareBench{t: t, cluster: c, target: &policylang.Upstream{Host: c.Host, Port: c.Port, TLS: "disable", Credentials: "env:POSTERN_TEST_PASSWORD"}}
	before := goleak.IgnoreCurrent()
	b.Spares = upstream.NewSpares(perLogin, slog.New(slog.DiscardHandler), func(n int) { b.gauge.Add(int64(n)) })
	b.SetLife(time.Minute) // the machine may be busy
	t.Cleanup(func() {
		b.Close()
		if n := b.gauge.Load(); n != 0 {
			t.Errorf("%d spares are counted after Close", n)
		}
		if err := leaktest.Find(before, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait")); err != nil {
			t.Error(err)
		}
	})
	return b
}

var asAna = upstream.Login{Role: "ana", Database: "postgres", Parameters: map[string]string{"application_name": "t"}}

// session is one session of a login: whether it was given a spare, and of which
// process of the server's. Its end leaves as many spares as wait then.
func (b *spareBench) session(owner string, login upstream.Login) (spare bool, pid uint32) {
	b.t.Helper()
	c, spare, restock, err := b.Dial(b.t.Context(), b.target, owner, login)
	if err != nil {
		b.t.Fatal(err)
	}
	restock()
	if c.Parameters["session_authorization"] != login.Role || c.Parameters["application_name"] != login.Parameters["application_name"] {
		b.t.Errorf("the connection is of %v", c.Parameters)
	}
	if got := b.query(c, "select current_user || ' ' || current_database()"); !strings.Contains(got, login.Role+" "+login.Database) {
		b.t.Errorf("the connection answers %q", got)
	}
	pid = c.PID()
	_ = c.Close()
	b.settle()
	return spare, pid
}

// query sends a simple query, and returns what comes up to ReadyForQuery.
func (b *spareBench) query(c *upstream.Conn, sql string) string {
	b.t.Helper()
	message := append([]byte{'Q', 0, 0, 0, byte(5 + len(sql))}, sql+"\x00"...)
	if _, err := c.Write(message); err != nil {
		b.t.Fatal(err)
	}
	var got []byte
	for !strings.HasSuffix(string(got), "Z\x00\x00\x00\x05I") {
		buf := make([]byte, 1024)
		n, err := c.Read(buf)
		if err != nil {
			b.t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, buf[:n]...)
	}
	return string(got)
}

// settle waits until no spare is being made.
func (b *spareBench) settle() {
	b.t.Helper()
	b.until("no spare is being made", func() bool { _, making := b.Waiting(); return making == 0 })
}

func (b *spareBench) until(what string, ok func() bool) {
	b.t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatalf("it never came that %s", what)
}

func (b *spareBench) wantWaiting(want int) {
	b.t.Helper()
	if n, _ := b.Waiting(); n != want || b.gauge.Load() != int64(want) {
		b.t.Errorf("%d spares wait, %d are counted, want %d", n, b.gauge.Load(), want)
	}
}

// spareIsMadeForARepeatedLogin: one login makes none; from the second on one
// waits for the next, and none is given twice.
func spareIsMadeForARepeatedLogin(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	b := newSpareBench(t, c, 1)
	seen := map[uint32]bool{}
	for i := range 5 {
		spare, pid := b.session("ana", asAna)
		if want := i >= 2; spare != want {
			t.Errorf("session %d was given a spare: %v, want %v", i, spare, want)
		}
		if seen[pid] {
			t.Errorf("session %d was given the connection of another", i)
		}
		seen[pid] = true
		b.wantWaiting(min(i, 1))
	}
}

// spareIsOfOneLogin: whatever is different, the spare is not given.
func spareIsOfOneLogin(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	b := newSpareBench(t, c, 1)
	with := func(change func(*upstream.Login)) upstream.Login {
		l := asAna
		l.Parameters = map[string]string{"application_name": "t"}
		change(&l)
		return l
	}
	b.session("ana", asAna)
	b.session("ana", asAna)
	b.wantWaiting(1)
	for name, try := range map[string]struct {
		owner string
		login upstream.Login
	}{
		"owner":           {"ben", asAna},
		"role":            {"ana", with(func(l *upstream.Login) { l.Role = "ben" })},
		"database":        {"ana", with(func(l *upstream.Login) { l.Database = "other" })},
		"parameter":       {"ana", with(func(l *upstream.Login) { l.Parameters["application_name"] = "u" })},
		"parameter added": {"ana", with(func(l *upstream.Login) { l.Parameters["search_path"] = "pg_catalog" })},
	} {
		if spare, _ := b.session(try.owner, try.login); spare {
			t.Errorf("a spare was given to a login of another %s", name)
		}
	}
	other := *b.target
	other.SessionTable = true
	if c, spare, _, err := b.Dial(t.Context(), &other, "ana", asAna); err != nil || spare {
		t.Errorf("another upstream: spare %v, error %v", spare, err)
	} else {
		_ = c.Close()
	}
	b.cluster.MustExec(t, "postgres", "alter role ana password 'new'")
	t.Setenv("POSTERN_TEST_PASSWORD", "new")
	if spare, _ := b.session("ana", asAna); spare {
		t.Error("a spare was given to a login by another password")
	}
	t.Setenv("POSTERN_TEST_PASSWORD", "right")
	if spare, _ := b.session("ana", with(func(*upstream.Login) {})); !spare {
		t.Error("the spare was not given to the login that it is for")
	}
}

// spareThatEnded is replaced: the server closed it, or was restarted.
func spareThatEnded(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	b := newSpareBench(t, c, 1)
	for name, end := range map[string]func(){
		"terminated": func() {
			b.cluster.MustExec(t, "postgres", "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'ana'")
		},
		"restarted": func() {
			b.cluster.Kill()
			if err := b.cluster.Restart(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		b.session("ana", asAna)
		b.session("ana", asAna)
		b.wantWaiting(1)
		end()
		b.until("the spare is gone: "+name, func() bool { n, _ := b.Waiting(); return n == 0 })
		if spare, _ := b.session("ana", asAna); spare {
			t.Errorf("%s: a spare that had ended was given", name)
		}
		b.Drop()
	}
}

// sparesAreBounded: many logins at once leave no more than there may be, and
// those that nobody takes are closed.
func sparesAreBounded(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	b := newSpareBench(t, c, 2)
	var all []func()
	for range 5 {
		c, _, restock, err := b.Dial(t.Context(), b.target, "ana", asAna)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, restock)
	}
	for _, restock := range all {
		restock()
	}
	b.settle()
	b.wantWaiting(2)
	if n := b.Drop(); n != 2 {
		t.Errorf("dropped %d spares, want 2", n)
	}
	b.session("ana", asAna)
	b.wantWaiting(1) // one at a time needs no more than one
	b.Drop()
	b.SetLife(300 * time.Millisecond)
	for n := 0; n == 0; n, _ = b.Waiting() { // until two logins follow each other so soon
		b.session("ana", asAna)
	}
	b.until("spares that nobody takes are closed", func() bool { n, _ := b.Waiting(); return n == 0 && b.gauge.Load() == 0 })
	b.until("the server has no sessions but those that are open", func() bool {
		return b.cluster.Exec(t.Context(), "postgres", "select 1 / (count(*) = 5)::int from pg_stat_activity where usename = 'ana'") == nil
	})
}

// spareGivesWay: a role that may have as many connections as its session and
// a spare has place for another login.
func spareGivesWay(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	b := newSpareBench(t, c, 1)
	b.cluster.MustExec(t, "postgres", "alter role ana connection limit 2")
	b.session("ana", asAna)
	b.session("ana", asAna)
	b.wantWaiting(1)
	for i := range 2 {
		other := asAna
		other.Parameters = map[string]string{"application_name": fmt.Sprint(i)}
		c, spare, _, err := b.Dial(t.Context(), b.target, "ana", other)
		if err != nil || spare {
			t.Fatalf("session %d: spare %v, error %v", i, spare, err)
		}
		defer c.Close()
		b.wantWaiting(1 - i)
	}
}

// noSparesFor logins that have something of their own.
func noSparesFor(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	b := newSpareBench(t, c, 1)
	for range 3 {
		b.session("ana", asAna)
	}
	for name, change := range map[string]func(*policylang.Upstream){
		"certificate": func(u *policylang.Upstream) { u.Login = policylang.LoginCertificate },
		"vault":       func(u *policylang.Upstream) { u.Credentials = "vault:database/creds/{role}" },
	} {
		target := *b.target
		change(&target)
		for range 3 {
			c, spare, restock, err := b.Dial(t.Context(), &target, name, asAna)
			restock()
			if err == nil {
				_ = c.Close()
			}
			if spare {
				t.Errorf("%s: a spare was given", name)
			}
		}
	}
	b.settle()
	b.wantWaiting(1) // the one before
	var none *upstream.Spares
	conn, spare, restock, err := none.Dial(t.Context(), b.target, "ana", asAna)
	if err != nil || spare {
		t.Fatalf("without spares: %v, %v", spare, err)
	}
	restock()
	none.Drop()
	none.Close()
	_ = conn.Close()
}

// sparesClosedWhileMaking leaves nothing behind.
func sparesClosedWhileMaking(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	b := newSpareBench(t, c, 4)
	for i := range 6 {
		c, _, restock, err := b.Dial(t.Context(), b.target, fmt.Sprint(i%2), asAna)
		if err != nil {
			t.Fatal(err)
		}
		restock()
		_ = c.Close()
	}
	b.Close()
	if n, making := b.Waiting(); n != 0 || making != 0 {
		t.Errorf("%d spares wait, %d are being made", n, making)
	}
	_, _, restock, err := b.Dial(t.Context(), b.target, "0", asAna)
	if err != nil {
		t.Fatal(err)
	}
	restock()
	b.wantWaiting(0)
}
