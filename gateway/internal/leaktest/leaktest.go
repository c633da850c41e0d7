// Package leaktest fails the tests of a package that leave goroutines behind.
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
//
// A goroutine that is about to end is waited for: on a busy machine longer than
// goleak does, which gives up in half a second.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is for how long a goroutine may be about to end.
const patience = 30 * time.Second

// Main runs a package's tests and exits.
func Main(m *testing.M, ignore ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := Find(ignore...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Find returns an error that shows the goroutines that have not ended, but for
// those that are ignored.
func Find(ignore ...goleak.Option) error {
	for end := time.Now().Add(patience); ; {
		if err := goleak.Find(ignore...); err == nil || time.Now().After(end) {
			return err
		}
	}
}
