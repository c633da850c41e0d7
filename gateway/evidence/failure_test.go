package evidence_test

import (
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
)

// TestWriteFailure fills the disk after each number of bytes: the record is
// refused, everything after it too, until there is room again.
func TestWriteFailure(t *testing.T) {
	for _, room := range []int{0, 1, 71, 72, 73, 200, 1000} {
		cfg := config(t, journalDir(t))
		j := open(t, cfg)
		appendRecord(t, j, statement(0))
		fault := &evidence.Fault{WriteLimit: room, WriteErr: syscall.ENOSPC}
		j.Inject(fault)
		var err error
		written := uint64(0)
		for i := 0; err == nil; i++ {
			if _, err = j.Append(statement(i), evidence.Process); err == nil {
				written++
			}
		}
		if !errors.Is(err, evidence.ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("room for %d bytes: got %v, want ErrFailed with the cause", room, err)
		}
		if _, err := j.Append(statement(1), evidence.Intent); !errors.Is(err, evidence.ErrFailed) || j.Err() == nil {
			t.Fatalf("room for %d bytes: the failed journal took a record", room)
		}
		if err := j.Recover(); err == nil {
			t.Fatalf("room for %d bytes: recovered with a full disk", room)
		}
		fault.WriteErr = nil
		if err := j.Recover(); err != nil {
			t.Fatalf("room for %d bytes: %v", room, err)
		}
		if j.Err() != nil {
			t.Fatalf("room for %d bytes: recovered with %v", room, j.Err())
		}
		appendRecord(t, j, statement(2))
		closeJournal(t, j)
		report := verify(t, cfg)
		if !report.OK() {
			t.Fatalf("room for %d bytes: %v", room, report.Findings)
		}
		// opened, 1, those that fitted, recovered (twice: the first may have fitted), 1, closed
		if least := 5 + written; report.Records < least || report.Records > least+1 {
			t.Fatalf("room for %d bytes: %d records, want %d", room, report.Records, least)
		}
	}
}

// TestSyncFailure: a record that must be on disk is refused if it cannot be
// known to be, and a later sync that succeeds proves nothing.
func TestSyncFailure(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	fault := &evidence.Fault{SyncErr: syscall.EIO}
	j.Inject(fault)
	appendRecord(t, j, statement(0))
	if _, err := j.Append(statement(1), evidence.Power); !errors.Is(err, evidence.ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v, want ErrFailed with the cause", err)
	}
	fault.SyncErr = nil
	if _, err := j.Append(statement(1), evidence.Power); !errors.Is(err, evidence.ErrFailed) {
		t.Fatalf("after a failed sync: got %v, want ErrFailed", err)
	}
	if err := j.Recover(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(statement(2), evidence.Power); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	// opened, 1, the one that was refused but written, recovered, 1, closed
	mustVerify(t, cfg, 6)
}

// TestFailureToStartASegment fails closed too.
func TestFailureToStartASegment(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	fault := &evidence.Fault{OpenErr: syscall.EMFILE}
	j.Inject(fault)
	if err := j.Rotate(false); !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("got %v", err)
	}
	if _, err := j.Append(statement(1), evidence.Process); !errors.Is(err, evidence.ErrFailed) {
		t.Fatalf("got %v, want ErrFailed", err)
	}
	fault.OpenErr = nil
	if err := j.Recover(); err != nil {
		t.Fatal(err)
	}
	appendRecord(t, j, statement(1))
	closeJournal(t, j)
	mustVerify(t, cfg, 4)
}

// TestRecoversByItself fails under load and recovers without being told.
func TestRecoversByItself(t *testing.T) {
	cfg := config(t, journalDir(t))
	cfg.BlockInterval = 2 * time.Millisecond
	j := open(t, cfg)
	j.Inject(&evidence.Fault{WriteLimit: 20_000, WriteErr: syscall.ENOSPC})
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed, written := 0, uint64(0)
	for range 4 {
		wg.Go(func() {
			for i := 0; i < 200 || j.Err() == nil; i++ {
				_, err := j.Append(statement(i%60), evidence.Process)
				mu.Lock()
				if err == nil {
					written++
				} else {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if j.Err() == nil {
		t.Fatalf("%d appends failed", failed)
	}
	j.Inject(&evidence.Fault{})
	for j.Err() != nil {
		time.Sleep(time.Millisecond)
	}
	appendRecord(t, j, statement(1))
	closeJournal(t, j)
	report := verify(t, cfg)
	if !report.OK() || report.Kinds[evidence.KindStatement] < written+1 {
		t.Errorf("%d statements were acknowledged; report %+v", written+1, report)
	}
}
