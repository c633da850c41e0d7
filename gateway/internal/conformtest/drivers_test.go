package conformtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// driver is a program that speaks by a library.
type driver struct {
	client  string
	command []string // the program's path is relative to testacc/conformance
	version []string // prints the library's version
}

// drivers are prepared by testacc/conformance/setup.sh.
var drivers = []driver{
	{"pgx", []string{"../../bin/conformance/pgx"}, []string{"../../bin/conformance/pgx", "version"}},
	{"lib/pq", []string{"../../bin/conformance/libpq"}, []string{"../../bin/conformance/libpq", "version"}},
	{"node pg", []string{"node/pg.js"}, []string{"node/pg.js", "version"}},
	{"node postgres", []string{"node/postgres.js"}, []string{"node/postgres.js", "version"}},
	{"knex", []string{"node/knex.js"}, []string{"node/knex.js", "version"}},
	{"psycopg2", []string{"python/psycopg2_client.py"}, []string{"python/psycopg2_client.py", "version"}},
	{"psycopg 3", []string{"python/psycopg3_client.py"}, []string{"python/psycopg3_client.py", "version"}},
	{"SQLAlchemy", []string{"python/sqlalchemy_client.py"}, []string{"python/sqlalchemy_client.py", "version"}},
	{"JDBC", []string{"java/Client.java"}, []string{"java/Client.java", "version"}},
}

func driverChecks() []check {
	var all []check
	for _, d := range drivers {
		all = append(all, check{client: d.client, name: "its program", run: func(t *testing.T, g *target) string {
			t.Helper()
			out := g.run(t, interpreter(t, d.command)...)
			if strings.Contains("\n"+out, "\nended: ") { // two ways that fail alike agree on nothing
				t.Errorf("%s did not come to its end:\n%s", d.client, out)
			}
			return out
		}})
	}
	return all
}

// interpreter is how a program is run, by its ending.
func interpreter(t *testing.T, command []string) []string {
	t.Helper()
	path := abs(t, filepath.Join(programs, command[0]))
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: testacc/conformance/setup.sh makes it", err)
	}
	switch filepath.Ext(path) {
	case ".js":
		command = append([]string{"node", path}, command[1:]...)
	case ".py": // Debian's modules are for the system's own Python
		command = append([]string{"/usr/bin/python3", path}, command[1:]...)
	case ".java":
		command = append([]string{"java", "-XX:TieredStopAtLevel=1", "-cp", "/usr/share/java/postgresql.jar", path}, command[1:]...)
	default:
		command = append([]string{path}, command[1:]...)
	}
	return command
}

var number = regexp.MustCompile(`\d+(\.\d+)+`)

// clientVersion asks a client for its version.
func clientVersion(t *testing.T, client string) string {
	t.Helper()
	command := []string{"psql", "--version"}
	for _, d := range drivers {
		if d.client == client {
			command = interpreter(t, d.version)
		}
	}
	out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).Output()
	if err != nil {
		t.Errorf("ask %s for its version: %v", client, err)
	}
	return strings.TrimSpace(number.FindString(string(out)))
}
