package evidence_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/posternhq/postern/gateway/evidence"
)

func TestProveEveryRecord(t *testing.T) {
	cfg := config(t, journalDir(t))
	records := sealedJournal(t, cfg)
	for seq := uint64(1); seq <= records; seq++ {
		p, err := evidence.Prove(cfg.Dir, seq)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var again evidence.Proof
		if err := json.Unmarshal(data, &again); err != nil {
			t.Fatal(err)
		}
		r, c, err := again.Verify(keys(t, cfg))
		if err != nil {
			t.Fatalf("record %d: %v", seq, err)
		}
		if r.Seq != seq || c.Records != records {
			t.Errorf("the proof of record %d is of %d, under a checkpoint over %d", seq, r.Seq, c.Records)
		}
		again.Private = ""
		if r, _, err := again.Verify(keys(t, cfg)); err != nil || r.SQL != "" {
			t.Errorf("record %d without its private part: %v", seq, err)
		}
	}
	for _, seq := range []uint64{0, records + 1} {
		if _, err := evidence.Prove(cfg.Dir, seq); err == nil {
			t.Errorf("record %d has a proof", seq)
		}
	}
}

func TestProofRefuses(t *testing.T) {
	cfg := config(t, journalDir(t))
	sealedJournal(t, cfg)
	other := config(t, journalDir(t))
	tests := []struct {
		name  string
		alter func(p *evidence.Proof)
		keys  note.Verifiers
	}{
		{"record altered", func(p *evidence.Proof) { p.Record = strings.Replace(p.Record, "SELECT", "DELETE", 1) }, nil},
		{"private part altered", func(p *evidence.Proof) { p.Private = strings.Replace(p.Private, "SELECT", "DELETE", 1) }, nil},
		{"block altered", func(p *evidence.Proof) { p.Block = strings.Replace(p.Block, `"count":4`, `"count":5`, 1) }, nil},
		{"another index", func(p *evidence.Proof) { p.Index++ }, nil},
		{"index beyond the log", func(p *evidence.Proof) { p.Index = 1 << 62 }, nil},
		{"block path cut", func(p *evidence.Proof) { p.BlockPath = p.BlockPath[1:] }, nil},
		{"log path cut", func(p *evidence.Proof) { p.LogPath = p.LogPath[1:] }, nil},
		{"checkpoint altered", func(p *evidence.Proof) { p.Checkpoint = strings.Replace(p.Checkpoint, "records 26", "records 27", 1) }, nil},
		{"another key", func(*evidence.Proof) {}, keys(t, other)},
		{"empty", func(p *evidence.Proof) { *p = evidence.Proof{} }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := evidence.Prove(cfg.Dir, 11)
			if err != nil {
				t.Fatal(err)
			}
			before := *p
			tt.alter(p)
			trusted := tt.keys
			if trusted == nil {
				trusted = keys(t, cfg)
				if p.Record == before.Record && p.Private == before.Private && p.Block == before.Block && p.Checkpoint == before.Checkpoint &&
					p.Index == before.Index && len(p.BlockPath) == len(before.BlockPath) && len(p.LogPath) == len(before.LogPath) {
					t.Fatal("the test altered nothing")
				}
			}
			if r, _, err := p.Verify(trusted); err == nil || r != nil {
				t.Error("the proof verifies")
			}
		})
	}
}

func TestProveNotSealed(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	if err := j.Seal(); err != nil {
		t.Fatal(err)
	}
	seq := appendRecord(t, j, statement(1))
	if _, err := evidence.Prove(cfg.Dir, seq); !errors.Is(err, evidence.ErrNotSealed) {
		t.Errorf("got %v, want ErrNotSealed", err)
	}
	closeJournal(t, j)
}

func checkpoint(t *testing.T, cfg evidence.Config) (signed []byte, c evidence.Checkpoint) {
	t.Helper()
	signed, err := os.ReadFile(filepath.Join(cfg.Dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	c, err = evidence.OpenCheckpoint(signed, keys(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	return signed, c
}

func TestProveExtends(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	var seen []evidence.Checkpoint
	for i := range 7 {
		appendRecord(t, j, statement(i))
		if err := j.Seal(); err != nil {
			t.Fatal(err)
		}
		_, c := checkpoint(t, cfg)
		seen = append(seen, c)
	}
	closeJournal(t, j)
	for _, old := range append(seen, evidence.Checkpoint{Origin: origin}) {
		signed, proof, err := evidence.ProveExtends(cfg.Dir, old)
		if err != nil {
			t.Fatal(err)
		}
		c, err := evidence.OpenCheckpoint(signed, keys(t, cfg))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Extends(old, proof); err != nil {
			t.Errorf("from %d blocks to %d: %v", old.Blocks, c.Blocks, err)
		}
		if old.Blocks == 0 {
			continue
		}
		old.Root[0] ^= 1
		if c.Extends(old, proof) == nil {
			t.Errorf("from another log of %d blocks to %d: no error", old.Blocks, c.Blocks)
		}
	}
	shorter, longer := seen[0], seen[6]
	if shorter.Extends(longer, nil) == nil {
		t.Error("a checkpoint extends a longer one")
	}
	longer.Origin = "gateway.example/other"
	if longer.Extends(shorter, nil) == nil {
		t.Error("a checkpoint extends one of another log")
	}
}
