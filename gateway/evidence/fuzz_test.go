package evidence_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/evidence"
)

// FuzzSegment: whatever a segment's bytes are, nothing panics; what is not the
// sealed bytes has findings; and what recovery accepts can be verified and
// searched, and goes on.
func FuzzSegment(f *testing.F) {
	cfg := config(f, journalDir(f))
	j := open(f, cfg)
	appendMoved(f, j, statement(1))
	long := statement(2)
	long.SQL = strings.Repeat("SELECT 1; ", 600) // is compressed
	appendMoved(f, j, long)
	if err := j.Abandon(); err != nil {
		f.Fatal(err)
	}
	const name = "00000000000000000001.pev"
	good, err := os.ReadFile(filepath.Join(cfg.Dir, name))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		after := cfg
		after.Dir = journalDir(t)
		if err := os.MkdirAll(after.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(after.Dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		readAll(after.Dir, evidence.Query{Newest: true})
		verify(t, after)
		_, _ = evidence.Prove(after.Dir, 1)
		j, err := evidence.Open(after)
		if err != nil {
			return
		}
		appendRecord(t, j, statement(2))
		closeJournal(t, j)
		for _, err := range evidence.Search(after.Dir, evidence.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if report := verify(t, after); !report.OK() {
			t.Fatalf("findings after recovery: %q", report.Findings)
		}
	})
}

// FuzzSealedPayload replaces what a frame of a sealed journal holds, checksum
// and root made good: unless the public lines are those that were sealed,
// Verify has findings.
func FuzzSealedPayload(f *testing.F) {
	cfg := config(f, journalDir(f))
	j := open(f, cfg)
	appendRecord(f, j, statement(1))
	closeJournal(f, j)
	const name = "00000000000000000001.pev"
	path := filepath.Join(cfg.Dir, name)
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	var sealed []byte
	err = evidence.RewriteRecords(path, func(p []byte) []byte {
		if bytes.Contains(p, []byte(`"seq":2,`)) {
			sealed = bytes.Clone(p)
		}
		return p
	})
	if err != nil {
		f.Fatal(err)
	}
	public, _, _ := bytes.Cut(sealed, []byte("\n"))
	f.Add(sealed)
	f.Add(append(bytes.Clone(public), '\n'))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		err := evidence.RewriteRecords(path, func(p []byte) []byte {
			if bytes.Equal(p, sealed) {
				return payload
			}
			return p
		})
		if err != nil {
			t.Fatal(err)
		}
		readAll(cfg.Dir, evidence.Query{})
		line, rest, _ := bytes.Cut(payload, []byte("\n"))
		same := bytes.Equal(line, public) && (len(rest) == 0 || bytes.HasPrefix(rest, []byte(`{"salt":`)))
		if report := verify(t, cfg); report.OK() && !same {
			t.Fatalf("%q verifies", payload)
		}
	})
}

// readAll searches for what a search does with bytes that are no journal.
func readAll(dir string, q evidence.Query) {
	for _, err := range evidence.Search(dir, q) {
		_ = err // any is right
	}
}
