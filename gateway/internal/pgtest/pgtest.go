// Package pgtest runs throwaway PostgreSQL servers for tests, benchmarks and
// the demo: a cluster in a temporary directory, on loopback and a free port,
// that is gone when it is stopped.
//
// Most tests call [New]. PostgreSQL refuses to run as root; when the caller is
// root the server runs as the user postgres.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway/internal/freeport"
)

// Options says how a cluster is made. The zero Options is a cluster of the
// newest PostgreSQL that the system has, with trust authentication on loopback.
type Options struct {
	Version  int               // 15 or 18, if BinDir is empty; see [BinDirOf]
	BinDir   string            // holds initdb and postgres; found if empty
	Dir      string            // parent of the cluster's directory; os.TempDir if empty
	Settings map[string]string // postgresql.conf
	HBA      []string          // lines of pg_hba.conf in place of trust
	Env      []string          // added to the server's environment, as LD_LIBRARY_PATH
}

// Cluster is a running PostgreSQL server. Its superuser is postgres.
type Cluster struct {
	Host   string
	Port   int
	Dir    string // the data directory
	BinDir string

	cmd      *exec.Cmd
	exited   chan struct{}
	opts     Options
	ownedDir string
}

// New starts a cluster that is stopped when the test ends.
func New(tb testing.TB, opts ...Options) *Cluster {
	tb.Helper()
	var o Options
	if len(opts) > 0 {
		o = opts[0]
	}
	c, err := Start(o)
	if err != nil {
		tb.Fatalf("start PostgreSQL: %v", err)
	}
	tb.Cleanup(c.Stop)
	return c
}

// Start makes and starts a cluster. The caller stops it.
func Start(o Options) (*Cluster, error) {
	if o.BinDir == "" {
		dir, err := BinDirOf(o.Version)
		if err != nil {
			return nil, err
		}
		o.BinDir = dir
	}
	owned, err := os.MkdirTemp(o.Dir, "pgtest-")
	if err != nil {
		return nil, fmt.Errorf("make the cluster's directory: %w", err)
	}
	c := &Cluster{Host: "127.0.0.1", BinDir: o.BinDir, opts: o, ownedDir: owned, Dir: filepath.Join(owned, "data")}
	if err := c.initialise(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(owned))
	}
	if err := c.start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(owned))
	}
	return c, nil
}

// FindBinDir returns the directory of the newest PostgreSQL server found on
// PATH or in /usr/lib/postgresql.
func FindBinDir() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(dirs) == 0 {
		return "", errors.New("no PostgreSQL server found on PATH or in /usr/lib/postgresql; install it (on Debian: apt-get install postgresql)")
	}
	slices.SortFunc(dirs, func(a, b string) int { return majorOf(a) - majorOf(b) })
	return filepath.Dir(dirs[len(dirs)-1]), nil
}

func majorOf(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

func (c *Cluster) initialise() error {
	credential, uid, gid, err := serverUser()
	if err != nil {
		return err
	}
	if credential != nil {
		if err := os.Chown(c.ownedDir, uid, gid); err != nil {
			return fmt.Errorf("give the cluster's directory to postgres: %w", err)
		}
	}
	cmd := exec.Command(filepath.Join(c.BinDir, "initdb"), "-D", c.Dir, "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync")
	c.prepare(cmd, credential)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w\n%s", err, out)
	}
	if len(c.opts.HBA) > 0 {
		return c.WriteFile("pg_hba.conf", strings.Join(c.opts.HBA, "\n")+"\n")
	}
	return nil
}

// WriteFile writes a file into the data directory, readable by the server.
func (c *Cluster) WriteFile(name, content string) error {
	credential, uid, gid, err := serverUser()
	if err != nil {
		return err
	}
	path := filepath.Join(c.Dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if credential != nil {
		return os.Chown(path, uid, gid)
	}
	return nil
}

func (c *Cluster) start() error {
	for range 5 { // a free port may be taken between the look and the listen
		port, err := freeport.Find()
		if err != nil {
			return err
		}
		c.Port = port
		if taken, err := c.run(); err == nil || !taken {
			return err
		}
	}
	return errors.New("no free port found for PostgreSQL")
}

// Restart starts the server again on the same port, after [Cluster.Kill] or
// [Cluster.Shutdown], and waits until it answers. Somebody's connection may have
// been given the port meanwhile: then it waits until that is over.
func (c *Cluster) Restart() error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if taken, err := c.run(); err == nil || !taken || time.Now().After(deadline) {
			return err
		}
	}
}

