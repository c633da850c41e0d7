package evidence_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/leaktest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		appendUntilKilled(dir)
		return
	}
	leaktest.Main(m)
}

const origin = "gateway.example/orders"

// config returns a configuration in which nothing happens by itself.
func config(t testing.TB, dir string) evidence.Config {
	t.Helper()
	key, err := evidence.LoadKey(filepath.Join(dir, "..", filepath.Base(dir)+".key"), "orders")
	if err != nil {
		t.Fatal(err)
	}
	return evidence.Config{
		Dir: dir, Origin: origin, Key: key,
		BlockInterval: time.Hour, Heartbeat: time.Hour,
		Logger: slog.New(slog.DiscardHandler),
	}
}

// journalDir is in memory if it can be: a journal syncs its files often.
func journalDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "postern-evidence-") //nolint:usetesting // t.TempDir cannot be put into memory
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "journal")
}

func open(t testing.TB, cfg evidence.Config) *evidence.Journal {
	t.Helper()
	j, err := evidence.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func closeJournal(t testing.TB, j *evidence.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func appendRecord(t testing.TB, j *evidence.Journal, r *evidence.Record) uint64 {
	t.Helper()
	seq, err := j.Append(r, evidence.Process)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// appendMoved appends a record that has a frame of its own in the segment.
func appendMoved(t testing.TB, j *evidence.Journal, r *evidence.Record) {
	t.Helper()
	appendRecord(t, j, r)
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
}

// statement is a small record like those of every statement.
func statement(n int) *evidence.Record {
	return &evidence.Record{
		Time: time.Date(2026, 3, 4, 5, 0, n, 0, time.UTC), Kind: evidence.KindStatement,
		Identity: fmt.Sprintf("user%d", n%3), Database: "shop", Command: "SELECT",
		SQL: fmt.Sprintf("SELECT %d", n), Effect: "allow", Outcome: evidence.OutcomeCompleted, Bundle: fmt.Sprintf("sha256:%d", n/5),
		Relations: []evidence.Relation{{Name: "public.orders", Verb: "read"}},
	}
}

func search(t testing.TB, dir string, q evidence.Query) []*evidence.Record {
	t.Helper()
	var out []*evidence.Record
	for r, err := range evidence.Search(dir, q) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func keys(t testing.TB, cfg evidence.Config) note.Verifiers {
	t.Helper()
	v, err := evidence.Verifiers(cfg.Key.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func verify(t testing.TB, cfg evidence.Config, known ...[]byte) *evidence.Report {
	t.Helper()
	report, err := evidence.Verify(cfg.Dir, keys(t, cfg), known...)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// mustVerify verifies a journal and wants so many records.
func mustVerify(t testing.TB, cfg evidence.Config, records uint64) *evidence.Report {
	t.Helper()
	report := verify(t, cfg)
	if !report.OK() {
		t.Fatalf("findings: %v", report.Findings)
	}
	if report.Records != records || report.Last-report.First+1 != records {
		t.Fatalf("the journal holds %d records, %d to %d, want %d", report.Records, report.First, report.Last, records)
	}
	return report
}

func TestJournalKeepsRecords(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	const n = 20
	for i := range n {
		want := uint64(i + 2) // after the record of the opening
		if seq := appendRecord(t, j, statement(i)); seq != want {
			t.Fatalf("record %d has seq %d, want %d", i, seq, want)
		}
	}
	closeJournal(t, j)
	if _, err := j.Append(statement(0), evidence.Process); !errors.Is(err, evidence.ErrClosed) {
		t.Errorf("append after Close: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	found := search(t, cfg.Dir, evidence.Query{Kinds: []evidence.Kind{evidence.KindStatement}})
	if len(found) != n {
		t.Fatalf("found %d records, want %d", len(found), n)
	}
	for i, r := range found {
		if want := statement(i); r.SQL != want.SQL || !r.Time.Equal(want.Time) || r.Origin != origin || r.Seq != uint64(i+2) {
			t.Errorf("record %d is %+v", i, r)
		}
	}
	report := mustVerify(t, cfg, n+2)
	if report.Signed != n+2 || report.Kinds[evidence.KindStatement] != n || report.Checkpoints != 1 || len(report.Keys) != 1 {
		t.Errorf("report %+v", report)
	}
}

func TestJournalGoesOnAfterClose(t *testing.T) {
	cfg := config(t, journalDir(t))
	var total uint64
	for i := range 4 {
		j := open(t, cfg)
		for k := range i {
			appendRecord(t, j, statement(k))
		}
		closeJournal(t, j)
		total += uint64(i) + 2
	}
	report := mustVerify(t, cfg, total)
	if report.Blocks != 4 || report.Lost != 0 {
		t.Errorf("report %+v", report)
	}
	for _, r := range search(t, cfg.Dir, evidence.Query{Kinds: []evidence.Kind{evidence.KindJournal}}) {
		if r.Command == evidence.JournalRecovered {
			t.Error("a journal that was closed says that it recovered")
		}
	}
}

func TestJournalIsLocked(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	defer closeJournal(t, j)
	if _, err := evidence.Open(cfg); !errors.Is(err, evidence.ErrLocked) {
		t.Errorf("a second writer got %v, want ErrLocked", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := config(t, journalDir(t))
	_, other, err := evidence.GenerateKey("orders")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*evidence.Config)
		want   string
	}{
		{"no origin", func(c *evidence.Config) { c.Origin = "" }, "origin"},
		{"origin of two lines", func(c *evidence.Config) { c.Origin = "a\nb" }, "origin"},
		{"no key", func(c *evidence.Config) { c.Key = evidence.Key{} }, "key"},
		{"halves of two keys", func(c *evidence.Config) { c.Key.Verifier = other.Verifier }, "not that of the private one"},
		{"directory is a file", func(c *evidence.Config) { c.Dir = filepath.Join(good.Dir, "..", "journal.key") }, "not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			if j, err := evidence.Open(cfg); err == nil || !strings.Contains(err.Error(), tt.want) || j != nil {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestOpenRefusesAnotherOrigin(t *testing.T) {
	cfg := config(t, journalDir(t))
	closeJournal(t, open(t, cfg))
	cfg.Origin = "gateway.example/other"
	if _, err := evidence.Open(cfg); err == nil || !strings.Contains(err.Error(), origin) {
		t.Errorf("got %v, want an error that names %s", err, origin)
	}
}

func TestAppendRefusesTooLong(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	if _, err := j.Append(&evidence.Record{Shape: strings.Repeat("x", 5<<20)}, evidence.Process); !errors.Is(err, evidence.ErrTooLong) {
		t.Errorf("got %v, want ErrTooLong", err)
	}
	appendRecord(t, j, statement(1))
	closeJournal(t, j)
	mustVerify(t, cfg, 3)
}

// TestConcurrentAppends has many goroutines append with every durability while
// blocks are sealed and segments are closed and compacted.
func TestConcurrentAppends(t *testing.T) {
	cfg := config(t, journalDir(t))
	cfg.BlockInterval, cfg.BlockRecords, cfg.SegmentBytes = 5*time.Millisecond, 16, 16<<10
	j := open(t, cfg)
	const workers, each = 16, 60
	seqs := make([][]uint64, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				d := evidence.Process
				if w == 0 {
					d = evidence.Power
				}
				seq, err := j.Append(statement(i), d)
				if err != nil {
					t.Error(err)
					return
				}
				seqs[w] = append(seqs[w], seq)
			}
		})
	}
	wg.Wait()
	closeJournal(t, j)
	var all []uint64
	for _, list := range seqs {
		if !slices.IsSorted(list) {
			t.Error("a goroutine's records are not in its order")
		}
		all = append(all, list...)
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != workers*each {
		t.Error("a seq was given twice")
	}
	report := mustVerify(t, cfg, workers*each+2)
	if report.Segments < 2 || report.Signed != report.Last {
		t.Errorf("report %+v", report)
	}
}

// TestBigBatches makes frames that are compressed and split.
func TestBigBatches(t *testing.T) {
	cfg := config(t, journalDir(t))
	cfg.MaxSQL = 1 << 20
	j := open(t, cfg)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			r := statement(i)
			r.SQL = strings.Repeat(fmt.Sprint(i), 400<<10)
			appendRecord(t, j, r)
		})
	}
	wg.Wait()
	if err := j.Rotate(true); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	mustVerify(t, cfg, 26)
	for _, r := range search(t, cfg.Dir, evidence.Query{Kinds: []evidence.Kind{evidence.KindStatement}}) {
		if len(r.SQL) < 400<<10 {
			t.Errorf("record %d has %d bytes of SQL", r.Seq, len(r.SQL))
		}
	}
}

func TestIdleJournalBeats(t *testing.T) {
	cfg := config(t, journalDir(t))
	cfg.BlockInterval, cfg.Heartbeat = 2*time.Millisecond, 4*time.Millisecond
	j := open(t, cfg)
	for len(search(t, cfg.Dir, evidence.Query{Kinds: []evidence.Kind{evidence.KindHeartbeat}, Limit: 2})) < 2 {
		time.Sleep(time.Millisecond)
	}
	closeJournal(t, j)
	if report := verify(t, cfg); !report.OK() || report.Checkpoints < 2 {
		t.Errorf("report %+v", report)
	}
}

// TestCompaction closes a segment of records that were written one by one.
func TestCompaction(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	const n = 500
	for i := range n {
		appendMoved(t, j, statement(i))
		if i%100 == 99 {
			if err := j.Seal(); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := filepath.Join(cfg.Dir, fmt.Sprintf("%020d.pev", 1))
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Rotate(true); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	if after.Size()*5 > before.Size() {
		t.Errorf("compaction made %d bytes of %d", after.Size(), before.Size())
	}
	t.Logf("%d bytes a record, %d before", after.Size()/n, before.Size()/n)
	appendRecord(t, j, statement(1))
	closeJournal(t, j)
	mustVerify(t, cfg, n+3)
}

func TestRedact(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	for i := range 9 {
		appendRecord(t, j, statement(i))
	}
	before := ""
	for _, path := range glob(t, cfg.Dir, "*") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before += string(data)
	}
	if !strings.Contains(before, `"SELECT 1"`) {
		t.Fatal("the text that is to be erased is in no file")
	}
	n, err := j.Redact(func(r *evidence.Record) bool { return r.Identity == "user1" })
	if err != nil {
		t.Fatal(err)
	}
	if n != 3 {
		t.Errorf("redacted %d records, want 3", n)
	}
	for _, path := range glob(t, cfg.Dir, "*") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), `"SELECT 1"`) {
			t.Errorf("an erased text is still in %s", filepath.Base(path))
		}
	}
	closeJournal(t, j)
	for _, r := range search(t, cfg.Dir, evidence.Query{Kinds: []evidence.Kind{evidence.KindStatement}}) {
		if erased := r.Identity == "user1"; r.Redacted != erased || (r.SQL == "") != erased {
			t.Errorf("record %d of %s: redacted %v, SQL %q", r.Seq, r.Identity, r.Redacted, r.SQL)
		}
		proof, err := evidence.Prove(cfg.Dir, r.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := proof.Verify(keys(t, cfg)); err != nil {
			t.Errorf("the proof of record %d does not verify: %v", r.Seq, err)
		}
	}
	if report := mustVerify(t, cfg, 12); report.Redacted != 3 {
		t.Errorf("the report counts %d redacted records", report.Redacted)
	}
}

func glob(t testing.TB, dir, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}
