package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestCLI reads each testdata/cli/*.txtar: the files are put into a directory,
// each line of commands is run there, and transcript is what a person sees. A
// line is split at spaces, except in single quotes.
func TestCLI(t *testing.T) {
	files, err := filepath.Glob("testdata/cli/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			path, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			unpack(t, ar)
			transcript := runCommands(archived(ar, "commands"))
			if got, want := transcript, archived(ar, "transcript"); got != want {
				if !*update {
					t.Fatalf("got:\n%s\nwant:\n%s", got, want)
				}
				setArchived(ar, "transcript", got)
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func unpack(t *testing.T, ar *txtar.Archive) {
	t.Helper()
	for _, f := range ar.Files {
		if f.Name == "commands" || f.Name == "transcript" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.Name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func runCommands(commands string) string {
	var b strings.Builder
	for line := range strings.Lines(commands) {
		line = strings.TrimSuffix(line, "\n")
		b.WriteString("$ " + line + "\n" + runLine(line))
	}
	return b.String()
}

// runLine runs one command line, "cat FILE" or "< FILE command" among them, and
// returns what it prints.
func runLine(line string) string {
	words := splitWords(line)
	if words[0] == "cat" {
		data, err := os.ReadFile(words[1])
		if err != nil {
			return err.Error() + "\n"
		}
		return string(data)
	}
	var out bytes.Buffer
	cmd := rootCommand()
	if words[0] == "<" {
		data, err := os.ReadFile(words[1])
		if err != nil {
			return err.Error() + "\n"
		}
		cmd.SetIn(bytes.NewReader(data))
		words = words[2:]
	}
	cmd.SetArgs(words)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	if err := cmd.Execute(); err != nil {
		out.WriteString("postern: " + err.Error() + "\n")
	}
	return out.String()
}

// splitWords splits at spaces, except in single quotes.
func splitWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

func archived(ar *txtar.Archive, name string) string {
	for _, f := range ar.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func setArchived(ar *txtar.Archive, name, data string) {
	for i := range ar.Files {
		if ar.Files[i].Name == name {
			ar.Files[i].Data = []byte(data)
			return
		}
	}
	ar.Files = append(ar.Files, txtar.File{Name: name, Data: []byte(data)})
}
