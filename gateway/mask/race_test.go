//go:build race

package mask_test

// raceEnabled says that sync.Pool forgets on purpose.
const raceEnabled = true
