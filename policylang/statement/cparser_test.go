package statement

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// TestStandardErrorStays looks at file descriptor 2 while texts are parsed: the
// C library can be built so that it points it elsewhere for the length of a
// call, which would lose what the process logs, and mix up calls at once.
func TestStandardErrorStays(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks at /proc")
	}
	before, err := os.Readlink("/proc/self/fd/2")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		sql := "select 1" + strings.Repeat(", 1", 20_000) // keeps the parser busy
		for range 5 {
			if _, _, err := parseC(sql); err != nil {
				t.Error(err)
			}
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
		}
		if now, err := os.Readlink("/proc/self/fd/2"); err != nil || now != before {
			t.Fatalf("file descriptor 2 is %s, was %s (%v)", now, before, err)
		}
	}
}

// TestParseAtOnce parses in many goroutines at once, good texts and bad ones:
// each has its own answer.
func TestParseAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				name := fmt.Sprintf("t%d_%d", g, i)
				tree, err := Parse("select * from "+name, Limits{})
				if err != nil || tree.Statements[0].Facts.Relations[0].Name != name {
					t.Errorf("%s: %v, %v", name, tree, err)
				}
				if _, err := Parse("select * frm "+name+" where", Limits{}); err == nil || !strings.Contains(err.Error(), name) && !strings.Contains(err.Error(), "syntax") {
					t.Errorf("%s: got %v", name, err)
				}
			}
		})
	}
	wg.Wait()
}
