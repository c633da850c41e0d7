package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// NewStandby starts a standby of a cluster that streams from it, and makes it
// the one whose confirmation the cluster's commits wait for. It listens on the
// port that is given, as of a cluster that was killed, or else on a free one. It
// is stopped when the test ends.
func NewStandby(tb testing.TB, primary *Cluster, port ...int) *Cluster {
	tb.Helper()
	s, err := primary.standby(port...)
	if err != nil {
		tb.Fatalf("start a standby: %v", err)
	}
	tb.Cleanup(s.Stop)
	if err := primary.awaitStandby(tb.Context()); err != nil {
		tb.Fatalf("make the standby synchronous: %v", err)
	}
	return s
}

func (c *Cluster) standby(port ...int) (*Cluster, error) {
	credential, uid, gid, err := serverUser()
	if err != nil {
		return nil, err
	}
	owned, err := os.MkdirTemp(c.opts.Dir, "pgtest-")
	if err != nil {
		return nil, fmt.Errorf("make the standby's directory: %w", err)
	}
	s := &Cluster{Host: c.Host, BinDir: c.BinDir, opts: c.opts, ownedDir: owned, Dir: filepath.Join(owned, "data")}
	if credential != nil {
		if err := os.Chown(owned, uid, gid); err != nil {
			return nil, errors.Join(err, os.RemoveAll(owned))
		}
	}
	tool, err := c.baseBackup()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(owned))
	}
	cmd := exec.Command(tool, "-D", s.Dir, "-d", c.URL("postgres", "postgres"), "-X", "stream", "-c", "fast", "-R", "--no-sync")
	s.prepare(cmd, credential)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("run pg_basebackup: %w\n%s", err, out), os.RemoveAll(owned))
	}
	// What the primary was told to wait for is not the standby's to wait for
	// when it takes over.
	if err := s.WriteFile("postgresql.auto.conf", s.followOnly()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(owned))
	}
	if len(port) > 0 {
		s.Port = port[0]
		err = s.Restart()
	} else {
		err = s.start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(owned))
	}
	return s, nil
}

// baseBackup finds pg_basebackup: beside the server, where links in a directory
// such as /usr/local/bin lead to, or on PATH.
func (c *Cluster) baseBackup() (string, error) {
	const name = "pg_basebackup"
	dirs := []string{c.BinDir}
	if server, err := filepath.EvalSymlinks(filepath.Join(c.BinDir, "postgres")); err == nil {
		dirs = append(dirs, filepath.Dir(server))
	}
	for _, dir := range dirs {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return exec.LookPath(name)
}

// followOnly is what pg_basebackup has written, without the primary's own
// settings.
func (c *Cluster) followOnly() string {
	data, _ := os.ReadFile(filepath.Join(c.Dir, "postgresql.auto.conf"))
	return string(data) + "synchronous_standby_names = ''\n"
}

// awaitStandby has commits wait for the standby, from now on.
func (c *Cluster) awaitStandby(ctx context.Context) error {
	if err := c.Exec(ctx, "postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'"); err != nil {
		return err
	}
	if err := c.Exec(ctx, "postgres", "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	const check = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync') THEN RAISE 'no synchronous standby'; END IF; END $$"
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = c.Exec(ctx, "postgres", check); err == nil {
			return nil
		}
	}
	return err
}

// Promote makes a standby a primary and returns when it takes writes.
func (c *Cluster) Promote(ctx context.Context) error {
	return c.Exec(ctx, "postgres", "SELECT pg_promote(true, 60)")
}
