package evidence_test

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
)

// copyDir copies a journal's files.
func copyDir(t testing.TB, from string) (to string) {
	t.Helper()
	to = journalDir(t)
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestRecoveryAtEveryByte crashes a journal so that its last segment ends at
// each possible byte: whole frames before are kept, the rest is counted, and
// the journal goes on.
func TestRecoveryAtEveryByte(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	for i := range 3 {
		appendRecord(t, j, statement(i))
	}
	if err := j.Rotate(false); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		appendMoved(t, j, statement(i))
	}
	if err := j.Abandon(); err != nil {
		t.Fatal(err)
	}
	removeTail(t, cfg.Dir) // or nothing would be lost
	last := segmentNames(t, cfg.Dir)[1]
	offsets, _, size, err := evidence.FrameOffsets(filepath.Join(cfg.Dir, last))
	if err != nil {
		t.Fatal(err)
	}
	for cut := int64(0); cut <= size; cut++ {
		dir := copyDir(t, cfg.Dir)
		if err := os.Truncate(filepath.Join(dir, last), cut); err != nil {
			t.Fatal(err)
		}
		whole, end := 0, int64(0) // frames that are there, and where they end
		for i := range offsets {
			next := size
			if i+1 < len(offsets) {
				next = offsets[i+1]
			}
			if next <= cut {
				whole, end = i+1, next
			}
		}
		after := cfg
		after.Dir = dir
		j, err := evidence.Open(after)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		appendRecord(t, j, statement(9))
		closeJournal(t, j)
		// opened, 3 statements; those of the last segment; recovered, 1, closed.
		report := mustVerify(t, after, 4+uint64(max(0, whole-1))+3)
		if want := cut - end; report.Lost != want {
			t.Fatalf("cut at %d: %d bytes are recorded as lost, want %d", cut, report.Lost, want)
		}
		_ = os.RemoveAll(dir) // there are many
	}
}

func removeTail(t testing.TB, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "tail")); err != nil {
		t.Fatal(err)
	}
}

func segmentNames(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	for _, path := range glob(t, dir, "*.pev") {
		names = append(names, filepath.Base(path))
	}
	return names
}

