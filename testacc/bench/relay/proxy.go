package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// proxyNames are what can be measured, in the order of the report.
var proxyNames = []string{"direct", "pgbouncer", "haproxy", "gorelay", "postern"}

// proxy is something that clients connect to.
type proxy struct {
	name      string
	port      int
	passwords map[string]string // by role
	cmd       *exec.Cmd         // nil: PostgreSQL itself
	log       *bytes.Buffer
}

func startProxy(ctx context.Context, name, dir string, db *postgres, profile string) (*proxy, error) {
	if name == "direct" {
		return &proxy{name: name, port: db.port}, nil
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &proxy{name: name, port: port, log: &bytes.Buffer{}}
	switch name {
	case "pgbouncer":
		err = p.pgbouncer(dir, db)
	case "haproxy":
		err = p.haproxy(dir, db)
	case "gorelay":
		p.cmd = exec.Command("/proc/self/exe", "gorelay", "-listen", address(port), "-upstream", address(db.port))
	case "postern":
		err = p.postern(filepath.Join(dir, "gateway"), db.port, profile)
	}
	if err != nil {
		return nil, err
	}
	return p, p.start(ctx)
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

func (p *proxy) start(ctx context.Context) error {
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	if err := waitFor(ctx, p.port); err != nil {
		return fmt.Errorf("%w\n%s", err, p.log)
	}
	return nil
}

func (p *proxy) stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-done
	}
}

func (p *proxy) pgbouncer(dir string, db *postgres) error {
	bin, err := lookPath("pgbouncer", "/usr/sbin/pgbouncer")
	if err != nil {
		return err
	}
	attr, err := asPostgres()
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
postgres = host=127.0.0.1 port=%d dbname=postgres user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = session
max_client_conn = 200
default_pool_size = 100
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
stats_period = 3600
`, db.port, role, p.port)
	p.cmd = exec.Command(bin, config)
	p.cmd.SysProcAttr = attr
	return os.WriteFile(config, []byte(text), 0o644)
}

func (p *proxy) haproxy(dir string, db *postgres) error {
	bin, err := lookPath("haproxy", "/usr/sbin/haproxy")
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf(`global
  maxconn 1000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen pg
  bind 127.0.0.1:%d
  server db 127.0.0.1:%d
`, p.port, db.port)
	p.cmd = exec.Command(bin, "-db", "-f", config)
	return os.WriteFile(config, []byte(text), 0o644)
}

func lookPath(name, debian string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if _, err := os.Stat(debian); err == nil {
		return debian, nil
	}
	return "", fmt.Errorf("%s is not installed: on Debian, as root, apt-get install %s", name, name)
}

// cpu returns the CPU time that the proxy's process has used, all threads, in
// user and kernel mode.
func (p *proxy) cpu() (time.Duration, error) {
	if p.cmd == nil {
		return 0, nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(stat), ") ") // the command's name is in parentheses
	fields := strings.Fields(rest)
	const utime, stime = 11, 12
	if !ok || len(fields) <= stime {
		return 0, errors.New("/proc/PID/stat is not as proc(5) says")
	}
	user, err1 := strconv.Atoi(fields[utime])
	kernel, err2 := strconv.Atoi(fields[stime])
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every platform of Linux that Debian has
	return time.Duration(user+kernel) * tick, errors.Join(err1, err2)
}
