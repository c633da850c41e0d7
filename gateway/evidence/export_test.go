package evidence

import (
	"errors"
	"io"
	"os"
)

// Fault makes the files of a journal fail.
type Fault struct {
	WriteLimit int   // bytes that can still be written; then WriteErr, after a part
	WriteErr   error // nil: writes work
	SyncErr    error // nil: syncs work
	OpenErr    error // nil: files can be opened
}

// Inject makes the journal's files fail as f says, from now on.
func (j *Journal) Inject(f *Fault) {
	j.file.Lock()
	defer j.file.Unlock()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.open = func(path string, create bool) (segmentFile, error) {
		if f.OpenErr != nil {
			return nil, f.OpenErr
		}
		file, err := openSegment(path, create)
		if err != nil {
			return nil, err
		}
		return &faultyFile{file, f}, nil
	}
	j.w.file = &faultyFile{j.w.file, f}
	j.s.file = j.w.file
}

type faultyFile struct {
	segmentFile
	f *Fault
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if f.f.WriteErr == nil {
		return f.segmentFile.Write(p)
	}
	n := min(len(p), f.f.WriteLimit)
	f.f.WriteLimit -= n
	n, err := f.segmentFile.Write(p[:n])
	if err == nil && n < len(p) {
		err = f.f.WriteErr
	}
	return n, err
}

func (f *faultyFile) Sync() error {
	if f.f.SyncErr != nil {
		return f.f.SyncErr
	}
	return f.segmentFile.Sync()
}

// Seal seals and signs what is pending, at once.
func (j *Journal) Seal() error {
	j.seal.Lock()
	defer j.seal.Unlock()
	return j.sealPending()
}

// Rotate closes the current segment, at once, and compacts it if asked.
func (j *Journal) Rotate(compact bool) error {
	first, _, err := j.sealAndRotate(true)
	if err != nil || !compact {
		return err
	}
	_, err = j.rewrite(first, nil)
	return err
}

// Flush moves what the tail holds into the segment.
func (j *Journal) Flush() error { return j.flush(j.nextSeq() - 1) }

// Abandon stops the journal as a crash would, but for the goroutine's end:
// nothing is moved, sealed, signed or recorded.
func (j *Journal) Abandon() error {
	close(j.stop)
	<-j.done
	j.seal.Lock()
	defer j.seal.Unlock()
	j.file.Lock()
	defer j.file.Unlock()
	j.write.Lock()
	defer j.write.Unlock()
	j.ended, j.w.closed, j.log.closed = true, true, true
	return j.closeFiles()
}

// FrameOffsets returns where the frames of a segment begin, and its length.
func FrameOffsets(path string) (offsets []int64, kinds []byte, size int64, err error) {
	r, err := openFrames(path)
	if err != nil {
		return nil, nil, 0, err
	}
	defer r.close()
	for {
		at := r.offset
		h, _, err := r.next(nil)
		if errors.Is(err, io.EOF) {
			return offsets, kinds, r.size, nil
		}
		if err != nil {
			return nil, nil, 0, err
		}
		offsets, kinds = append(offsets, at), append(kinds, byte(h.kind))
	}
}

// RewriteRecords replaces the payloads of a segment's records frames, with
// checksums and roots made good, as somebody would who may write the file but
// has not the key.
func RewriteRecords(path string, change func(payload []byte) []byte) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	offsets, _, size, err := FrameOffsets(path)
	if err != nil {
		return err
	}
	r, err := openFrames(path)
	if err != nil {
		return err
	}
	defer r.close()
	var out []byte
	for i, at := range offsets {
		end := size
		if i+1 < len(offsets) {
			end = offsets[i+1]
		}
		h, _, err := parseFrameHeader(data[at:])
		if err != nil {
			return err
		}
		if h.kind != frameRecords {
			out = append(out, data[at:end]...)
			continue
		}
		payload, err := r.at(at)
		if err != nil {
			return err
		}
		h.codec = codecPlain
		payload = change(payload)
		if payload == nil {
			continue
		}
		var t tree
		h.count = 0
		for public := range pairs(payload) {
			t.add(leafOf(public))
			h.count++
		}
		h.root = t.root()
		out = appendFrame(out, h, payload)
	}
	return os.WriteFile(path, out, 0o600)
}

// TailHalf is the length of each half of the tail.
const TailHalf = tailHalf

// WithoutMapping has the journal write its tail by system calls, as where a
// file cannot be mapped, from its next recovery on.
func (j *Journal) WithoutMapping() {
	j.write.Lock()
	defer j.write.Unlock()
	j.openTail = func(path string) (tailFile, error) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		return &writtenTail{File: f}, err
	}
}

// FailTail makes the tail's next store fail.
func (j *Journal) FailTail(err error) {
	j.write.Lock()
	defer j.write.Unlock()
	j.tail.file = failingTail{j.tail.file, err}
}

type failingTail struct {
	tailFile
	err error
}

func (t failingTail) put(int, []byte, []byte) error { return t.err }

// Fail makes the journal fail.
func (j *Journal) Fail(err error) { _ = j.fail(err) }

// ParseTail returns the seq of each record of a tail that follows next, and how
// many bytes are no whole frame.
func ParseTail(data []byte, next uint64) (seqs []uint64, torn int64) {
	records, torn := parseTail(data, next)
	for _, r := range records {
		seqs = append(seqs, r.seq)
	}
	return seqs, torn
}
