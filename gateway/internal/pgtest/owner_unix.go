package pgtest

import (
	"io/fs"
	"syscall"
)

// ownedByRoot reports whether a file in a directory that others may write to
// is root's.
func ownedByRoot(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid == 0
}
