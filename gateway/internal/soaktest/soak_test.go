package soaktest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/internal/gatewaytest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
)

var (
	idleSessions = flag.Int("idle", 100, "idle sessions")
	busySessions = flag.Int("busy", 10, "busy sessions")
	duration     = flag.Duration("for", 4*time.Second, "how long")
)

const busyRole = "busy"

// soak is one run.
type soak struct {
	gateway  *gatewaytest.Gateway
	cluster  *pgtest.Cluster
	upstream *net.TCPAddr
	ledger   *ledger
	idle     []*pgconn.PgConn

	killed   atomic.Int64 // backends that were terminated
	lost     atomic.Int64 // sessions that clients lost for it
	marks    atomic.Int64
	mu       sync.Mutex
	problems []string
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	raiseDescriptors(t, uint64(3**idleSessions+5**busySessions+1000))
	s := &soak{ledger: &ledger{fates: map[string]fate{}}}
	s.cluster = pgtest.New(t, pgtest.Options{Settings: map[string]string{"max_connections": strconv.Itoa(*busySessions + 50)}})
	s.cluster.MustExec(t, "postgres", "CREATE ROLE postern LOGIN; CREATE ROLE "+busyRole+" LOGIN; CREATE TABLE t (id int, mark text); GRANT ALL ON t TO "+busyRole)
	s.upstream = startUpstream(t, net.JoinHostPort(s.cluster.Host, strconv.Itoa(s.cluster.Port)))
	many := *idleSessions + *busySessions + 100
	s.gateway = gatewaytest.NewLimited(t, gateway.Limits{Connections: many, IdentityConnections: many, LoginTimeout: 2 * time.Minute}, io.Discard)
	s.gateway.Enforce(t, s.policy(t, 0))
	return s
}

// raiseDescriptors allows as many open files as the run needs.
func raiseDescriptors(t *testing.T, want uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= want {
		return
	}
	limit.Cur, limit.Max = want, max(want, limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatalf("the run needs %d open files (ulimit -n): %v", want, err)
	}
}

// policy is one of many that decide alike.
func (s *soak) policy(t *testing.T, nth int) *policylang.Policy {
	t.Helper()
	return &policylang.Policy{
		Gateways:   []policylang.Gateway{s.gateway.Gateway("127.0.0.1", s.upstream.Port)},
		Identities: []policylang.Identity{gatewaytest.Person(busyRole), gatewaytest.Person(idleRole)},
		QueryRules: []policylang.QueryRule{
			{Name: "rows", When: "statement.class in ['read', 'write']", Effect: policylang.EffectAllow},
			{Name: "never", When: "'DELETE' in statement.commands", Effect: policylang.EffectDeny},
			{Name: fmt.Sprintf("unused_%d", nth), When: "identity.name == 'nobody'", Effect: policylang.EffectDeny},
		},
	}
}

func (s *soak) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// TestSoak is the run.
func TestSoak(t *testing.T) {
	s := newSoak(t)
	s.warmUp(t)
	empty := measure()
	s.openIdle(t)
	opened := measure()
	t.Logf("%d idle sessions over TLS: %d goroutines, %d descriptors, %d bytes of heap and stacks each, their clients included",
		len(s.idle), (opened.goroutines-empty.goroutines)/max(len(s.idle), 1), (opened.descriptors-empty.descriptors)/max(len(s.idle), 1),
		(int64(opened.memory)-int64(empty.memory))/int64(max(len(s.idle), 1)))

	// The first part fills the caches, which are bounded by their number; in
	// the others nothing may be added to what is then in use.
	s.load(t, *duration/4)
	half := measure()
	s.load(t, *duration-*duration/4)
	full := measure()
	t.Logf("heap and stacks after a quarter of the time: %d bytes, at the end: %d", half.memory, full.memory)

	s.closeIdle(t)
	for _, p := range s.problems[:min(len(s.problems), 20)] {
		t.Error(p)
	}
	if lost, killed := s.lost.Load(), s.killed.Load(); lost > killed {
		t.Errorf("%d sessions were lost, %d were killed", lost, killed)
	}
	s.checkEvidence(t)
	t.Logf("%d statements, %d sessions killed at the server", len(s.ledger.fates), s.killed.Load())
	if grown, allowed := int64(full.memory)-int64(half.memory), int64(64<<20+200*len(s.ledger.fates)); grown > allowed {
		t.Errorf("memory grew by %d bytes, of which the clients' ledger explains %d", grown, allowed)
	}
	s.leftBehind(t, measured{goroutines: empty.goroutines, descriptors: empty.descriptors, memory: half.memory})
}

