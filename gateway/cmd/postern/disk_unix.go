//go:build unix

package main

import "golang.org/x/sys/unix"

// diskSpace returns how many bytes of a directory's file system are free for
// this user, and how many there are.
func diskSpace(dir string) (free, total uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}
