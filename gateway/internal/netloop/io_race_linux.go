//go:build race

package netloop

import (
	"errors"
	"syscall"
)

// The race detector knows what the package syscall's functions order.

func recv(fd int, b []byte) (int, syscall.Errno) {
	if len(b) == 0 {
		return 0, 0
	}
	for {
		n, err := syscall.Read(fd, b)
		if err == nil {
			return n, 0
		}
		if errno := number(err); errno != syscall.EINTR {
			return 0, errno
		}
	}
}

func send(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, err := syscall.Write(fd, b)
		if err == nil {
			return n, 0
		}
		if errno := number(err); errno != syscall.EINTR {
			return 0, errno
		}
	}
}

func number(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}