// load runs the busy clients, the kills and the swaps for some time.
func (s *soak) load(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	var all sync.WaitGroup
	for n := range *busySessions {
		all.Go(func() { s.busyLoop(ctx, n) })
	}
	all.Go(func() { s.swapLoop(ctx, t) })
	all.Go(func() { s.killLoop(ctx) })
	all.Wait()
}

// warmUp opens what a gateway keeps: connections to the catalog, the issuer's
// keys, caches.
func (s *soak) warmUp(t *testing.T) {
	t.Helper()
	for _, role := range []string{busyRole, idleRole} {
		conn, err := pgconn.Connect(t.Context(), s.gateway.URL("postgres", role))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nobody is connected", func() bool { return s.gateway.Server.Sessions() == 0 })
}

func (s *soak) openIdle(t *testing.T) {
	t.Helper()
	url := s.gateway.URL("postgres", idleRole)
	var all sync.WaitGroup
	var mu sync.Mutex
	places := make(chan struct{}, 16)
	for range *idleSessions {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			conn, err := pgconn.Connect(t.Context(), url)
			if err != nil {
				t.Errorf("open an idle session: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			s.idle = append(s.idle, conn)
		})
	}
	all.Wait()
}

// closeIdle has each idle session run one statement, to show that it lives, and
// leaves.
func (s *soak) closeIdle(t *testing.T) {
	t.Helper()
	for _, conn := range s.idle {
		mark := s.mark(*busySessions)
		if _, err := conn.Exec(t.Context(), "SELECT '"+mark+"'").ReadAll(); err != nil {
			t.Errorf("an idle session does not live: %v", err)
			s.ledger.note(mark, unknown)
		} else {
			s.ledger.note(mark, ran)
		}
		_ = conn.Close(t.Context())
	}
}

func (s *soak) mark(n int) string { return fmt.Sprintf("m%dx%d", n, s.marks.Add(1)) }

// swapLoop replaces the policy each second.
func (s *soak) swapLoop(ctx context.Context, t *testing.T) {
	t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.gateway.Release(s.policy(t, n)); err != nil {
			s.problem("replace the policy: %v", err)
		}
	}
}

// killLoop ends a random busy backend, again and again.
func (s *soak) killLoop(ctx context.Context) {
	conn, err := pgx.Connect(context.WithoutCancel(ctx), s.cluster.URL("postgres", "postgres"))
	if err != nil {
		s.problem("connect to kill: %v", err)
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var n int64
		err := conn.QueryRow(context.WithoutCancel(ctx), `SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM
			(SELECT pid FROM pg_stat_activity WHERE usename = $1 ORDER BY random() LIMIT 1) a) b`, busyRole).Scan(&n)
		if err != nil {
			s.problem("kill: %v", err)
		}
		s.killed.Add(n)
	}
}

// busyLoop is one busy client, which connects again when it is killed.
func (s *soak) busyLoop(ctx context.Context, n int) {
	random := rand.New(rand.NewPCG(uint64(n), uint64(time.Now().UnixNano())))
	for ctx.Err() == nil {
		conn, err := pgx.Connect(context.WithoutCancel(ctx), s.gateway.URL("postgres", busyRole))
		if err != nil {
			if s.wasKilled(err) {
				s.lost.Add(1)
			} else {
				s.problem("connect: %v", err)
			}
			continue
		}
		for ctx.Err() == nil && s.one(ctx, conn, n, random) {
			time.Sleep(time.Duration(random.IntN(5)) * time.Millisecond)
		}
		closing, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		_ = conn.Close(closing)
		done()
	}
}

// one runs one statement and reports whether the session goes on.
func (s *soak) one(ctx context.Context, conn *pgx.Conn, n int, random *rand.Rand) bool {
	ctx = context.WithoutCancel(ctx) // a statement is let run to its end
	mark := s.mark(n)
	want := ran
	var err error
	switch random.IntN(100) {
	default:
		var got string
		err = conn.QueryRow(ctx, "SELECT $1::text", mark).Scan(&got)
		if err == nil && got != mark {
			s.problem("asked for %s, got %s", mark, got)
		}
	case 0, 1, 2, 3, 4, 5, 6, 7, 8, 9:
		_, err = conn.Exec(ctx, "SELECT '"+mark+"'", pgx.QueryExecModeSimpleProtocol)
	case 10, 11, 12, 13, 14, 15, 16, 17, 18, 19:
		_, err = conn.Exec(ctx, "INSERT INTO t VALUES (1, $1)", mark)
	case 20, 21, 22, 23, 24:
		want = failed
		_, err = conn.Exec(ctx, "SELECT 1/0, '"+mark+"'", pgx.QueryExecModeSimpleProtocol)
	case 25, 26, 27, 28, 29:
		want = denied
		_, err = conn.Exec(ctx, "DELETE FROM t WHERE mark = '"+mark+"'", pgx.QueryExecModeSimpleProtocol)
	case 30: // the client is killed
		timer := time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, func() { _ = conn.PgConn().Conn().Close() })
		_, _ = conn.Exec(ctx, "SELECT '"+mark+"', pg_sleep(0.003)", pgx.QueryExecModeSimpleProtocol)
		timer.Stop()
		s.ledger.note(mark, unknown)
		_ = conn.PgConn().Conn().Close()
		return false
	}
	return s.judge(mark, want, err)
}

