package netloop

import (
	"testing"
	"time"
)

// TestCrowded has connections served at their times, and asks when others are let
// run.
func TestCrowded(t *testing.T) {
	const ms = time.Millisecond
	p := patience{turn: 1}
	conns := make([]Conn, crowdMany)
	at := time.Duration(0)
	crowded := func(after time.Duration, served int) bool {
		for i := range served {
			p.serves(&conns[i])
			p.serves(&conns[i])
		}
		at += after
		return p.crowded(at)
	}
	for _, c := range []struct {
		what   string
		after  time.Duration
		served int
		want   bool
	}{
		{"few, however often", ms, crowdMany - 1, false},
		{"still few", ms, crowdMany - 1, false},
		{"many", ms, crowdMany, true},
		{"within the next turn", ms / 2, 1, true},
		{"which had few", ms, 1, false},
		{"many, but over a long time", 10 * ms, crowdMany, false},
		{"many again", ms, crowdMany, true},
	} {
		if got := crowded(c.after, c.served); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
	p.took(at, at+2*ms)
	at += 2 * ms
	if crowded(ms, crowdMany); crowded(ms, crowdMany) {
		t.Error("others had the processor for long, and get it again")
	}
	at += crowdPause
	if crowded(ms, crowdMany); !crowded(ms, crowdMany) {
		t.Error("others are never let run again")
	}
}
