package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
)

// testJournal makes a small journal and returns how it was opened, so that it
// can be opened again, and its directory.
func testJournal(t *testing.T) (cfg evidence.Config) {
	t.Helper()
	base := t.TempDir()
	key, err := evidence.LoadKey(filepath.Join(base, "evidence.key"), "orders")
	if err != nil {
		t.Fatal(err)
	}
	cfg = evidence.Config{Dir: filepath.Join(base, "evidence"), Origin: "orders", Key: key, Logger: slog.New(slog.DiscardHandler)}
	appendTo(t, cfg,
		&evidence.Record{Kind: evidence.KindSessionStart, Identity: "ana", Session: "s_1", Database: "shop"},
		&evidence.Record{
			Kind: evidence.KindStatement, Identity: "ana", Session: "s_1", StmtNo: 1, Database: "shop", Command: "SELECT",
			Shape: "SELECT email FROM customers WHERE id = ?", SQL: "SELECT email FROM customers WHERE id = 4711",
			Relations: []evidence.Relation{{Name: "public.customers", Verb: "read"}},
			Effect:    "allow", Rules: []string{"reads"}, Bundle: "sha256:c9f2d9decc7f3c6612bc4d006c01261da43363f4c4135d4b0c6f51871d8ede48",
			Outcome: evidence.OutcomeCompleted, Rows: 1, Masked: []string{"email"},
		},
		&evidence.Record{
			Kind: evidence.KindDenied, Identity: "ana", Session: "s_1", StmtNo: 2, Database: "shop", Command: "DROP DATABASE",
			SQL: "DROP DATABASE \x1b[2Jshop", Effect: "deny", Rules: []string{"no_drop"}, Outcome: evidence.OutcomeRefused, SQLState: "42501",
		},
		&evidence.Record{Kind: evidence.KindStatement, Actor: "robot", Identity: "ana", Session: "s_1", StmtNo: 3, Command: "INSERT", Reason: "=cmd()", SQL: "INSERT INTO t VALUES (1)"},
		&evidence.Record{Kind: evidence.KindSessionEnd, Identity: "ana", Session: "s_1", StmtNo: 3, Outcome: evidence.OutcomeCompleted},
	)
	return cfg
}

func appendTo(t *testing.T, cfg evidence.Config, records ...*evidence.Record) {
	t.Helper()
	j, err := evidence.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		r.Time = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
		if _, err := j.Append(r, evidence.Process); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEvidenceSearch(t *testing.T) {
	cfg := testJournal(t)
	t.Setenv(envEvidence, cfg.Dir)
	t.Setenv("TZ", "UTC")
	tests := []struct {
		args []string
		want []string // in each line, in order
	}{
		{[]string{"--identity", "ana", "--kind", "statement,denied", "--command", "select"}, []string{
			"ana\tSELECT\tallow\treads\tcompleted 1 row masked email\tc9f2d9decc7f\tSELECT email FROM customers WHERE id = ?",
		}},
		{[]string{"--effect", "deny"}, []string{"ana\tdenied DROP DATABASE\tdeny\tno_drop\trefused 42501\t-\tDROP DATABASE "}},
		{[]string{"--identity", "robot"}, []string{"robot for ana\tINSERT\t\t-\t-"}},
		{[]string{"-n", "2"}, []string{"session_end\t\t-\tcompleted after 3 statements", "journal closed"}},
		{[]string{"--relation", "customers", "--since", "2026-03-04", "--until", "2026-03-04T06:00:00Z"}, []string{"SELECT"}},
		{[]string{"--text", "4711"}, []string{"SELECT"}},
		{[]string{"--kind", "heartbeat"}, nil},
		{[]string{"--since", "1h", "--identity", "ana"}, nil},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			got := run(t, evidenceCommand(), "", append([]string{"search"}, tt.args...)...)
			lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
			if got == "" {
				lines = nil
			}
			if len(lines) != len(tt.want) {
				t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(tt.want), got)
			}
			for i, want := range tt.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %d is %q, want %q in it", i, lines[i], want)
				}
			}
			if strings.Contains(got, "\x1b") {
				t.Error("a client's escape sequence reaches the terminal")
			}
		})
	}
	var records []evidence.Record
	if err := json.Unmarshal([]byte(run(t, evidenceCommand(), "", "search", "-o", "json", "--effect", "allow")), &records); err != nil {
		t.Fatal(err)
	}
	if len(records) != 1 || !strings.HasSuffix(records[0].SQL, "4711") {
		t.Errorf("JSON gives %+v", records)
	}
}

func TestEvidenceRefuses(t *testing.T) {
	cfg := testJournal(t)
	t.Setenv(envEvidence, "")
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no directory", []string{"search"}, "--dir"},
		{"directory is missing", []string{"search", "--dir", filepath.Join(cfg.Dir, "none")}, "no such file"},
		{"unknown kind", []string{"search", "--dir", cfg.Dir, "--kind", "deniedd"}, `did you mean "denied"?`},
		{"bad time", []string{"search", "--dir", cfg.Dir, "--since", "yesterday"}, `"yesterday" is not a time`},
		{"bad format", []string{"export", "--dir", cfg.Dir, "--format", "xml"}, "jsonl or csv"},
		{"bad number", []string{"prove", "--dir", cfg.Dir, "one"}, "not a record's number"},
		{"no such record", []string{"prove", "--dir", cfg.Dir, "99"}, "prove record 99"},
		{"proof without key", []string{"verify", "proof.json"}, "--key"},
		{"missing key", []string{"verify", "--dir", cfg.Dir, "--key", "none"}, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if out, err := execute(t, evidenceCommand(), "", tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q; output %q", err, tt.want, out)
			}
		})
	}
}

