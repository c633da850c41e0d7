package netloop_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/posternhq/postern/gateway/internal/netloop"
)

// TestManyAtOnce has a loop answer many at a time: with a ring, without, and
// with one that stops working.
func TestManyAtOnce(t *testing.T) {
	for name, before := range map[string]func(l *netloop.Loops, round int){
		"with a ring": func(*netloop.Loops, int) {},
		"without a ring": func(l *netloop.Loops, round int) {
			if round == 0 {
				l.WithoutRings()
			}
		},
		"a ring breaks": func(l *netloop.Loops, round int) {
			if round == 5 {
				l.BreakRings()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			loops := startLoops(t)
			loop := loops.Next()
			var clients []*served
			for round := range 10 {
				before(loops, round)
				if round == 0 {
					for range 50 {
						clients = append(clients, serve(t, loop, echo))
					}
				}
				failed := make(chan error, len(clients))
				for i, s := range clients {
					go func() { failed <- roundTrip(s.other, fmt.Sprintf("client %d, round %d", i, round)) }()
				}
				for range clients {
					if err := <-failed; err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// TestLastWords has a step write and close at once: what it wrote arrives.
func TestLastWords(t *testing.T) {
	s := serve(t, startLoops(t).Next(), func(s *served) bool {
		var buf [8]byte
		if _, err := s.conn.Read(buf[:]); netloop.WouldBlock(err) {
			return true
		}
		_, _ = s.conn.Write([]byte("the end"))
		_ = s.conn.Close()
		return false
	})
	if _, err := s.other.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(s.other); err != nil || string(got) != "the end" {
		t.Errorf("%q, %v", got, err)
	}
}
