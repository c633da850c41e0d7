package evidence

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The names of a journal's files.
const (
	segmentSuffix  = ".pev"
	checkpointFile = "checkpoint"
	verifierFile   = "key.pub"
	hashesFile     = "hashes"
	tailName       = "tail"
	lockFile       = "lock"
	tempPattern    = ".tmp-*"
)

// segmentName is the name of the segment that starts with a record.
func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

// segments lists a journal's segments, by the seq of their first record.
func segments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok || len(digits) != 20 {
			continue
		}
		first, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			continue
		}
		out = append(out, first)
	}
	slices.Sort(out)
	return out, nil
}

// segmentFile is a segment that is being written.
type segmentFile interface {
	io.WriteCloser
	Sync() error
}

// openSegment opens a segment for appending; create demands that it be new.
func openSegment(path string, create bool) (segmentFile, error) {
	flags := os.O_WRONLY | os.O_APPEND
	if create {
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	return dataFile{f}, nil
}

// dataFile syncs a file's data and what is needed to read it back.
type dataFile struct{ *os.File }

func (f dataFile) Sync() error { return datasync(f.File) }

// truncateFile cuts a file and syncs it.
func truncateFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

// replaceFile writes a file so that readers, and a crash, find all of the old
// or all of the new.
func replaceFile(path string, data []byte, mode os.FileMode) error {
	return replaceFileFrom(path, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func replaceFileFrom(path string, mode os.FileMode, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempPattern)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one that counts
		}
	}()
	if err := errors.Join(write(f), f.Chmod(mode), f.Sync()); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeTemporary removes what a crash left half-written.
func removeTemporary(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, tempPattern))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}
