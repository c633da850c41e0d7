package conformtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// allChecks returns the programs, by client.
func allChecks() []check {
	var all []check
	scripts, _ := filepath.Glob(filepath.Join(programs, "psql", "*.sql"))
	for _, script := range scripts {
		all = append(all, check{client: "psql", name: strings.TrimSuffix(filepath.Base(script), ".sql"), run: func(t *testing.T, g *target) string {
			t.Helper()
			return g.run(t, "psql", "-X", "-a", "-v", "dir="+g.dir, "-f", abs(t, script))
		}})
	}
	all = append(all, psqlChecks()...)
	all = append(all, pgbenchChecks()...)
	all = append(all, dumpCheck(), copyCheck())
	all = append(all, driverChecks()...)
	return append(all, endChecks()...)
}

func psqlChecks() []check {
	psql := func(name string, args ...string) check {
		return check{client: "psql", name: name, run: func(t *testing.T, g *target) string {
			t.Helper()
			return g.run(t, append([]string{"psql", "-X"}, args...)...)
		}}
	}
	return []check{
		psql("several statements in one -c", "-c", "select 1; select 2; create table t1(a int); insert into t1 values (1),(2); select * from t1"),
		psql("an error in the middle of a -c", "-c", "select 1; select 1/0; select 2", "-c", "select 3"),
		psql("a transaction left by -c", "-c", "begin; select 1", "-c", "select 2; commit"),
		psql("single transaction", "-1", "-c", "create table t1(a int)", "-c", "insert into t1 values (1) returning a", "-c", "select count(*) from t1"),
		psql("single transaction that fails", "-1", "-v", "ON_ERROR_STOP=1", "-c", "create table t1(a int)", "-c", "select 1/0", "-c", "select 2"),
		psql("list databases", "-l"),
		psql("an unknown database", "-d", "nowhere", "-c", "select 1"),
		psql("every meta-command's query", "-E", "-c", `\d`, "-c", `\d people`, "-c", `\df`, "-c", `\dn+`, "-c", `\du`),
		{client: "psql", name: "Ctrl-C", run: func(t *testing.T, g *target) string {
			t.Helper()
			return g.runWith(t, func(cmd *exec.Cmd) {
				g.awaitQuery(t, "pg_sleep(60")
				_ = cmd.Process.Signal(syscall.SIGINT)
			}, "psql", "-X", "-c", "select pg_sleep(60)", "-c", "select 1")
		}},
		{client: "psql", name: `\watch`, run: func(t *testing.T, g *target) string {
			t.Helper()
			script := filepath.Join(g.dir, "watch.sql")
			write(t, script, "create sequence s;\nselect 1/(4 - nextval('s')) \\watch 0.05\nselect 'after';\n")
			return watchTime.ReplaceAllString(g.run(t, "psql", "-X", "-f", script), "TIME")
		}},
	}
}

// awaitQuery waits until the server runs a query that holds the text.
func (g *target) awaitQuery(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		out, _ := exec.Command("psql", "-X", "-At", "-d", g.cluster.URL("postgres", "postgres"), "-c",
			"select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like '%"+text+"%'").Output()
		if n := strings.TrimSpace(string(out)); n != "0" && n != "" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the server never ran %s", text)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func pgbenchChecks() []check {
	var all []check
	bench := func(name string, script string, args ...string) {
		all = append(all, check{client: "pgbench", name: name, run: func(t *testing.T, g *target) string {
			t.Helper()
			if script != "" {
				write(t, filepath.Join(g.dir, "script.sql"), script)
			}
			transactions := "10"
			if *long {
				transactions = "1000"
			}
			command := append([]string{"pgbench", "-n", "-c", "3", "-j", "2", "-t", transactions, "--random-seed=1"}, args...)
			if script != "" {
				command = append(command, "-f", "script.sql")
			}
			out := g.run(t, command...)
			return inOrder(pgbenchNumbers.ReplaceAllString(out, "$1N")) +
				g.run(t, "psql", "-X", "-At", "-c", "select count(*) from pgbench_history", "-c", "select sum(abalance) = (select sum(bbalance) from pgbench_branches) from pgbench_accounts")
		}})
	}
	all = append(all, check{client: "pgbench", name: "initialise", run: func(t *testing.T, g *target) string {
		t.Helper()
		return pgbenchProgress.ReplaceAllString(g.run(t, "pgbench", "-i", "-q", "-s", "1", "--foreign-keys"), "")
	}})
	for _, mode := range []string{"simple", "extended", "prepared"} {
		bench("TPC-B, "+mode, "", "-M", mode)
		bench("select only, "+mode, "", "-S", "-M", mode)
	}
	const pipeline = `\set a random(1, 100000)
\startpipeline
select abalance from pgbench_accounts where aid = :a;
update pgbench_branches set filler = 'x' where bid = 1;
select 1;
\endpipeline
`
	bench("pipeline, extended", pipeline, "-M", "extended")
	bench("pipeline, prepared", pipeline, "-M", "prepared")
	// Three clients would say so in one another's middle.
	bench("pipeline with an error", "\\startpipeline\nselect 1;\nselect 1/0;\nselect 2;\n\\endpipeline\n", "-M", "extended", "-c", "1", "-j", "1")
	bench("one connection a transaction", "", "-S", "-C", "-M", "simple")
	return all
}

