// Package conformtest runs client programs twice, straight against PostgreSQL
// and through a gateway whose policy allows everything, and compares what they
// print.
//
// The programs and scripts are in testacc/conformance; each prints a transcript
// in which nothing depends on the time or the machine. What must differ
// (process ids, OIDs) is normalised by one function for all. Without flags the
// short form runs; `make conformance` runs the long one and writes the table
// of docs/compatibility.md.
package conformtest

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/gateway/internal/gatewaytest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
)

var (
	long     = flag.Bool("long", false, "run every client, and COPY with a gigabyte")
	copySize = flag.Int64("copy-bytes", 0, "bytes that COPY moves in each format; 4 MiB, or 1 GiB in the long form")
	update   = flag.Bool("update", false, "write the table of docs/compatibility.md")
	show     = flag.Bool("show", false, "print the transcripts")
)

// versions are the servers behind the gateway.
var versions = []int{15, 18}

const (
	role     = "conform"
	database = "conform"
	// template is the database that each run gets a copy of.
	template = "conform_template"
)

// programs is the directory of the clients' programs.
const programs = "../../../testacc/conformance"

// site is a server and a gateway before it.
type site struct {
	version int
	cluster *pgtest.Cluster
	gateway *gatewaytest.Gateway
	caFile  string // of the server
}

// target is one of the two ways to the server.
type target struct {
	*site
	through bool
	dir     string // for files that the client writes
}

func newSite(t *testing.T, version int) *site {
	t.Helper()
	s := &site{version: version}
	s.cluster = pgtest.New(t, pgtest.Options{Version: version, Settings: map[string]string{
		"max_prepared_transactions": "10", "shared_buffers": "128MB", "wal_level": "logical", "max_wal_size": "4GB",
		"timezone": "UTC", "autovacuum": "off", "lc_messages": "C",
	}})
	s.cluster.MustExec(t, "postgres", "CREATE ROLE "+role+" LOGIN SUPERUSER; CREATE ROLE postern LOGIN")
	s.caFile = s.secure(t)
	s.cluster.MustExec(t, "postgres", "CREATE DATABASE "+template)
	seed, err := os.ReadFile(filepath.Join(programs, "seed.sql"))
	if err != nil {
		t.Fatal(err)
	}
	s.cluster.MustExec(t, template, string(seed))
	s.initialise(t)
	log := io.Discard
	if *show {
		log = os.Stderr
	}
	s.gateway = gatewaytest.New(t, log)
	s.gateway.Enforce(t, &policylang.Policy{
		Gateways:   []policylang.Gateway{s.gateway.Gateway(s.cluster.Host, s.cluster.Port)},
		Identities: []policylang.Identity{gatewaytest.Person(role)},
		QueryRules: []policylang.QueryRule{{Name: "everything", When: "true", Effect: policylang.EffectAllow}},
	})
	return s
}

// initialise gives the template pgbench's tables.
func (s *site) initialise(t *testing.T) {
	t.Helper()
	g := &target{site: s, dir: t.TempDir()}
	if out := g.run(t, "pgbench", "-i", "-q", "-d", template); strings.Contains(out, "ended:") {
		t.Fatalf("initialise pgbench:\n%s", out)
	}
}

// renew gives the next run the same database as the last.
func (s *site) renew(t *testing.T) {
	t.Helper()
	s.cluster.MustExec(t, "postgres", "DROP DATABASE IF EXISTS "+database+" WITH (FORCE)")
	s.cluster.MustExec(t, "postgres", "CREATE DATABASE "+database+" TEMPLATE "+template)
}

func (g *target) host() (host, port string) {
	if !g.through {
		return g.cluster.Host, strconv.Itoa(g.cluster.Port)
	}
	u := url.URL{Host: g.gateway.Address}
	return u.Hostname(), u.Port()
}

// env is how libpq's clients, and by the same words the other programs, find
// the server.
func (g *target) env(t *testing.T) []string {
	t.Helper()
	host, port := g.host()
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir, "LC_ALL=C.UTF-8", "TZ=UTC", "PGHOST=" + host, "PGPORT=" + port,
		"PGUSER=" + role, "PGDATABASE=" + database, "PAGER=cat", "PSQL_HISTORY=/dev/null", "PGOPTIONS=",
		"OUT=" + g.dir, "VERSION=" + strconv.Itoa(g.version), "GOCACHE=" + os.Getenv("GOCACHE"),
	}
	if g.through {
		return append(env, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+g.gateway.CAFile, "PGPASSWORD="+g.gateway.Token(role))
	}
	return append(env, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+g.caFile, "PGPASSWORD=unused")
}

// run runs a command and returns its output, both streams, and how it ended.
func (g *target) run(t *testing.T, command ...string) string {
	t.Helper()
	return g.runWith(t, nil, command...)
}

