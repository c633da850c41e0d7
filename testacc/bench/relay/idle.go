package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

// settle is how long sessions are idle before memory is read.
const settle = 30 * time.Second

// measureIdle opens sessions, has each run one statement and then nothing,
// and tells what the gateway's resident memory grew by for each.
func measureIdle(ctx context.Context, dir string, sessions int, docs string) error {
	db, err := startPostgres(ctx, dir)
	if err != nil {
		return err
	}
	defer db.stop()
	if err := db.fill(ctx, 0); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	fake := exec.CommandContext(ctx, "/proc/self/exe", "upstream", "-listen", address(port), "-postgres", address(db.port))
	fake.Stderr, fake.SysProcAttr = os.Stderr, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := fake.Start(); err != nil {
		return err
	}
	defer func() { _ = fake.Process.Kill(); _ = fake.Wait() }()
	if err := waitFor(ctx, port); err != nil {
		return err
	}
	text := "| | bar | measured |\n|---|---:|---:|\n"
	for _, withTLS := range []bool{false, true} {
		name, bar := "without TLS", 20
		if withTLS {
			name, bar = "with TLS", 45
		}
		kb, err := idleThrough(ctx, filepath.Join(dir, strings.ReplaceAll(name, " ", "-")), port, sessions, withTLS)
		if err != nil {
			return err
		}
		fmt.Printf("%d idle sessions %s: %.1f KB of resident memory each\n", sessions, name, kb)
		text += fmt.Sprintf("| %s | %d KB | %.1f KB |\n", name, bar, kb)
	}
	if docs == "" {
		return nil
	}
	return writeSection(docs, "idle", fmt.Sprintf(`## Memory of an idle session

%smake bench-idle%s: resident memory of the gateway's process, %d sessions that each ran a statement and then nothing for
%v, less what it was with one session. The server behind it is an imitation: 5,000 real ones do not fit everywhere.

`, "`", "`", sessions, settle)+text+"\nAn idle session has no goroutine, no stack and no buffer: what is left is what is known of it, its two\nsockets and, with TLS, their keys.\n")
}

// idleThrough returns KB a session.
func idleThrough(ctx context.Context, dir string, upstream, sessions int, withTLS bool) (float64, error) {
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	p := &proxy{name: "postern", port: port, log: &bytes.Buffer{}}
	if err := p.postern(dir, upstream, ""); err != nil {
		return 0, err
	}
	if err := p.start(ctx); err != nil {
		return 0, err
	}
	defer p.stop()
	first, err := idleSession(ctx, p, withTLS)
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, p.log)
	}
	defer first.Close(context.WithoutCancel(ctx))
	before, err := p.resident()
	if err != nil {
		return 0, err
	}
	conns := make([]*pgconn.PgConn, sessions)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Conn().Close()
			}
		}
	}()
	var group errgroup.Group
	group.SetLimit(16)
	for i := range conns {
		group.Go(func() (err error) {
			conns[i], err = idleSession(ctx, p, withTLS)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, p.log)
	}
	time.Sleep(settle)
	after, err := p.resident()
	return float64(after-before) / float64(sessions), err
}

func idleSession(ctx context.Context, p *proxy, withTLS bool) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=postgres sslmode=disable", p.port, role))
	if err != nil {
		return nil, err
	}
	config.Password = p.passwords[role]
	if withTLS {
		config.TLSConfig = &tls.Config{InsecureSkipVerify: true} // its memory is what matters
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "SELECT abalance FROM pgbench_accounts WHERE aid = 1").ReadAll()
	return conn, err
}

var residentRE = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)

// resident returns the KB of the process's resident memory.
func (p *proxy) resident() (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	m := residentRE.FindSubmatch(status)
	if m == nil {
		return 0, errors.New("/proc/PID/status has no VmRSS")
	}
	return strconv.Atoi(string(m[1]))
}

// runFakeUpstream imitates a PostgreSQL server of which every statement gives
// one row. The catalog's reader is passed on to a real one.
func runFakeUpstream(args []string) error {
	flags := flag.NewFlagSet("upstream", flag.ExitOnError)
	listen := flags.String("listen", "", "")
	real := flags.String("postgres", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_ = imitate(conn, *real) // ends when the client leaves
		}()
	}
}

func imitate(conn net.Conn, real string) error {
	backend := pgproto3.NewBackend(pgproto3.NewChunkReader(conn), conn)
	startup, err := backend.ReceiveStartupMessage()
	if err != nil {
		return err
	}
	start, ok := startup.(*pgproto3.StartupMessage)
	if !ok {
		return errors.New("neither TLS nor cancelling is imitated")
	}
	if start.Parameters["user"] != role {
		return passOn(conn, start, real)
	}
	send := func(messages ...pgproto3.BackendMessage) error {
		var b []byte
		for _, m := range messages {
			if b, err = m.Encode(b); err != nil {
				return err
			}
		}
		_, err := conn.Write(b)
		return err
	}
	status := func(name, value string) *pgproto3.ParameterStatus {
		return &pgproto3.ParameterStatus{Name: name, Value: value}
	}
	ready := &pgproto3.ReadyForQuery{TxStatus: 'I'}
	err = send(&pgproto3.AuthenticationOk{}, status("server_version", "15.0"), status("client_encoding", "UTF8"),
		status("standard_conforming_strings", "on"), status("is_superuser", "off"), status("session_authorization", role),
		&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: 1}, ready)
	for err == nil {
		var message pgproto3.FrontendMessage
		if message, err = backend.Receive(); err != nil {
			return err
		}
		query, ok := message.(*pgproto3.Query)
		if !ok {
			return fmt.Errorf("%T is not imitated", message)
		}
		const oidText, oidInt4 = 25, 23
		field := pgproto3.FieldDescription{Name: []byte("abalance"), DataTypeOID: oidInt4, DataTypeSize: 4, TypeModifier: -1}
		value := "0"
		switch {
		case strings.Contains(query.String, "current_schemas"):
			field, value = pgproto3.FieldDescription{Name: []byte("unnest"), DataTypeOID: oidText, DataTypeSize: -1, TypeModifier: -1}, "public"
		case strings.HasPrefix(query.String, "--"):
			err = send(&pgproto3.EmptyQueryResponse{}, ready)
			continue
		}
		err = send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{field}}, &pgproto3.DataRow{Values: [][]byte{[]byte(value)}},
			&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, ready)
	}
	return err
}

// passOn is a connection to a real server.
func passOn(conn net.Conn, start *pgproto3.StartupMessage, real string) error {
	server, err := net.Dial("tcp", real)
	if err != nil {
		return err
	}
	defer server.Close()
	packet, err := start.Encode(nil)
	if err != nil {
		return err
	}
	if _, err := server.Write(packet); err != nil {
		return err
	}
	go func() { _, _ = io.Copy(server, conn) }()
	_, err = io.Copy(conn, server)
	return err
}