func TestEvidenceVerify(t *testing.T) {
	cfg := testJournal(t)
	public := filepath.Join(filepath.Dir(cfg.Dir), "evidence.key.pub")
	elsewhere := filepath.Join(t.TempDir(), "march.checkpoint")
	checkpoint, err := os.ReadFile(filepath.Join(cfg.Dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(elsewhere, checkpoint, 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, evidenceCommand(), "", "verify", "--dir", cfg.Dir, "--key", public, "--checkpoint", elsewhere)
	for _, want := range []string{
		"population  7 records, 1 to 7\n", "root        ", " over 1 block\n", "signed      up to record 7, by orders+", "key         " + public,
		"sessions    1 complete, 0 open, 0 interrupted\n", "result      verified\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if got := run(t, evidenceCommand(), "", "verify", "--dir", cfg.Dir); !strings.Contains(got, "the journal's own copy") {
		t.Errorf("it does not say whose key it trusts:\n%s", got)
	}

	segments, err := filepath.Glob(filepath.Join(cfg.Dir, "*.pev"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %q: %v", segments, err)
	}
	data, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("customers"))] ^= 1
	if err := os.WriteFile(segments[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := execute(t, evidenceCommand(), "", "verify", "--dir", cfg.Dir, "-o", "json")
	if err == nil || !strings.Contains(err.Error(), "finding") {
		t.Errorf("an altered journal gives %v", err)
	}
	var result verifyResult
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatal(err)
	}
	if result.Verified || result.Findings[0].Class != evidence.ClassFrame || result.Findings[0].Segment != filepath.Base(segments[0]) {
		t.Errorf("JSON gives %+v", result)
	}
}

func TestEvidenceProof(t *testing.T) {
	cfg := testJournal(t)
	public := filepath.Join(filepath.Dir(cfg.Dir), "evidence.key.pub")
	file := filepath.Join(t.TempDir(), "proof.json")
	for _, flag := range []string{"--public", "--public=false"} {
		proof := run(t, evidenceCommand(), "", "prove", "--dir", cfg.Dir, "3", flag)
		if strings.Contains(proof, "4711") != (flag != "--public") {
			t.Errorf("%s gives\n%s", flag, proof)
		}
		if err := os.WriteFile(file, []byte(proof), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := run(t, evidenceCommand(), "", "verify", file, "--key", public); !strings.Contains(got, "SELECT") || !strings.Contains(got, "verified: in a log of 7 records") {
			t.Errorf("got %q", got)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(proof, "customers", "cuckoos", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := execute(t, evidenceCommand(), "", "verify", file, "--key", public); err == nil {
			t.Error("an altered proof verifies")
		}
	}
}

func TestEvidenceExport(t *testing.T) {
	cfg := testJournal(t)
	lines := strings.Split(strings.TrimSpace(run(t, evidenceCommand(), "", "export", "--dir", cfg.Dir)), "\n")
	if len(lines) != 7 {
		t.Errorf("%d lines, want 7", len(lines))
	}
	for _, line := range lines {
		var r evidence.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Errorf("%v: %s", err, line)
		}
	}
	if got := run(t, evidenceCommand(), "", "export", "--dir", cfg.Dir, "--public"); strings.Contains(got, "4711") {
		t.Error("--public exports a constant")
	}
	rows, err := csv.NewReader(strings.NewReader(run(t, evidenceCommand(), "", "export", "--dir", cfg.Dir, "--format", "csv", "--identity", "robot"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || len(rows[0]) != len(rows[1]) || !strings.Contains(strings.Join(rows[1], "|"), "|'=cmd()|") {
		t.Errorf("CSV gives %q", rows)
	}
}

// TestEvidenceTail follows a journal while it is written.
func TestEvidenceTail(t *testing.T) {
	cfg := testJournal(t)
	if got := run(t, evidenceCommand(), "", "tail", "--dir", cfg.Dir, "-n", "1"); strings.Count(got, "\n") != 1 || !strings.Contains(got, "journal closed") {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		cmd := evidenceCommand()
		cmd.SetOut(w)
		cmd.SetArgs([]string{"tail", "-f", "-n", "1", "--dir", cfg.Dir, "--identity", "ana"})
		done <- cmd.ExecuteContext(ctx)
		_ = w.Close()
	}()
	var seen strings.Builder
	buf := make([]byte, 4096)
	read := func(want string) {
		t.Helper()
		for !strings.Contains(seen.String(), want) {
			n, err := r.Read(buf)
			if err != nil {
				t.Fatalf("%q never came: %v", want, err)
			}
			seen.Write(buf[:n])
		}
	}
	read("session_end")
	appendTo(t, cfg,
		&evidence.Record{Kind: evidence.KindStatement, Identity: "bob", Command: "SELECT", SQL: "select bob"},
		&evidence.Record{Kind: evidence.KindStatement, Identity: "ana", Command: "SELECT", SQL: "select late"})
	read("select late")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if strings.Contains(seen.String(), "select bob") {
		t.Error("a record that does not match is shown")
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	tests := []struct {
		text string
		want time.Time
	}{
		{"", time.Time{}},
		{"2026-03-01T10:00:00Z", time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)},
		{"2026-03-01", time.Date(2026, 3, 1, 0, 0, 0, 0, time.Local)},
		{"90m", now.Add(-90 * time.Minute)},
		{"7d", now.AddDate(0, 0, -7)},
	}
	for _, tt := range tests {
		if got, err := parseTime(tt.text, now); err != nil || !got.Equal(tt.want) {
			t.Errorf("%q is %v (%v), want %v", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"x", "-5m", "7.5d", "d"} {
		if _, err := parseTime(text, now); err == nil {
			t.Errorf("%q is a time", text)
		}
	}
}
