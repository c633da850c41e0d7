package statement

import (
	"os"
	"runtime"
	"sync"
	"testing"
)

// TestStandardErrorSurvives parses in many goroutines at once: the C library
// points file descriptor 2 elsewhere for the length of a call, and must always
// put it back.
func TestStandardErrorSurvives(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks at /proc")
	}
	before, err := os.Readlink("/proc/self/fd/2")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if _, err := Parse("select 1", Limits{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if after, err := os.Readlink("/proc/self/fd/2"); err != nil || after != before {
		t.Errorf("file descriptor 2 is %s, was %s (%v)", after, before, err)
	}
}
