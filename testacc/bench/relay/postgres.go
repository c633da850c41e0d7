package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Everything connects as role, from whom nothing is masked, or, where masking is
// measured, as maskedRole.
const (
	role       = "bench"
	maskedRole = "masked"
)

// postgres is a cluster of its own, which forgets all when it stops.
type postgres struct {
	port int
	cmd  *exec.Cmd
}

// startPostgres makes a cluster on a free port of loopback, with trust
// authentication.
func startPostgres(ctx context.Context, dir string) (*postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	attr, err := asPostgres()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	if c := attr.Credential; c != nil {
		if err := os.Chown(data, int(c.Uid), int(c.Gid)); err != nil {
			return nil, err
		}
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, data
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	p := &postgres{}
	if p.port, err = freePort(); err != nil {
		return nil, err
	}
	p.cmd = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(p.port), "-h", "127.0.0.1", "-k", data,
		"-c", "fsync=off", "-c", "shared_buffers=1GB", "-c", "max_connections=200", "-c", "autovacuum=off", "-c", "max_wal_size=8GB", "-c", "log_min_messages=error")
	p.cmd.SysProcAttr, p.cmd.Dir = attr, data
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return p, p.await(ctx)
}

// await waits until the server answers.
func (p *postgres) await(ctx context.Context) error {
	deadline := time.Now().Add(60 * time.Second)
	for {
		err := p.exec(ctx, "SELECT 1")
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (p *postgres) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	_ = p.cmd.Wait() // it was told to
}

// fill makes the tables that the workloads read: pgbench's, one of 200
// columns, and one for streams of which the policy masks two columns.
func (p *postgres) fill(ctx context.Context, streamMB int64) error {
	const wideColumns = 200
	var wide strings.Builder
	for i := range wideColumns {
		fmt.Fprintf(&wide, ", %d + id AS c%d", i, i)
	}
	for _, sql := range []string{
		"CREATE ROLE bench LOGIN", "CREATE ROLE masked LOGIN", "CREATE ROLE postern LOGIN",
		"CREATE TABLE wide AS SELECT id" + wide.String() + " FROM generate_series(1, 1000) id", "ALTER TABLE wide ADD PRIMARY KEY (id)",
		// A row is about 250 bytes on the wire.
		fmt.Sprintf(`CREATE TABLE stream AS SELECT id, 'name ' || id AS name, 'user' || id || '@example.com' AS email,
			lpad((id::bigint * 7919)::text, 16, '4') AS card, repeat('x', 170) AS body FROM generate_series(1, %d) id`, streamMB<<20/250),
		"CREATE TABLE masked AS SELECT * FROM stream", "ANALYZE",
	} {
		if err := p.exec(ctx, sql); err != nil {
			return err
		}
	}
	bench := exec.CommandContext(ctx, "pgbench", "-i", "-q", "-s", "10", "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", "postgres", "postgres")
	if out, err := bench.CombinedOutput(); err != nil {
		return fmt.Errorf("pgbench -i: %w\n%s", err, out)
	}
	for _, sql := range []string{"GRANT ALL ON ALL TABLES IN SCHEMA public TO bench, masked", "CHECKPOINT"} {
		if err := p.exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

func (p *postgres) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", p.port))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err = conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("fill the database: %w", err)
	}
	return nil
}

// postgresBin finds the newest server.
func postgresBin() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errors.New("no PostgreSQL server was found: make setup-tests installs it")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// asPostgres says how to start what refuses to run as root.
func asPostgres() (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL and pgbouncer refuse to run as root, and there is no user postgres: %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, errors.Join(err1, err2)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}

// waitFor waits until something listens on a port of loopback.
func waitFor(ctx context.Context, port int) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("nothing answers on port %d: %w", port, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