// TestRecoveryCutsGarbage recovers from ends that a crash of the machine may
// leave: zeros, old data, a frame whose middle never reached the disk.
func TestRecoveryCutsGarbage(t *testing.T) {
	tests := []struct {
		name string
		tail func(frame []byte) []byte
	}{
		{"zeros", func([]byte) []byte { return make([]byte, 5000) }},
		{"noise", func([]byte) []byte { return []byte(strings.Repeat("postern", 100)) }},
		{"a frame with a hole", func(f []byte) []byte { clear(f[len(f)/2:]); return f }},
		{"a frame of another length", func(f []byte) []byte { f[7]++; return append(f, 0) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(t, journalDir(t))
			j := open(t, cfg)
			appendMoved(t, j, statement(1))
			if err := j.Abandon(); err != nil {
				t.Fatal(err)
			}
			removeTail(t, cfg.Dir)
			path := filepath.Join(cfg.Dir, segmentNames(t, cfg.Dir)[0])
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			offsets, _, _, err := evidence.FrameOffsets(path)
			if err != nil {
				t.Fatal(err)
			}
			tail := tt.tail(append([]byte(nil), data[offsets[len(offsets)-1]:]...))
			if err := os.WriteFile(path, append(data, tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			closeJournal(t, open(t, cfg))
			if report := mustVerify(t, cfg, 4); report.Lost != int64(len(tail)) {
				t.Errorf("%d bytes are recorded as lost, want %d", report.Lost, len(tail))
			}
		})
	}
}

// TestRecoveryRefusesToForget: what a checkpoint speaks of was on disk before
// the checkpoint was; if it is gone, that was no crash.
func TestRecoveryRefusesToForget(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	appendRecord(t, j, statement(1))
	closeJournal(t, j)
	path := filepath.Join(cfg.Dir, segmentNames(t, cfg.Dir)[0])
	offsets, kinds, size, err := evidence.FrameOffsets(path)
	if err != nil {
		t.Fatal(err)
	}
	lastBlock := 0
	for i, kind := range kinds {
		if kind == 3 {
			lastBlock = i
		}
	}
	for _, cut := range []int64{0, offsets[1], offsets[2], offsets[lastBlock], offsets[lastBlock+1] - 1} {
		t.Run(fmt.Sprintf("%d of %d bytes", cut, size), func(t *testing.T) {
			after := cfg
			after.Dir = copyDir(t, cfg.Dir)
			if err := os.Truncate(filepath.Join(after.Dir, filepath.Base(path)), cut); err != nil {
				t.Fatal(err)
			}
			if _, err := evidence.Open(after); !errors.Is(err, evidence.ErrDamaged) {
				t.Errorf("got %v, want ErrDamaged", err)
			}
		})
	}
	t.Run("no segment", func(t *testing.T) {
		after := cfg
		after.Dir = copyDir(t, cfg.Dir)
		if err := os.Remove(filepath.Join(after.Dir, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
		if _, err := evidence.Open(after); !errors.Is(err, evidence.ErrDamaged) {
			t.Errorf("got %v, want ErrDamaged", err)
		}
	})
	t.Run("another block", func(t *testing.T) {
		after := cfg
		after.Dir = copyDir(t, cfg.Dir)
		err := evidence.RewriteRecords(filepath.Join(after.Dir, filepath.Base(path)), func(p []byte) []byte { return p })
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(after.Dir, "checkpoint"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(data), "\n")
		lines[2] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
		if err := os.WriteFile(filepath.Join(after.Dir, "checkpoint"), []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := evidence.Open(after); !errors.Is(err, evidence.ErrDamaged) {
			t.Errorf("got %v, want ErrDamaged", err)
		}
	})
}

// TestHashesAreMadeAgain loses, cuts or spoils the file of hashes.
func TestHashesAreMadeAgain(t *testing.T) {
	spoil := map[string]func(path string) error{
		"missing": os.Remove,
		"empty":   func(path string) error { return os.Truncate(path, 0) },
		"short":   func(path string) error { return os.Truncate(path, 33) },
		"longer": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.Write(make([]byte, 320))
			return errors.Join(err, f.Close())
		},
		"altered": func(path string) error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data[1] ^= 1
			return os.WriteFile(path, data, 0o600)
		},
	}
	for name, spoil := range spoil {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, journalDir(t))
			j := open(t, cfg)
			for i := range 5 {
				appendRecord(t, j, statement(i))
				if err := j.Seal(); err != nil {
					t.Fatal(err)
				}
				if i == 2 {
					if err := j.Rotate(false); err != nil {
						t.Fatal(err)
					}
				}
			}
			closeJournal(t, j)
			if err := spoil(filepath.Join(cfg.Dir, "hashes")); err != nil {
				t.Fatal(err)
			}
			closeJournal(t, open(t, cfg))
			mustVerify(t, cfg, 9)
			p, err := evidence.Prove(cfg.Dir, 3)
			if errors.Is(err, evidence.ErrDamaged) && name == "altered" {
				return // noticed when it is used, and not signed over
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := p.Verify(keys(t, cfg)); err != nil {
				t.Error(err)
			}
		})
	}
}

// childDir is the environment variable that makes the test binary a process
// that appends until it is killed.
const childDir = "POSTERN_TEST_JOURNAL"

// appendUntilKilled appends from several goroutines and prints the seq of each
// record once Append has returned.
func appendUntilKilled(dir string) {
	key, err := evidence.LoadKey(dir+".key", "orders")
	if err != nil {
		panic(err)
	}
	j, err := evidence.Open(evidence.Config{
		Dir: dir, Origin: origin, Key: key, BlockInterval: 3 * time.Millisecond, BlockRecords: 50, SegmentBytes: 256 << 10,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				seq, err := j.Append(statement(i%60), evidence.Process)
				if err != nil {
					panic(err)
				}
				fmt.Printf("%d\n", seq)
			}
		})
	}
	wg.Wait()
}

// TestKill kills a process that appends, with SIGKILL at a random time, again
// and again: every record whose Append had returned is in the journal.
func TestKill(t *testing.T) {
	cfg := config(t, journalDir(t))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var acknowledged uint64
	for range 8 {
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), childDir+"="+cfg.Dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		deadline := time.Duration(20+rand.IntN(120)) * time.Millisecond
		var timer *time.Timer
		for lines.Scan() {
			// Until the first checkpoint is signed nothing of a journal is proven.
			if _, err := os.Stat(filepath.Join(cfg.Dir, "checkpoint")); timer == nil && err == nil {
				timer = time.AfterFunc(deadline, func() { _ = cmd.Process.Kill() })
			}
			seq, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err != nil {
				break // the last line may be cut
			}
			acknowledged = max(acknowledged, seq)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the process ended by itself")
		}
		report := verify(t, cfg)
		if !report.OK() {
			t.Fatalf("findings: %v", report.Findings)
		}
		if report.Last < acknowledged {
			t.Fatalf("record %d was acknowledged, the journal ends with %d", acknowledged, report.Last)
		}
	}
	closeJournal(t, open(t, cfg))
	report := verify(t, cfg)
	if !report.OK() || report.Signed != report.Last {
		t.Fatalf("report %+v", report)
	}
	t.Logf("%d records, %d segments, %d blocks, %d bytes lost", report.Records, report.Segments, report.Blocks, report.Lost)
}