// runWith is run with something to do once the command runs.
func (g *target) runWith(t *testing.T, during func(*exec.Cmd), command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env, cmd.Dir = g.env(t), g.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", command[0], err)
	}
	if during != nil {
		during(cmd)
	}
	if err := cmd.Wait(); err != nil {
		return out.String() + "ended: " + err.Error() + "\n"
	}
	return out.String()
}

var normalisers = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b(PID|pid|process) \(?\d+\)?`), "$1 N"},
	{regexp.MustCompile(`(relation|Relation|database|type|tuple|of|transaction|oid|OID|object) \(?\d{4,}\)?`), "$1 N"},
	{regexp.MustCompile(`(lo_import|lo_create|lo_unlink) \d+`), "$1 N"},
	{regexp.MustCompile(`\d+([.]\d+)? ms\b`), "N ms"},
	{regexp.MustCompile(`(tps = |latency average = |connection time = )[\d.]+`), "${1}N"},
	{regexp.MustCompile(`pg_(temp|toast)_\d+`), "pg_${1}_N"},
	{regexp.MustCompile(`<memory at 0x[0-9a-f]+>`), "<memory>"},
	{regexp.MustCompile(`\(node:\d+\)`), "(node:N)"},
	{regexp.MustCompile(`SSL connection \(protocol: [^)]*\)`), "SSL connection"},
}

// deliberate are the differences that docs/compatibility.md lists: they are
// taken out of both transcripts.
var deliberate = []struct {
	re   *regexp.Regexp
	with string
}{
	// The gateway's parser reports syntax errors. It never repeats the text.
	{regexp.MustCompile(`syntax error at or near "[^\n]*`), "syntax error"},
	{regexp.MustCompile(`\n(psql:\S+ )?DETAIL:  Decision d_[0-9a-f]+\.`), ""},
	{regexp.MustCompile(`\n(psql:\S+ )?HINT:  Check the statement's syntax\.`), ""},
	// A server that crashes does not end TLS; the gateway does.
	{regexp.MustCompile(`SSL SYSCALL error: EOF detected|SSL connection has been closed unexpectedly`), "SSL connection lost"},
	// SET is allowed for known parameters alone.
	{regexp.MustCompile(`unrecognized configuration parameter "nothing"|the parameter nothing may not be changed through the gateway`), "no such parameter"},
	{regexp.MustCompile(`\n(psql:\S+ )?HINT:  Leave it as it is, or have the owner[^\n]*`), ""},
}

// normalise replaces what differs between two runs of the same program.
func (g *target) normalise(transcript string) string {
	host, port := g.host()
	transcript = strings.NewReplacer(
		g.dir, "DIR", `"`+host+`" (address`, `HOST (address`, `port "`+port+`"`, "PORT", host+":"+port, "HOST:PORT",
		"port "+port, "PORT",
	).Replace(transcript)
	for _, n := range normalisers {
		transcript = n.re.ReplaceAllString(transcript, n.with)
	}
	for _, n := range deliberate {
		transcript = n.re.ReplaceAllString(transcript, n.with)
	}
	return transcript
}

// check is one program.
type check struct {
	client string // a row of the table
	name   string
	long   bool // runs in the long form alone
	run    func(t *testing.T, g *target) string
}

// TestConformance compares every program's transcripts.
func TestConformance(t *testing.T) {
	rooms := make([]*site, len(versions))
	results := newTable()
	for i, version := range versions {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			rooms[i] = newSite(t, version)
			for _, c := range allChecks() {
				if c.long && !*long {
					continue
				}
				t.Run(c.client+"/"+c.name, func(t *testing.T) {
					straight := rooms[i].once(t, c, false)
					through := rooms[i].once(t, c, true)
					diff := cmp.Diff(strings.Split(straight, "\n"), strings.Split(through, "\n"))
					results.add(c, version, diff == "" && !t.Failed())
					if diff != "" {
						t.Errorf("straight (-) and through the gateway (+):\n%s", diff)
					}
					if strings.TrimSpace(straight) == "" {
						t.Error("the program printed nothing")
					}
				})
			}
		})
	}
	if *update && *long {
		if err := results.write(t); err != nil {
			t.Error(err)
		}
	}
}

func (s *site) once(t *testing.T, c check, through bool) string {
	t.Helper()
	s.renew(t)
	g := &target{site: s, through: through, dir: t.TempDir()}
	out := g.normalise(c.run(t, g))
	if *show {
		t.Logf("through the gateway: %v\n%s", through, out)
	}
	return out
}

func abs(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func readable(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	default:
		return fmt.Sprintf("%d MiB", n>>20)
	}
}
