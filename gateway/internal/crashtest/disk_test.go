package crashtest

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// fillDisk has this process's files not grow beyond what the store has at its
// start: writing more fails, as on a full disk.
func fillDisk() {
	signal.Ignore(syscall.SIGXFSZ)
	const most = 192 << 10
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: most, Max: most}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
