package evidence

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
)

// mappedTail is a tail's file in memory: what is stored there is in the
// kernel's cache of the file, without a system call. It is allocated on disk
// beforehand, so that a store never finds the disk full.
type mappedTail struct {
	file *os.File
	mem  []byte
}

// mapTail allocates a tail's file and maps it, or makes do without where that
// is not possible.
func mapTail(f *os.File) (tailFile, error) {
	const size = 2 * tailHalf
	err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Fallocate(int(f.Fd()), 0, 0, size)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EIO) {
		return nil, fmt.Errorf("allocate %d bytes: %w", size, err)
	}
	if err != nil {
		return &writtenTail{File: f}, nil //nolint:nilerr // a file system that does not know how
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return &writtenTail{File: f}, nil //nolint:nilerr // it can be written
	}
	return &mappedTail{file: f, mem: mem}, nil
}

// put stores the body first: a frame that has its header is whole.
func (t *mappedTail) put(offset int, head, body []byte) (err error) {
	// Somebody may have cut the file, or the disk may fail.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("store into %s: %v", t.file.Name(), fault)
		}
	}()
	copy(t.mem[offset+len(head):], body)
	copy(t.mem[offset:], head)
	return nil
}

func (t *mappedTail) Close() error {
	return errors.Join(syscall.Munmap(t.mem), t.file.Close())
}
