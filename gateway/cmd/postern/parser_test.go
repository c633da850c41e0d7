package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/internal/issuertest"
)

// asPostern, in the environment, makes the test binary the command itself.
const asPostern = "POSTERN_TEST_AS_COMMAND"

// asBrowser is the name under which it is a person's browser.
const asBrowser = "browser"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == asBrowser {
		if err := issuertest.Browse(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(asPostern) == "" {
		os.Exit(m.Run())
	}
	main()
}

// TestParserProbe runs the probe as the gateway does at its start.
func TestParserProbe(t *testing.T) {
	t.Setenv(asPostern, "1")
	if err := checkParser(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestParserProbeFails lets children die as the parser would kill them: the
// gateway says what is wrong, and lives.
func TestParserProbeFails(t *testing.T) {
	for name, script := range map[string]string{"killed": "kill -SEGV $$", "failed": "exit 1"} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "postern")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			err := runProbe(t.Context(), program)
			if err == nil || !strings.Contains(err.Error(), "stack size") {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := runProbe(t.Context(), filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("no error without a program")
	}
}
