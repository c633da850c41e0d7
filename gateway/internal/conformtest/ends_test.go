package conformtest

import (
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

var (
	watchTime       = regexp.MustCompile(`\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4}`)
	pgbenchProgress = regexp.MustCompile(`(?m)^done in .*\n|^.*tuples \(.*\n|\r`)
	pgbenchNumbers  = regexp.MustCompile(`(latency average = |latency stddev = |tps = |initial connection time = |average connection time = )[\d.]+`)
	restrictKey     = regexp.MustCompile(`(\\(?:un)?restrict) \w+`)
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// endChecks end sessions from the server's side. They are last: some stop the
// server.
func endChecks() []check {
	end := func(name string, stop func(t *testing.T, g *target), after func(t *testing.T, g *target)) check {
		return check{client: "psql", name: name, run: func(t *testing.T, g *target) string {
			t.Helper()
			out := g.runWith(t, func(*exec.Cmd) {
				g.awaitQuery(t, "pg_sleep(61")
				stop(t, g)
			}, "psql", "-X", "-c", "select pg_sleep(61)", "-c", "select 1")
			if after != nil {
				after(t, g)
			}
			return out
		}}
	}
	restart := func(t *testing.T, g *target) {
		t.Helper()
		if err := g.cluster.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	return []check{
		end("pg_terminate_backend", func(t *testing.T, g *target) {
			t.Helper()
			g.cluster.MustExec(t, "postgres", "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(61%' and pid <> pg_backend_pid()")
		}, nil),
		end("pg_cancel_backend", func(t *testing.T, g *target) {
			t.Helper()
			g.cluster.MustExec(t, "postgres", "select pg_cancel_backend(pid) from pg_stat_activity where query like '%pg_sleep(61%' and pid <> pg_backend_pid()")
		}, nil),
		end("the server stops (fast)", func(t *testing.T, g *target) { t.Helper(); g.cluster.Shutdown() }, restart),
		end("the server stops (immediate)", func(t *testing.T, g *target) { t.Helper(); g.cluster.Kill() }, restart),
	}
}