// judge notes what became of a statement, and reports whether the session goes
// on.
func (s *soak) judge(mark string, want fate, err error) bool {
	var pg *pgconn.PgError
	code := ""
	if errors.As(err, &pg) {
		code = pg.Code
	}
	switch {
	case err == nil && want == ran, code == "22012" && want == failed, code == "42501" && want == denied:
		s.ledger.note(mark, want)
		return true
	case s.wasKilled(err):
		s.lost.Add(1)
	default:
		s.problem("%s, of which %d was wanted: %v", mark, want, err)
	}
	s.ledger.note(mark, unknown)
	return false
}

// wasKilled reports whether an error is how a session ends whose backend was
// terminated. There are as many of them as backends, which the run counts.
func (s *soak) wasKilled(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "57P01" || pg.Code == "08006" || pg.Code == "08001"
	}
	var network net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, net.ErrClosed) || errors.As(err, &network) || err != nil && err.Error() == "conn closed"
}

// checkEvidence compares what clients know with the journal.
func (s *soak) checkEvidence(t *testing.T) {
	t.Helper()
	all, err := collect(s.gateway.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	wrong := s.ledger.compare(all)
	for _, w := range wrong[:min(len(wrong), 20)] {
		t.Error(w)
	}
	if len(wrong) > 0 {
		t.Errorf("%d of %d statements are not in evidence exactly once", len(wrong), len(s.ledger.fates))
	}
}

// leftBehind waits until as much is in use as before.
func (s *soak) leftBehind(t *testing.T, before measured) {
	t.Helper()
	const caches = 64 << 20 // analysed texts, bounded by their number, and the clients' ledger
	var now measured
	enough := func() bool {
		now = measure()
		return s.gateway.Server.Sessions() == 0 && now.goroutines <= before.goroutines+5 &&
			now.descriptors <= before.descriptors+5 && now.memory <= before.memory+caches
	}
	for deadline := time.Now().Add(30 * time.Second); !enough(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%d sessions are left; before %+v, after %+v", s.gateway.Server.Sessions(), before, now)
			return
		}
	}
}

// measured is what the process has in use.
type measured struct {
	goroutines, descriptors int
	memory                  uint64 // heap and stacks
}

func measure() measured {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, _ := os.ReadDir("/proc/self/fd")
	return measured{goroutines: runtime.NumGoroutine(), descriptors: len(files), memory: m.HeapAlloc + m.StackInuse}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}

// TestKilledPeers kills a client's and a backend's process outright, each in
// the middle of a statement: nothing of the session is left.
func TestKilledPeers(t *testing.T) {
	s := newSoak(t)
	s.warmUp(t)
	before := measure()
	psql := exec.CommandContext(t.Context(), "psql", "-X", s.gateway.URL("postgres", busyRole), "-c", "SELECT pg_sleep(60)")
	start := func() int {
		if err := psql.Start(); err != nil {
			t.Fatal(err)
		}
		return s.awaitBackend(t)
	}
	start()
	if err := psql.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = psql.Wait()
	s.leftBehind(t, before)
	eventually(t, "the statement is cancelled", func() bool { return s.backend(t) == 0 })

	psql = exec.CommandContext(t.Context(), "psql", "-X", s.gateway.URL("postgres", busyRole), "-c", "SELECT pg_sleep(60)")
	pid := start()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := psql.Wait(); err == nil {
		t.Error("the client was not told")
	}
	s.leftBehind(t, before)
}

func (s *soak) awaitBackend(t *testing.T) (pid int) {
	t.Helper()
	eventually(t, "the statement runs", func() bool { pid = s.backend(t); return pid != 0 })
	return pid
}

// backend returns the process that sleeps, 0 if none does.
func (s *soak) backend(t *testing.T) (pid int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.cluster.URL("postgres", "postgres"))
	if err != nil {
		return 0
	}
	defer func() { _ = conn.Close(t.Context()) }()
	_ = conn.QueryRow(t.Context(), "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE usename = $1 AND query LIKE '%pg_sleep(60)%' AND state = 'active'", busyRole).Scan(&pid)
	return pid
}