// run starts the server and waits until it answers. If it does not, it says
// whether that is because its port is taken.
func (c *Cluster) run() (taken bool, err error) {
	before := len(c.log())
	if err := c.launch(); err != nil {
		return false, err
	}
	if err := c.await(); err != nil {
		said := c.log()[before:]
		return strings.Contains(said, "Address already in use"), fmt.Errorf("%w\n%s", err, said)
	}
	return false, nil
}

// launch starts the server.
func (c *Cluster) launch() error {
	credential, _, _, err := serverUser()
	if err != nil {
		return err
	}
	settings := map[string]string{
		"listen_addresses": c.Host, "port": strconv.Itoa(c.Port), "unix_socket_directories": c.ownedDir,
		"fsync": "off", "shared_buffers": "32MB", "max_connections": "200", "logging_collector": "off",
		"log_min_messages": "warning",
	}
	for k, v := range c.opts.Settings {
		settings[k] = v
	}
	args := []string{"-D", c.Dir}
	for k, v := range settings {
		args = append(args, "-c", k+"="+v)
	}
	cmd := exec.Command(filepath.Join(c.BinDir, "postgres"), args...)
	c.prepare(cmd, credential)
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	log, err := os.OpenFile(c.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the server's log: %w", err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	c.cmd, c.exited = cmd, exited
	return nil
}

func (c *Cluster) await() error {
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		select {
		case <-c.exited:
			return errors.New("start postgres: the server exited")
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		answers := c.answers(ctx)
		cancel()
		if answers {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.signal(syscall.SIGQUIT)
	return errors.New("start postgres: the server did not answer within a minute")
}

// answers reports whether this server answers, and not another on its port.
func (c *Cluster) answers(ctx context.Context) bool {
	conn, err := pgx.Connect(ctx, c.URL("postgres", "postgres"))
	if err != nil {
		return false
	}
	defer conn.Close(ctx)
	var dir string
	err = conn.QueryRow(ctx, "SHOW data_directory").Scan(&dir)
	return err == nil && dir == c.Dir
}

// URL returns the connection URL of a database for a role, without TLS.
func (c *Cluster) URL(database, role string) string {
	return fmt.Sprintf("postgres://%s@%s:%d/%s?sslmode=disable", role, c.Host, c.Port, database)
}

// LogFile returns the path of the server's log.
func (c *Cluster) LogFile() string { return filepath.Join(c.ownedDir, "server.log") }

func (c *Cluster) log() string {
	data, _ := os.ReadFile(c.LogFile())
	return string(data)
}

// Exec runs SQL (several statements are fine) as the superuser.
func (c *Cluster) Exec(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, c.URL(database, "postgres"))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", database, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// MustExec is [Cluster.Exec] for tests.
func (c *Cluster) MustExec(tb testing.TB, database, sql string) {
	tb.Helper()
	if err := c.Exec(tb.Context(), database, sql); err != nil {
		tb.Fatalf("set up %s: %v", database, err)
	}
}

// Stop ends the server at once and removes its files.
func (c *Cluster) Stop() {
	c.Kill()
	_ = os.RemoveAll(c.ownedDir)
}

// Kill ends the server as a crash would, keeping its files.
func (c *Cluster) Kill() {
	c.signal(syscall.SIGQUIT)
	<-c.exited
}

// Shutdown ends the server as an administrator would (fast shutdown).
func (c *Cluster) Shutdown() {
	c.signal(syscall.SIGINT)
	<-c.exited
}

func (c *Cluster) signal(s syscall.Signal) {
	if c.cmd != nil && c.cmd.Process != nil {
		_ = c.cmd.Process.Signal(s)
	}
}

func (c *Cluster) prepare(cmd *exec.Cmd, credential *syscall.Credential) {
	cmd.Dir = c.ownedDir
	cmd.Env = append(os.Environ(), c.opts.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Setpgid: true}
}

// serverUser returns the credential to run the server with: nil unless the
// caller is root.
func serverUser() (credential *syscall.Credential, uid, gid int, err error) {
	if os.Geteuid() != 0 {
		return nil, 0, 0, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, 0, 0, fmt.Errorf("PostgreSQL refuses to run as root and there is no user postgres: %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return nil, 0, 0, fmt.Errorf("read the user postgres: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, uid, gid, nil
}
