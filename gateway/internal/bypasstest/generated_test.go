package bypasstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/internal/sqlgen"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/testacc/bypass"
)

// statements is how many random statements each generator writes; the long
// form writes fifty times as many.
func statements(short int) int {
	if *long {
		return 50 * short
	}
	return short
}

// TestGenerated sends random statements through a gateway to two databases that
// differ in protected values alone: no byte of the answers may differ. It runs
// statements of our own generator and of sqlsmith.
func TestGenerated(t *testing.T) {
	onEach(t, func(t *testing.T, c *pgtest.Cluster) {
		w := newWorlds(t, c, generatedMasks())
		g := sqlgen.New(uint64(len(t.Name())))
		g.Wild = true
		t.Run("grammar", func(t *testing.T) {
			w.compareAll(t, statements(400), 20, g.Statement)
		})
		t.Run("sqlsmith", func(t *testing.T) {
			n := statements(400)
			w.compareAll(t, n, 100, smith(t, c, w.names[0], n))
		})
	})
}

// TestGeneratedPoison is its control: where nothing is masked, the worlds
// differ soon.
func TestGeneratedPoison(t *testing.T) {
	c := clusterOf(t, versions()[0])
	w := newWorlds(t, c, nil)
	g := sqlgen.New(1)
	for range 100 {
		if w.compare(t, g.Statement()) != "" {
			return
		}
	}
	t.Error("without masks the worlds look the same: the test tests nothing")
}

func generatedMasks() []policylang.MaskingPolicy {
	return []policylang.MaskingPolicy{{Name: "pii", Columns: sqlgen.Protected, Transform: policylang.TransformRedact}}
}

// worlds are two databases of the same schema, behind one gateway.
type worlds struct {
	names   [2]string
	target  bypass.Endpoint
	conns   [2]*pgconn.PgConn
	served  int
	refused int
	unsure  int // answered by chance
}

func newWorlds(t *testing.T, c *pgtest.Cluster, masks []policylang.MaskingPolicy) *worlds {
	t.Helper()
	name := fmt.Sprintf("generated_%d", len(masks))
	w := &worlds{names: [2]string{name + "_here", name + "_there"}}
	t.Cleanup(func() {
		for _, n := range w.names {
			if err := c.Exec(context.WithoutCancel(t.Context()), "postgres", "DROP DATABASE IF EXISTS "+n+" WITH (FORCE)"); err != nil {
				t.Error(err)
			}
		}
	})
	c.MustExec(t, "postgres", "CREATE DATABASE "+w.names[0])
	c.MustExec(t, w.names[0], sqlgen.Schema+"; GRANT ALL ON ALL TABLES IN SCHEMA public TO maker")
	c.MustExec(t, "postgres", "CREATE DATABASE "+w.names[1]+" TEMPLATE "+w.names[0])
	for i, n := range w.names {
		c.MustExec(t, n, sqlgen.Rows(i))
		c.MustExec(t, "postgres", "ALTER DATABASE "+n+" SET statement_timeout = '3s'")
	}
	b := newBench(t, c)
	p := b.policy(bypass.Policy{})
	p.Identities = append(p.Identities, policylang.Identity{Name: "maker", Kind: "human", When: "token.sub == 'maker'"})
	p.MaskingPolicies = masks
	if err := b.enforce(p); err != nil {
		t.Fatal(err)
	}
	w.target = b.target
	for i := range w.names {
		w.connect(t, i)
	}
	t.Cleanup(func() {
		for _, conn := range w.conns {
			_ = conn.Close(context.WithoutCancel(t.Context()))
		}
	})
	return w
}

func (w *worlds) connect(t *testing.T, world int) {
	t.Helper()
	config := must(pgconn.ParseConfig(fmt.Sprintf("host=%s user=maker dbname=%s sslmode=disable", strings.ReplaceAll(w.target.Address, ":", " port="), w.names[world])))(t)
	config.TLSConfig = w.target.TLS
	config.Password = must(w.target.Password("maker"))(t)
	w.conns[world] = must(pgconn.ConnectConfig(t.Context(), config))(t)
}

// compareAll compares n statements, of which one in so many must be served.
func (w *worlds) compareAll(t *testing.T, n, oneIn int, next func() string) {
	t.Helper()
	w.served, w.refused, w.unsure = 0, 0, 0
	for range n {
		sql := next()
		if diff := w.compare(t, sql); diff != "" {
			t.Fatalf("%s\nis answered differently in two worlds:\n%s", sql, diff)
		}
	}
	t.Logf("%d statements: %d served, %d refused, %d answered by chance", n, w.served, w.refused, w.unsure)
	if w.served < n/oneIn {
		t.Errorf("only %d of %d statements were served", w.served, n)
	}
}

