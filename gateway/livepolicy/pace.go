package livepolicy

import "time"

// What a policy that is loaded beside statements takes of one processor: it
// works for a slice, and rests for as long as restFor slices.
const (
	slice    = 200 * time.Microsecond
	restFor  = 3
	restMost = 2 * time.Millisecond
)

// pacer spreads work over time. A gateway loads a policy while statements run:
// were it to work without a rest, what it takes of processors and, by its
// garbage, of the collector would be missing where each statement needs a
// little of them at once.
type pacer struct{ since time.Time }

// yield is to be called every few ten microseconds of work.
func (p *pacer) yield() {
	switch worked := time.Since(p.since); {
	case p.since.IsZero():
	case worked < slice:
		return
	default:
		time.Sleep(min(restFor*worked, restMost))
	}
	p.since = time.Now()
}
