package evidence_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/evidence"
)

// sealedJournal makes a journal of three segments, the middle one with two
// blocks, and closes it.
func sealedJournal(t testing.TB, cfg evidence.Config) (records uint64) {
	t.Helper()
	j := open(t, cfg)
	for segment := range 3 {
		for i := range 8 {
			appendMoved(t, j, statement(segment*8+i))
			if segment == 1 && i == 3 {
				if err := j.Seal(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if segment < 2 {
			if err := j.Rotate(false); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeJournal(t, j)
	return 26
}

// rewriteLines changes the record lines of one segment and makes checksums and
// roots good again.
func rewriteLines(change func(lines []string) []string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		err := evidence.RewriteRecords(path, func(payload []byte) []byte {
			lines := change(strings.SplitAfter(strings.TrimSuffix(string(payload), "\n"), "\n"))
			if lines == nil {
				return nil
			}
			return []byte(strings.TrimSuffix(strings.Join(lines, ""), "\n") + "\n")
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerifyFindsTampering alters a journal as somebody could who may write its
// files, and wants the class of finding that names what was done.
func TestVerifyFindsTampering(t *testing.T) {
	oneFrame := func(lines []string) bool { return strings.Contains(lines[0], `"seq":12,`) }
	tests := []struct {
		name  string
		alter func(t *testing.T, path string) // path is the middle segment
		class evidence.Class
		want  string // in the finding
		seq   uint64 // 0: any
	}{
		{"a byte flipped", func(t *testing.T, path string) {
			offsets, _, _, err := evidence.FrameOffsets(path)
			if err != nil {
				t.Fatal(err)
			}
			edit(t, path, func(data []byte) []byte { data[offsets[2]+100] ^= 1; return data })
		}, evidence.ClassFrame, "checksum", 0},
		{"a record altered, checksum made good", rewriteLines(func(lines []string) []string {
			if oneFrame(lines) {
				lines[0] = strings.Replace(lines[0], `"user`, `"usee`, 1)
			}
			return lines
		}), evidence.ClassBlock, "records 10 to 13: they are not the records that were sealed", 10},
		{"a record dropped", rewriteLines(func(lines []string) []string {
			if oneFrame(lines) {
				return nil
			}
			return lines
		}), evidence.ClassSequence, "records 12 to 12 are missing", 12},
		{"a record dropped, the rest numbered anew", rewriteLines(func(lines []string) []string {
			var n int
			_, _ = fmt.Sscanf(lines[0], `{"v":1,"seq":%d,`, &n)
			switch {
			case n == 12:
				return nil
			case n > 12:
				lines[0] = strings.Replace(lines[0], fmt.Sprintf(`"seq":%d,`, n), fmt.Sprintf(`"seq":%d,`, n-1), 1)
			}
			return lines
		}), evidence.ClassBlock, "records 10 to 13", 10},
		{"a private part altered", rewriteLines(func(lines []string) []string {
			if oneFrame(lines) {
				lines[1] = strings.Replace(lines[1], "SELECT", "DELETE", 1)
			}
			return lines
		}), evidence.ClassPrivate, "the private part of record 12 was altered", 12},
		{"a private part added", rewriteLines(func(lines []string) []string {
			if oneFrame(lines) {
				lines = append(lines, "\n", `{"salt":"AA==","sql":"DROP TABLE orders"}`)
			}
			return lines
		}), evidence.ClassRecord, "cannot be read", 0},
		{"two records swapped", func(t *testing.T, path string) {
			swapFrames(t, path, 2, 3)
		}, evidence.ClassSequence, "record 11 comes after record 12", 11},
		{"a block dropped", func(t *testing.T, path string) { dropFrames(t, path, 3) }, evidence.ClassCheckpoint, "stands after", 0},
		{"a block and its checkpoint dropped", func(t *testing.T, path string) { dropFrames(t, path, 3, 4) }, evidence.ClassBlock, "a block begins with record 14, the one before ended with 9", 14},
		{"segment removed", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, evidence.ClassSegment, "records 10 to 17 are missing between two segments", 0},
		{"segment replaced by another of the journal", func(t *testing.T, path string) {
			first := segmentNames(t, filepath.Dir(path))[0]
			data, err := os.ReadFile(filepath.Join(filepath.Dir(path), first))
			if err != nil {
				t.Fatal(err)
			}
			edit(t, path, func([]byte) []byte { return data })
		}, evidence.ClassSegment, "named for record 10, its header for 1", 10},
		{"segment replaced by one of another key", func(t *testing.T, path string) {
			other := config(t, journalDir(t))
			sealedJournal(t, other)
			data, err := os.ReadFile(filepath.Join(other.Dir, filepath.Base(path)))
			if err != nil {
				t.Fatal(err)
			}
			edit(t, path, func([]byte) []byte { return data })
		}, evidence.ClassCheckpoint, "", 0},
		{"segment truncated", func(t *testing.T, path string) {
			edit(t, path, func(data []byte) []byte { return data[:len(data)-10] })
		}, evidence.ClassFrame, "ends within a frame", 0},
		{"segment without header", func(t *testing.T, path string) {
			offsets, _, _, err := evidence.FrameOffsets(path)
			if err != nil {
				t.Fatal(err)
			}
			edit(t, path, func(data []byte) []byte { return data[offsets[1]:] })
		}, evidence.ClassSegment, "header of the segment is missing", 0},
		{"segment overwritten", func(t *testing.T, path string) {
			edit(t, path, func(data []byte) []byte { return bytes.Repeat([]byte("x"), len(data)) })
		}, evidence.ClassFrame, "not a frame", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(t, journalDir(t))
			mustVerify(t, cfg, sealedJournal(t, cfg))
			middle := filepath.Join(cfg.Dir, segmentNames(t, cfg.Dir)[1])
			tt.alter(t, middle)
			report := verify(t, cfg)
			if !slices.ContainsFunc(report.Findings, func(f evidence.Finding) bool {
				return f.Class == tt.class && strings.Contains(f.Message, tt.want) && (tt.seq == 0 || f.Seq == tt.seq) && f.Segment != ""
			}) {
				t.Errorf("no finding of class %q with %q among %q", tt.class, tt.want, report.Findings)
			}
		})
	}
}

// dropFrames removes the frames that are n-th of their kind, of a segment:
// kinds are 2 records, 3 block, 4 checkpoint.
func dropFrames(t *testing.T, path string, kinds ...byte) {
	t.Helper()
	offsets, have, size, err := evidence.FrameOffsets(path)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(data []byte) []byte {
		var out []byte
		dropped := map[byte]bool{}
		for i, at := range offsets {
			end := size
			if i+1 < len(offsets) {
				end = offsets[i+1]
			}
			if slices.Contains(kinds, have[i]) && !dropped[have[i]] {
				dropped[have[i]] = true
				continue
			}
			out = append(out, data[at:end]...)
		}
		return out
	})
}

func swapFrames(t *testing.T, path string, a, b int) {
	t.Helper()
	offsets, _, _, err := evidence.FrameOffsets(path)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(data []byte) []byte {
		return slices.Concat(data[:offsets[a]], data[offsets[b]:offsets[b+1]], data[offsets[a]:offsets[b]], data[offsets[b+1]:])
	})
}

func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestVerifyNoticesEveryFlippedBit flips bits all over a sealed journal.
func TestVerifyNoticesEveryFlippedBit(t *testing.T) {
	cfg := config(t, journalDir(t))
	sealedJournal(t, cfg)
	if report := verify(t, cfg); !report.OK() || report.Unread != 0 {
		t.Fatalf("before: %+v", report)
	}
	for _, name := range append(segmentNames(t, cfg.Dir), "checkpoint") {
		path := filepath.Join(cfg.Dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(good); at += 1 + rand.IntN(9) {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << rand.IntN(8)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if report := verify(t, cfg); report.OK() && report.Unread == 0 {
				t.Errorf("%s: a flipped bit at byte %d of %d was not noticed", name, at, len(good))
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerifyFindsTruncation cuts off the end of a journal, so that what is left
// is in order by itself.
func TestVerifyFindsTruncation(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	appendRecord(t, j, statement(1))
	if err := j.Seal(); err != nil {
		t.Fatal(err)
	}
	early := copyDir(t, cfg.Dir)
	appendRecord(t, j, statement(2))
	closeJournal(t, j)
	elsewhere, err := os.ReadFile(filepath.Join(cfg.Dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.Dir, segmentNames(t, cfg.Dir)[0])
	data, err := os.ReadFile(filepath.Join(early, segmentNames(t, early)[0]))
	if err != nil {
		t.Fatal(err)
	}
	edit(t, path, func([]byte) []byte { return data })
	report := verify(t, cfg)
	if len(report.Findings) != 1 || report.Findings[0].Class != evidence.ClassTruncated {
		t.Errorf("truncated after a checkpoint: findings %q", report.Findings)
	}
	// Whoever also puts the old checkpoint back is found by one kept elsewhere.
	old := cfg
	old.Dir = early
	if report := verify(t, old); !report.OK() {
		t.Errorf("the early journal: findings %q", report.Findings)
	}
	report = verify(t, old, elsewhere)
	if len(report.Findings) != 1 || report.Findings[0].Class != evidence.ClassTruncated {
		t.Errorf("with a checkpoint kept elsewhere: findings %q", report.Findings)
	}
}

// TestVerifyFindsARewrittenJournal compares a journal that was made anew, with
// the true key, with a checkpoint kept elsewhere.
func TestVerifyFindsARewrittenJournal(t *testing.T) {
	cfg := config(t, journalDir(t))
	sealedJournal(t, cfg)
	elsewhere, err := os.ReadFile(filepath.Join(cfg.Dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	if report := verify(t, cfg, elsewhere); !report.OK() {
		t.Fatalf("findings %q", report.Findings)
	}
	if err := os.RemoveAll(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	sealedJournal(t, cfg)
	report := verify(t, cfg, elsewhere)
	if len(report.Findings) != 1 || report.Findings[0].Class != evidence.ClassCheckpoint {
		t.Errorf("findings %q", report.Findings)
	}
}

func TestVerifyWantsATrustedKey(t *testing.T) {
	cfg := config(t, journalDir(t))
	sealedJournal(t, cfg)
	other := config(t, journalDir(t))
	report, err := evidence.Verify(cfg.Dir, keys(t, other))
	if err != nil {
		t.Fatal(err)
	}
	if report.OK() || report.Signed != 0 || report.Checkpoints != 0 {
		t.Errorf("report %+v", report)
	}
}

// TestVerifyFromALaterSegment verifies a journal whose first segments were
// moved away.
func TestVerifyFromALaterSegment(t *testing.T) {
	cfg := config(t, journalDir(t))
	sealedJournal(t, cfg)
	if err := os.Remove(filepath.Join(cfg.Dir, segmentNames(t, cfg.Dir)[0])); err != nil {
		t.Fatal(err)
	}
	report := verify(t, cfg)
	if !report.OK() || report.First != 10 || report.Signed != 26 {
		t.Fatalf("report %+v", report)
	}
	// It can go on, too.
	closeJournal(t, open(t, cfg))
	if report := verify(t, cfg); !report.OK() || report.Last != 28 {
		t.Fatalf("report %+v", report)
	}
}

func TestVerifySessions(t *testing.T) {
	session := func(kind evidence.Kind, id string, n uint64) *evidence.Record {
		return &evidence.Record{Kind: kind, Session: id, StmtNo: n}
	}
	start, end, stmt := evidence.KindSessionStart, evidence.KindSessionEnd, evidence.KindStatement
	tests := []struct {
		name    string
		records []*evidence.Record
		want    string // in the finding; empty means none
		counts  evidence.Sessions
	}{
		{"complete", []*evidence.Record{session(start, "a", 0), session(stmt, "a", 1), session(stmt, "a", 2), session(end, "a", 2)}, "", evidence.Sessions{Complete: 1}},
		{"without statements", []*evidence.Record{session(start, "a", 0), session(end, "a", 0)}, "", evidence.Sessions{Complete: 1}},
		{"out of order, and two records of one", []*evidence.Record{
			session(start, "a", 0), session(start, "b", 0), session(evidence.KindDenied, "a", 3), session(stmt, "a", 1),
			session(stmt, "a", 2), session(stmt, "a", 1), session(end, "a", 3), session(end, "b", 0),
		}, "", evidence.Sessions{Complete: 2}},
		{"still open", []*evidence.Record{session(start, "a", 0), session(stmt, "a", 2)}, "", evidence.Sessions{Open: 1}},
		{"a statement is missing", []*evidence.Record{session(start, "a", 0), session(stmt, "a", 1), session(stmt, "a", 3), session(end, "a", 3)}, "missing are [2]", evidence.Sessions{}},
		{"the last is missing", []*evidence.Record{session(start, "a", 0), session(stmt, "a", 1), session(end, "a", 3)}, "missing are [2 3]", evidence.Sessions{}},
		{"more than were counted", []*evidence.Record{session(start, "a", 0), session(stmt, "a", 1), session(stmt, "a", 2), session(end, "a", 1)}, "beyond the count are [2]", evidence.Sessions{}},
		{"no start", []*evidence.Record{session(stmt, "a", 1)}, "had not begun", evidence.Sessions{Open: 1}},
		{"after the end", []*evidence.Record{session(start, "a", 0), session(end, "a", 0), session(stmt, "a", 1)}, "had not begun", evidence.Sessions{Complete: 1, Open: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(t, journalDir(t))
			j := open(t, cfg)
			for _, r := range tt.records {
				appendRecord(t, j, r)
			}
			closeJournal(t, j)
			report := verify(t, cfg)
			switch {
			case tt.want == "" && !report.OK():
				t.Errorf("findings %q", report.Findings)
			case tt.want != "" && (len(report.Findings) != 1 || report.Findings[0].Class != evidence.ClassSession || !strings.Contains(report.Findings[0].Message, tt.want)):
				t.Errorf("findings %q, want one with %q", report.Findings, tt.want)
			}
			if report.Sessions != tt.counts {
				t.Errorf("sessions %+v, want %+v", report.Sessions, tt.counts)
			}
		})
	}
}

func TestVerifyCountsInterruptedSessions(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	appendRecord(t, j, &evidence.Record{Kind: evidence.KindSessionStart, Session: "a"})
	appendRecord(t, j, &evidence.Record{Kind: evidence.KindStatement, Session: "a", StmtNo: 2})
	if err := j.Abandon(); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, open(t, cfg))
	report := verify(t, cfg)
	if want := (evidence.Sessions{Interrupted: 1}); !report.OK() || report.Sessions != want {
		t.Errorf("report %+v", report)
	}
}