// compare says how the answers to a statement differ; empty if they do not, or
// do so by chance.
func (w *worlds) compare(t *testing.T, sql string) string {
	t.Helper()
	here, there := w.answer(t, 0, sql), w.answer(t, 1, sql)
	switch {
	case strings.HasPrefix(here, "refused"):
		w.refused++
	default:
		w.served++
	}
	if here == there || w.vague(here) || w.vague(there) {
		return ""
	}
	if w.drawn(t, sql, here, there) || ofBackends.MatchString(sql) {
		w.unsure++
		return ""
	}
	return here + "\n\n" + there
}

// drawn reports whether chance or a clock makes the answers, as TABLESAMPLE and
// timeofday() do: whether a world that is asked again and again comes to answer
// in another way than it did.
func (w *worlds) drawn(t *testing.T, sql, here, there string) bool {
	t.Helper()
	const tries = 40
	for i := range tries {
		first := [2]string{here, there}
		if world := i % 2; w.answer(t, world, sql) != first[world] {
			return true
		}
	}
	return false
}

// ofBackends are the functions whose results depend on which of the server's
// processes serves a session.
var ofBackends = regexp.MustCompile(`\b(pg_stat_get_backend_\w+|pg_backend_pid|pg_my_temp_schema|inet_client_port)\(`)

// vague reports whether an answer depends on how fast the server is.
func (w *worlds) vague(answer string) bool { return strings.Contains(answer, "error 57014") }

var decisionID = regexp.MustCompile(`d_[0-9a-f]+`)

// answer is what the client gets to see of a statement in a world, which it
// leaves as it was. The order of rows that no ORDER BY gives is not anybody's
// promise.
func (w *worlds) answer(t *testing.T, world int, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn := w.conns[world]
	if _, err := conn.Exec(ctx, "BEGIN").ReadAll(); err != nil {
		t.Fatalf("before %s: %v", sql, err)
	}
	results, err := conn.Exec(ctx, sql).ReadAll()
	if conn.IsClosed() {
		t.Fatalf("%s\nended the session: %v", sql, err)
	}
	if _, rollback := conn.Exec(ctx, "ROLLBACK").ReadAll(); rollback != nil {
		t.Fatalf("after %s: %v", sql, rollback)
	}
	var out strings.Builder
	for _, r := range results {
		for _, f := range r.FieldDescriptions {
			fmt.Fprintf(&out, "%s %d %d %d;", f.Name, f.DataTypeOID, f.TableOID, f.TableAttributeNumber)
		}
		var rows []string
		for _, row := range r.Rows {
			rows = append(rows, string(bytes.Join(row, []byte("|"))))
		}
		slices.Sort(rows)
		fmt.Fprintf(&out, "\n%s\n%s", strings.Join(rows, "\n"), r.CommandTag)
	}
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == "42501":
		return "refused: " + pg.Message
	case errors.As(err, &pg):
		fmt.Fprintf(&out, "error %s %s %s %s %d", pg.Code, pg.Message, decisionID.ReplaceAllString(pg.Detail, ""), pg.Hint, pg.Position)
	case err != nil:
		t.Fatalf("%s\n%v", sql, err)
	}
	return out.String()
}

// smith returns what gives one statement of sqlsmith after the other.
func smith(t *testing.T, c *pgtest.Cluster, database string, n int) func() string {
	t.Helper()
	path, err := exec.LookPath("sqlsmith")
	if err != nil {
		t.Fatal("sqlsmith is missing; testacc/setup.sh tests installs it (on Debian: apt-get install sqlsmith)")
	}
	target := fmt.Sprintf("host=%s port=%d user=maker dbname=%s", c.Host, c.Port, database)
	cmd := exec.CommandContext(t.Context(), path, "--target="+target, "--dry-run", "--exclude-catalog", "--seed=7", fmt.Sprintf("--max-queries=%d", n+1))
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("sqlsmith: %v", err)
	}
	list := strings.Split(string(text), ";\n")
	if len(list) < n {
		t.Fatalf("sqlsmith wrote %d statements, %d were asked for", len(list), n)
	}
	i := -1
	return func() string {
		i++
		return strings.TrimSpace(list[i])
	}
}
