package evidence

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
)

func TestCheckpointRoundTrips(t *testing.T) {
	_, key, err := GenerateKey("orders")
	if err != nil {
		t.Fatal(err)
	}
	want := Checkpoint{Origin: "gateway.example/orders", Blocks: 12, Records: 345, Time: time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)}
	want.Root[3] = 7
	signed, err := want.sign(key.Signer)
	if err != nil {
		t.Fatal(err)
	}
	verifiers, err := Verifiers("# ours\n\n" + key.Verifier + "\n")
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenCheckpoint(signed, verifiers)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checkpoint (-want +got):\n%s", diff)
	}
	const text = "gateway.example/orders\n12\nAAAABwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nrecords 345\ntime 2026-03-04T05:06:07.000008Z\n"
	if !strings.HasPrefix(string(signed), text+"\n— orders ") {
		t.Errorf("got\n%s\nwant\n%s", signed, text)
	}
}

func TestOpenCheckpointRefuses(t *testing.T) {
	_, key, err := GenerateKey("orders")
	if err != nil {
		t.Fatal(err)
	}
	verifiers, err := Verifiers(key.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	const good = "o\n12\nAAAABwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nrecords 345\ntime 2026-03-04T05:06:07.000008Z\n"
	tests := []struct{ name, text string }{
		{"line missing", strings.Replace(good, "records 345\n", "", 1)},
		{"line more", good + "more\n"},
		{"blocks with a zero before", strings.Replace(good, "12", "012", 1)},
		{"blocks negative", strings.Replace(good, "12", "-12", 1)},
		{"root short", strings.Replace(good, "AAAABwAA", "AAAA", 1)},
		{"root with other trailing bits", strings.Replace(good, "AAA=", "AAB=", 1)},
		{"records without word", strings.Replace(good, "records ", "", 1)},
		{"time in another form", strings.Replace(good, ".000008", "", 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			signed, err := note.Sign(&note.Note{Text: tt.text}, key.Signer)
			if err != nil {
				t.Fatal(err)
			}
			if c, err := OpenCheckpoint(signed, verifiers); err == nil || c != (Checkpoint{}) {
				t.Errorf("got %+v and error %v", c, err)
			}
		})
	}
	signed, err := note.Sign(&note.Note{Text: good}, key.Signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCheckpoint(signed, verifiers); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	signed[2] ^= 1
	if _, err := OpenCheckpoint(signed, verifiers); err == nil {
		t.Error("an altered checkpoint opens")
	}
	if _, err := OpenCheckpoint(make([]byte, maxCheckpoint+1), verifiers); err == nil {
		t.Error("a huge checkpoint opens")
	}
}

// FuzzCheckpoint: a text is read only if writing what was read gives it again.
func FuzzCheckpoint(f *testing.F) {
	f.Add("o\n12\nAAAABwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nrecords 345\ntime 2026-03-04T05:06:07.000008Z\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCheckpoint(text)
		if err != nil {
			if c != (Checkpoint{}) {
				t.Fatal("an error came with a checkpoint")
			}
			return
		}
		if c.text() != text {
			t.Fatalf("read %q, wrote %q", text, c.text())
		}
	})
}

func TestLoadKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "evidence.key")
	made, err := LoadKey(file, "orders")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file has mode %v", info.Mode())
	}
	again, err := LoadKey(file, "another name")
	if err != nil {
		t.Fatal(err)
	}
	if again.Verifier != made.Verifier || again.Signer.Name() != "orders" {
		t.Errorf("got %s, want %s", again.Verifier, made.Verifier)
	}

	secret, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, secret[:len(secret)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(file, "orders"); err == nil || strings.Contains(err.Error(), string(secret[20:40])) {
		t.Errorf("a cut key: got %v, want an error that does not show it", err)
	}
	if err := os.WriteFile(file, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	_, other, err := GenerateKey("orders")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".pub", []byte(other.Verifier), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(file, "orders"); err == nil {
		t.Error("halves of two keys are loaded")
	}
}

func TestVerifiersRefuses(t *testing.T) {
	for _, text := range []string{"", "# none\n", "orders+1234+AAAA", "junk"} {
		if _, err := Verifiers(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}