// inOrder sorts the lines in which pgbench's clients, of which none waits for
// another, say how they ended.
func inOrder(out string) string {
	found := clientEnded.FindAllString(out, -1)
	slices.Sort(found)
	return clientEnded.ReplaceAllStringFunc(out, func(string) string {
		first := found[0]
		found = found[1:]
		return first
	})
}

var clientEnded = regexp.MustCompile(`(?m)^pgbench: error: client \d+ .*$`)

func dumpCheck() check {
	return check{client: "pg_dump", name: "dump, restore and dump again", run: func(t *testing.T, g *target) string {
		t.Helper()
		if g.version > 15 { // Debian's pg_dump refuses servers that are newer than itself
			return "dumped by its own version only: " + g.run(t, "pg_dump", "--schema-only")
		}
		out := g.run(t, "pg_dump", "-Fc", "--large-objects", "-f", filepath.Join(g.dir, "dump"))
		out += g.run(t, "psql", "-X", "-d", "postgres", "-c", "drop database if exists conform_restored with (force)", "-c", "create database conform_restored")
		out += g.run(t, "pg_restore", "-d", "conform_restored", filepath.Join(g.dir, "dump"))
		out += g.run(t, "pg_dump", "-d", "conform_restored", "--large-objects")
		out += g.run(t, "pg_dump", "--inserts", "--rows-per-insert=3")
		out += g.run(t, "pg_dump", "-Fd", "-j", "2", "-f", filepath.Join(g.dir, "parallel"))
		out += g.run(t, "psql", "-X", "-d", "postgres", "-c", "drop database conform_restored with (force)")
		return restrictKey.ReplaceAllString(out, "$1 KEY")
	}}
}

// copyCheck moves the same rows out and in again in each format.
func copyCheck() check {
	return check{client: "COPY", name: "text, csv and binary, both ways", run: func(t *testing.T, g *target) string {
		t.Helper()
		size := *copySize
		if size == 0 {
			size = 4 << 20
			if *long {
				size = 1 << 30
			}
		}
		const row = 1 << 10
		rows := size / row
		out := "size " + readable(size) + "\n"
		query := "select g, repeat(md5(g::text), 30), case when g % 7 = 0 then null else g::numeric / 3 end, E'tab\\there' from generate_series(1, " + itoa(rows) + ") g"
		for _, format := range []string{"text", "csv", "binary"} {
			out += g.run(t, "sh", "-c", `set -e
psql -X -q -c "create unlogged table big(a int, b text, c numeric, d text)"
mkfifo pipe
psql -X -c "\copy (`+query+`) to pstdout (format `+format+`)" | tee pipe | md5sum > sum &
psql -X -c "\copy big from 'pipe' (format `+format+`)"
wait
cat sum
psql -X -At -c "select count(*), sum(a), count(c), sum(length(b)) from big"
psql -X -q -c "drop table big"
rm pipe`)
		}
		return out
	}}
}
