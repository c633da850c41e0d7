package gateway

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGarbagePercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 1600, 4 << 20: 1600, 16 << 20: 400, 64 << 20: 100, 1 << 30: 100} {
		if got := garbagePercent(live); got != want {
			t.Errorf("%d MB live: %d, want %d", live>>20, got, want)
		}
	}
}

// TestFollowHeap has the percentage follow what is live, up and down.
func TestFollowHeap(t *testing.T) {
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	before := percent()
	defer debug.SetGCPercent(before)
	followHeap(debug.SetGCPercent(-1))
	becomes := func(what string, ok func(int) bool) {
		t.Helper()
		for range 100 {
			runtime.GC()
			if ok(percent()) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%s: %d %%", what, percent())
	}
	becomes("little is live", func(p int) bool { return p > 120 })
	func() {
		much := make([]byte, 256<<20)
		becomes("much is live", func(p int) bool { return p == 100 })
		runtime.KeepAlive(much)
	}()
	becomes("little is live again", func(p int) bool { return p > 120 })
}
