package statement

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// ProbeStack reads texts that nest as deep as the limit allows (3,000 if depth
// is 0), in the ways that take most of the C parser's stack, on the calling
// thread and on another. On a platform whose threads have too small a stack it
// ends the process, as such a text from a client would: run it once in a child
// process at start, and do not serve if the child does not return.
func ProbeStack(depth int) error {
	if depth <= 0 || depth > defaultMaxDepth {
		depth = defaultMaxDepth
	}
	runtime.LockOSThread() // keeps the other goroutine off this thread
	defer runtime.UnlockOSThread()
	other := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		other <- probe(depth)
	}()
	return errors.Join(<-other, probe(depth))
}

func probe(depth int) error {
	n := depth - 2 // the text and its innermost chain are levels too
	for _, sql := range []string{
		"select " + strings.Repeat("(select ", n) + "1" + strings.Repeat(")", n),
		"select " + strings.Repeat("xmlforest(", n) + "1" + strings.Repeat(" as a)", n),
		"select " + strings.Repeat("a[", n) + "1" + strings.Repeat("]", n),
		"select 1" + strings.Repeat(" operator(pg_catalog.+) 1", n-1),
	} {
		limits := Limits{MaxDepth: depth}.withDefaults()
		if err := check(sql, limits); err != nil {
			return fmt.Errorf("probe the parser's stack: %w", err)
		}
		// Deep trees may be too deep for their Go form, which is no harm.
		if _, _, err := parse(sql, limits); err != nil && err.Kind != TooDeep {
			return fmt.Errorf("probe the parser's stack: %w", err)
		}
	}
	return nil
}
