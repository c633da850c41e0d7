package evidence

import (
	"fmt"
	"os"
	"syscall"
)

// datasync is fdatasync: it spares writing the file's times.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != syscall.EINTR {
			return fmt.Errorf("fdatasync %s: %w", f.Name(), err)
		}
	}
}
