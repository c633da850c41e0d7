package livepolicy

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPacerRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		rested := func(worked time.Duration) time.Duration {
			time.Sleep(worked)
			began := time.Now()
			p.yield()
			return time.Since(began)
		}
		for _, tt := range []struct{ worked, rest time.Duration }{
			{time.Second, 0}, // before the first call nothing counts
			{slice / 2, 0},
			{slice / 2, restFor * slice},
			{2 * slice, 2 * restFor * slice},
			{time.Second, restMost}, // of which most was not ours
		} {
			if got := rested(tt.worked); got != tt.rest {
				t.Errorf("after %s of work it rests for %s, want %s", tt.worked, got, tt.rest)
			}
		}
	})
}
