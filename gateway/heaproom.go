package gateway

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// leastGarbage is how much garbage may gather at least before it is collected,
// in bytes. By the runtime's own measure, as much as is live, a gateway with few
// sessions and a small policy would collect several times a second.
const leastGarbage = 64 << 20

// giveHeapRoom lets garbage gather in this process, unless GOGC says how much.
// GOMEMLIMIT bounds it as ever.
var giveHeapRoom = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" {
		followHeap(debug.SetGCPercent(-1))
	}
})

// followHeap sets the percentage of what is live that may gather as garbage, now
// and after each collection. It is percent now.
func followHeap(percent int) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	want := garbagePercent(live[0].Value.Uint64())
	if d := want - percent; d > want/10 || -d > want/10 { // setting it stops the world
		debug.SetGCPercent(want)
		percent = want
	}
	collected := new(struct{ _ *int }) // with a pointer, so that it has memory of its own
	runtime.AddCleanup(collected, followHeap, percent)
}

// garbagePercent is what GOGC should be while so many bytes are live.
func garbagePercent(live uint64) int {
	const atLeast, floor = 100, 4 << 20 // below which the runtime does not collect
	return max(atLeast, int(atLeast*leastGarbage/max(live, floor)))
}
