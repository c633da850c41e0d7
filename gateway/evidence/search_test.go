package evidence_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
)

func TestSearch(t *testing.T) {
	cfg := config(t, journalDir(t))
	j := open(t, cfg)
	at := func(minute int) time.Time { return time.Date(2026, 3, 4, 5, minute, 0, 0, time.UTC) }
	for i, r := range []*evidence.Record{
		{Kind: evidence.KindSessionStart, Identity: "ana", Session: "s1", Database: "shop", Role: "app"},
		{
			Kind: evidence.KindStatement, Identity: "ana", Session: "s1", Database: "shop", Command: "SELECT", Effect: "allow",
			Rules: []string{"reads"}, Outcome: evidence.OutcomeCompleted, Shape: "SELECT ?", SQL: "SELECT 'needle'", Relations: []evidence.Relation{{Name: "public.orders", Verb: "read"}},
		},
		{
			Kind: evidence.KindDenied, Identity: "bob", Session: "s2", Database: "shop", Command: "DROP DATABASE", Effect: "deny",
			Rules: []string{"a", "no_drop"}, Outcome: evidence.OutcomeRefused,
		},
		{
			Kind: evidence.KindHeld, Identity: "ana", Session: "s1", Database: "ledger", Command: "DELETE", Effect: "hold", Approval: "ap_1",
			Relations: []evidence.Relation{{Name: "orders", Verb: "delete"}},
		},
		{Kind: evidence.KindStatement, Identity: "cid", Actor: "robot", Command: "SELECT", Relations: []evidence.Relation{{Name: "audit.orders", Verb: "read"}}},
	} {
		r.Time = at(i + 1)
		appendRecord(t, j, r) // seq i + 2
		if i == 2 {
			if err := j.Rotate(true); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name string
		q    evidence.Query
		want []uint64
	}{
		{"all but the journal's own", evidence.Query{AfterSeq: 1}, []uint64{2, 3, 4, 5, 6}},
		{"newest first", evidence.Query{AfterSeq: 1, Newest: true}, []uint64{6, 5, 4, 3, 2}},
		{"the newest two", evidence.Query{Newest: true, Limit: 2}, []uint64{6, 5}},
		{"the oldest two", evidence.Query{AfterSeq: 1, Limit: 2}, []uint64{2, 3}},
		{"after a seq in a later segment", evidence.Query{AfterSeq: 5}, []uint64{6}},
		{"from a time", evidence.Query{From: at(3), To: at(60)}, []uint64{4, 5, 6}},
		{"before a time", evidence.Query{From: at(0), To: at(3)}, []uint64{2, 3}},
		{"identity", evidence.Query{Identity: "ana"}, []uint64{2, 3, 5}},
		{"agent", evidence.Query{Identity: "robot"}, []uint64{6}},
		{"session", evidence.Query{Session: "s2"}, []uint64{4}},
		{"database", evidence.Query{Database: "ledger"}, []uint64{5}},
		{"role", evidence.Query{Role: "app"}, []uint64{2}},
		{"kinds", evidence.Query{Kinds: []evidence.Kind{evidence.KindHeld, evidence.KindDenied}}, []uint64{4, 5}},
		{"effect", evidence.Query{Effect: "deny"}, []uint64{4}},
		{"rule", evidence.Query{Rule: "no_drop"}, []uint64{4}},
		{"outcome", evidence.Query{Outcome: evidence.OutcomeCompleted}, []uint64{3}},
		{"command", evidence.Query{Command: "drop database"}, []uint64{4}},
		{"relation in any schema", evidence.Query{Relation: "orders"}, []uint64{3, 5, 6}},
		{"relation with schema", evidence.Query{Relation: "public.orders"}, []uint64{3, 5}},
		{"approval", evidence.Query{Approval: "ap_1"}, []uint64{5}},
		{"text of a statement", evidence.Query{Text: "NEEDLE"}, []uint64{3}},
		{"shape of a statement", evidence.Query{Text: "select ?"}, []uint64{3}},
		{"two fields", evidence.Query{Identity: "ana", Database: "shop"}, []uint64{2, 3}},
		{"nothing", evidence.Query{Identity: "nobody"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []uint64
			for _, r := range search(t, cfg.Dir, tt.q) {
				got = append(got, r.Seq)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got records %v, want %v", got, tt.want)
			}
		})
	}
	closeJournal(t, j)
}

// TestSearchWhileWriting ends quietly at a frame that is only half there.
func TestSearchWhileWriting(t *testing.T) {
	cfg := config(t, journalDir(t))
	sealedJournal(t, cfg)
	path := filepath.Join(cfg.Dir, segmentNames(t, cfg.Dir)[2])
	edit(t, path, func(data []byte) []byte { return append(data, data[:100]...) })
	for _, newest := range []bool{false, true} {
		if got := len(search(t, cfg.Dir, evidence.Query{Newest: newest})); got != 26 {
			t.Errorf("newest %v: found %d records, want 26", newest, got)
		}
	}
}

// TestSearchSaysWhatItCannotRead goes on with the next segment.
func TestSearchSaysWhatItCannotRead(t *testing.T) {
	cfg := config(t, journalDir(t))
	sealedJournal(t, cfg)
	path := filepath.Join(cfg.Dir, segmentNames(t, cfg.Dir)[1])
	offsets, _, _, err := evidence.FrameOffsets(path)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(data []byte) []byte { data[offsets[3]+90] ^= 1; return data })
	for _, newest := range []bool{false, true} {
		found, broken := 0, 0
		for r, err := range evidence.Search(cfg.Dir, evidence.Query{Newest: newest}) {
			switch {
			case err == nil && r != nil:
				found++
			case errors.Is(err, evidence.ErrDamaged):
				broken++
			default:
				t.Fatal(err)
			}
		}
		if broken != 1 || found < 19 {
			t.Errorf("newest %v: found %d records and %d errors", newest, found, broken)
		}
	}
}

func TestSearchWithoutAJournal(t *testing.T) {
	for _, err := range evidence.Search(filepath.Join(t.TempDir(), "none"), evidence.Query{}) {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want an error that says that there is nothing", err)
		}
	}
}
