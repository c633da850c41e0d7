package evidence

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// behind is what a reader finds behind a segment that may be in use: the
// records of the journal's tail, as one frame.
type behind struct {
	path    string // of the tail, "" if the segment is not in use
	found   bool
	header  frameHeader
	payload []byte
	torn    int64 // bytes of a frame of the tail that is not whole
}

// openLive opens a journal's last segment, which may be in use. Behind the
// frames of the file comes one of the tail's records; its offset is the end of
// the file.
func openLive(dir string, first uint64) (*frameReader, error) {
	f, err := openFrames(filepath.Join(dir, segmentName(first)))
	if err == nil {
		f.following = first // if a crash left not even its header
		f.behind.path = filepath.Join(dir, tailName)
	}
	return f, err
}

// next returns the next frame. The payload is valid until the next call, and
// nil if want says that the frame is of no interest: then it is not checked
// either. The error is io.EOF at the end of the last frame; after any other
// error offset is still that of the frame that could not be read.
func (f *frameReader) next(want func(*frameHeader) bool) (frameHeader, []byte, error) {
	h, payload, err := f.inFile(want)
	for f.behind.path != "" && !f.behind.found && (errors.Is(err, io.EOF) || errors.Is(err, errTorn)) {
		grown, lookErr := f.lookBehind()
		switch {
		case lookErr != nil:
			return frameHeader{}, nil, lookErr
		case f.behind.found && want != nil && !want(&f.behind.header):
			return f.behind.header, nil, nil
		case f.behind.found:
			return f.behind.header, f.behind.payload, nil
		case !grown:
			return frameHeader{}, nil, err
		}
		h, payload, err = f.inFile(want)
	}
	return h, payload, err
}

// lookBehind reads the tail, at the end of the file. If the tail does not
// follow, its records may have been moved into the file: grown says whether
// there is more of that now. Records are in the file before they leave the
// tail, so one of the two has them.
func (f *frameReader) lookBehind() (grown bool, err error) {
	records, torn, err := readTail(f.behind.path, f.following)
	if err != nil {
		return false, err
	}
	f.behind.torn = torn
	if len(records) > 0 {
		f.behind.found = true
		f.behind.header, f.behind.payload = tailFrame(records)
		return false, nil
	}
	info, err := f.file.Stat()
	if err != nil {
		return false, fmt.Errorf("read frame: %w", err)
	}
	grown = info.Size() > f.size
	f.size = max(f.size, info.Size())
	return grown, nil
}
