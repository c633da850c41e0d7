package evidence_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
)

// abandonedTail is a journal of a process that was killed: so many statements
// are in its tail's second half and nowhere else. The record of its opening was
// in the first, and is in the segment.
func abandonedTail(t testing.TB, cfg evidence.Config, statements int) (path string) {
	t.Helper()
	j := open(t, cfg)
	for i := range statements {
		appendRecord(t, j, statement(i))
	}
	if err := j.Abandon(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(cfg.Dir, "tail")
}

// TestReadersSeeTheTail: what was appended can be read at once, whoever looks.
func TestReadersSeeTheTail(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	for i := range 5 {
		appendRecord(t, j, statement(i))
		for _, newest := range []bool{false, true} {
			found := search(t, cfg.Dir, evidence.Query{Newest: newest})
			if len(found) != i+2 {
				t.Fatalf("newest %v: found %d records, want %d", newest, len(found), i+2)
			}
			if newest {
				slices.Reverse(found)
			}
			for k, r := range found {
				if r.Seq != uint64(k+1) {
					t.Errorf("newest %v: record %d is where %d should be", newest, r.Seq, k+1)
				}
			}
		}
		mustVerify(t, cfg, uint64(i)+2)
	}
	if found := search(t, cfg.Dir, evidence.Query{AfterSeq: 4}); len(found) != 2 {
		t.Errorf("found %d records after the fourth, want 2", len(found))
	}
	closeJournal(t, j)
	if _, err := os.Stat(filepath.Join(cfg.Dir, "tail")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a closed journal has a tail: %v", err)
	}
	mustVerify(t, cfg, 7)
}

// TestTailIsRecovered: a process that was killed loses nothing, and who reads
// before another one is started sees everything too.
func TestTailIsRecovered(t *testing.T) {
	cfg := config(t, journalDir(t))
	abandonedTail(t, cfg, 6)
	mustVerify(t, cfg, 7)
	closeJournal(t, open(t, cfg))
	if report := mustVerify(t, cfg, 9); report.Lost != 0 || report.Signed != 9 {
		t.Errorf("report %+v", report)
	}
}

// TestTailAtEveryByte cuts, and spoils, a tail at each byte: the frames before
// are kept.
func TestTailAtEveryByte(t *testing.T) {
	cfg := config(t, journalDir(t))
	path := abandonedTail(t, cfg, 3)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good = good[evidence.TailHalf:]
	var ends []int // of the frames
	for at := 0; len(ends) < 3; {
		at += 24 + int(good[at+6])<<8 + int(good[at+7])
		ends = append(ends, at)
	}
	for at := range ends[2] + 10 {
		whole := len(ends)
		if n := slices.IndexFunc(ends, func(end int) bool { return end > at }); n >= 0 {
			whole = n
		}
		if seqs, _ := evidence.ParseTail(good[:at], 2); len(seqs) != whole {
			t.Fatalf("cut at byte %d: records %v, want %d", at, seqs, whole)
		}
		if at >= ends[2] {
			continue
		}
		bad := slices.Clone(good)
		bad[at] ^= 0x40
		if seqs, _ := evidence.ParseTail(bad, 2); len(seqs) != whole {
			t.Fatalf("byte %d spoilt: records %v, want %d", at, seqs, whole)
		}
	}
}

// TestTornTailIsCounted: a record that was half-stored when its process was
// killed is cut off, and the journal says so.
func TestTornTailIsCounted(t *testing.T) {
	cfg := config(t, journalDir(t))
	path := abandonedTail(t, cfg, 2)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = data[evidence.TailHalf:]
	first := 24 + int(data[6])<<8 + int(data[7])
	second := 24 + int(data[first+6])<<8 + int(data[first+7])
	edit(t, path, func(data []byte) []byte { data[evidence.TailHalf+first+second-1] ^= 1; return data })
	if report := mustVerify(t, cfg, 2); report.Unread != int64(second) {
		t.Errorf("%d bytes could not be read, want %d", report.Unread, second)
	}
	closeJournal(t, open(t, cfg))
	if report := mustVerify(t, cfg, 4); report.Lost != int64(second) {
		t.Errorf("%d bytes are recorded as lost, want %d", report.Lost, second)
	}
}

// TestKilledWhileMoving: what was half-moved into the segment when the process
// was killed is still in the tail, and nothing is lost.
func TestKilledWhileMoving(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	for i := range 40 {
		appendRecord(t, j, statement(i))
	}
	tail, err := os.ReadFile(filepath.Join(cfg.Dir, "tail"))
	if err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join(cfg.Dir, segmentNames(t, cfg.Dir)[0])
	before, err := os.Stat(segment)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := j.Abandon(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	moved := int64(len(after)) - before.Size()
	for _, part := range []int64{0, 1, 71, 72, 73, moved / 2, moved - 1, moved} {
		again := cfg
		again.Dir = copyDir(t, cfg.Dir)
		edit(t, filepath.Join(again.Dir, filepath.Base(segment)), func(data []byte) []byte { return data[:before.Size()+part] })
		if err := os.WriteFile(filepath.Join(again.Dir, "tail"), tail, 0o600); err != nil {
			t.Fatal(err)
		}
		mustVerify(t, again, 41)
		closeJournal(t, open(t, again))
		report := mustVerify(t, again, 43)
		if want := min(part, 71); report.Lost > want || part >= 72 && report.Lost != 0 {
			t.Errorf("%d of %d bytes moved: %d are recorded as lost", part, moved, report.Lost)
		}
	}
}

// TestTailIsCutUnderneath: who cuts the file that is mapped makes the journal
// fail, not the process; what was appended is still there.
func TestTailIsCutUnderneath(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	for i := range 5 {
		appendRecord(t, j, statement(i))
	}
	if err := os.Truncate(filepath.Join(cfg.Dir, "tail"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(statement(5), evidence.Process); !errors.Is(err, evidence.ErrFailed) {
		t.Fatalf("got %v, want ErrFailed", err)
	}
	if err := j.Recover(); err != nil {
		t.Fatal(err)
	}
	appendRecord(t, j, statement(6))
	closeJournal(t, j)
	mustVerify(t, cfg, 1+5+1+1+1) // opened, five, recovered, one, closed
}

// TestTailCannotBeStored fails closed, and recovers with another tail.
func TestTailCannotBeStored(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	appendRecord(t, j, statement(0))
	j.FailTail(syscall.EIO)
	for range 2 {
		if _, err := j.Append(statement(1), evidence.Process); !errors.Is(err, evidence.ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Fatalf("got %v, want ErrFailed with the cause", err)
		}
	}
	if err := j.Recover(); err != nil {
		t.Fatal(err)
	}
	appendRecord(t, j, statement(2))
	closeJournal(t, j)
	mustVerify(t, cfg, 5) // opened, one, recovered, one, closed
}

// TestTailWithoutMapping keeps the same promises by system calls.
func TestTailWithoutMapping(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	j.WithoutMapping()
	j.Fail(errors.New("so that it makes another tail"))
	if err := j.Recover(); err != nil {
		t.Fatal(err)
	}
	const n = 4000 // more than both halves hold
	for i := range n {
		appendRecord(t, j, statement(i%60))
	}
	if err := j.Abandon(); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, cfg, n+2)
	closeJournal(t, open(t, cfg))
	mustVerify(t, cfg, n+4)
}

// TestRecordsThatTheTailCannotHold go into the segment, in their order.
func TestRecordsThatTheTailCannotHold(t *testing.T) {
	cfg := config(t, journalDir(t))
	cfg.MaxSQL = 2 * evidence.TailHalf
	j := open(t, cfg)
	long := statement(0)
	long.SQL = string(make([]byte, evidence.TailHalf))
	for i := range 9 {
		r := statement(i)
		if i%3 == 1 {
			r = long
		}
		if seq := appendRecord(t, j, r); seq != uint64(i+2) {
			t.Fatalf("record %d has seq %d", i, seq)
		}
	}
	if err := j.Abandon(); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, cfg, 10)
}

// TestReadWhileMoving reads while records are appended, moved and sealed: every
// record whose Append has returned is found, in order.
func TestReadWhileMoving(t *testing.T) {
	cfg := config(t, journalDir(t))
	cfg.BlockInterval, cfg.BlockRecords = 2*time.Millisecond, 300
	j := open(t, cfg)
	var acknowledged atomic.Uint64
	done := make(chan struct{})
	const n = 12_000
	go func() {
		defer close(done)
		for i := range n {
			seq, err := j.Append(statement(i%60), evidence.Process)
			if err != nil {
				t.Error(err)
				return
			}
			acknowledged.Store(seq)
		}
	}()
	for after := uint64(0); after < n && !t.Failed(); {
		want, last := acknowledged.Load(), after
		for r, err := range evidence.Search(cfg.Dir, evidence.Query{AfterSeq: after}) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Seq != last+1 {
				t.Fatalf("record %d comes after %d", r.Seq, last)
			}
			last = r.Seq
		}
		if last < want {
			t.Fatalf("record %d was acknowledged, the last one found is %d", want, last)
		}
		after = last
	}
	<-done
	closeJournal(t, j)
	mustVerify(t, cfg, acknowledged.Load()+1)
}

// FuzzTail: whatever a tail's bytes are, nothing panics, readers find no fault
// with the segment, and what recovery accepts can be verified.
func FuzzTail(f *testing.F) {
	cfg := config(f, journalDir(f))
	path := abandonedTail(f, cfg, 2)
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	good = good[evidence.TailHalf:][:1000]
	segment, err := os.ReadFile(filepath.Join(cfg.Dir, segmentNames(f, cfg.Dir)[0]))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:500])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, tail []byte) {
		after := cfg
		after.Dir = journalDir(t)
		if err := os.MkdirAll(after.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"00000000000000000001.pev": segment, "tail": tail} {
			if err := os.WriteFile(filepath.Join(after.Dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		readAll(after.Dir, evidence.Query{})
		readAll(after.Dir, evidence.Query{Newest: true})
		verify(t, after)
		j, err := evidence.Open(after)
		if err != nil {
			return
		}
		appendRecord(t, j, statement(2))
		closeJournal(t, j)
		if report := verify(t, after); !report.OK() {
			t.Fatalf("findings after recovery: %q", report.Findings)
		}
	})
}
