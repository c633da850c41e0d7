package gateway

import (
	"testing"
	"time"
)

func TestLookups(t *testing.T) {
	var l lookups
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for i := range 10 {
		if !l.take("ana", 1, 10, now) {
			t.Fatalf("lookup %d of 10 was refused", i+1)
		}
	}
	steps := []struct {
		name     string
		identity string
		n        int
		after    time.Duration
		want     bool
	}{
		{"the eleventh", "ana", 1, 0, false},
		{"another identity", "ben", 1, 0, true},
		{"a tenth of an hour later, two", "ana", 2, 6 * time.Minute, false},
		{"and one", "ana", 1, 6 * time.Minute, true},
		{"which was the only one", "ana", 1, 6 * time.Minute, false},
		{"a day later no more than an hour's", "ana", 11, 24 * time.Hour, false},
		{"but those", "ana", 10, 24 * time.Hour, true},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			if got := l.take(s.identity, s.n, 10, now.Add(s.after)); got != s.want {
				t.Errorf("take = %t, want %t", got, s.want)
			}
		})
	}
}
