package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// recovery is what resuming found.
type recovery struct {
	unclean bool  // the journal was not closed in good order
	lost    int64 // bytes that were cut off
}

// resume continues the journal where the directory's files end, or begins it.
// live is what the tail holds if that is known better than by its file. The
// caller holds every lock, or is alone.
func (j *Journal) resume(live []tailRecord) (recovery, error) {
	last, r, err := j.lastSegment()
	if err != nil {
		return recovery{}, err
	}
	checkpoint, err := j.lastCheckpoint()
	if err != nil {
		return recovery{}, err
	}
	j.log.checkpointed = checkpoint.Blocks
	if last == nil {
		if checkpoint.Blocks > 0 {
			return recovery{}, fmt.Errorf("%w: its checkpoint speaks of %d records and there is none", ErrDamaged, checkpoint.Records)
		}
		if err := j.resumeLog(nil, checkpoint); err != nil {
			return recovery{}, err
		}
		if err := j.startSegment(1); err != nil {
			return recovery{}, err
		}
		last = &scanned{header: segmentHeader{FirstSeq: 1}, next: 1, clean: true}
	} else if err := j.resumeSegment(last, checkpoint); err != nil {
		return recovery{}, err
	}
	r.unclean = r.unclean || !last.clean
	r.lost += last.lost
	torn, err := j.resumeTail(last, live)
	if err != nil {
		return recovery{}, err
	}
	r.unclean = r.unclean || torn.unclean
	r.lost += torn.lost
	j.seq = last.next
	return r, nil
}

// resumeSegment goes on with the last segment.
func (j *Journal) resumeSegment(last *scanned, checkpoint Checkpoint) error {
	blocks := last.header.Blocks + uint64(len(last.blocks))
	if checkpoint.Blocks > blocks {
		return fmt.Errorf("%w: its checkpoint speaks of %d records in %d blocks; only %d records in %d blocks can be read",
			ErrDamaged, checkpoint.Records, checkpoint.Blocks, last.sealed, blocks)
	}
	if err := j.resumeLog(last, checkpoint); err != nil {
		return err
	}
	path := filepath.Join(j.cfg.Dir, segmentName(last.header.FirstSeq))
	if last.lost > 0 {
		if err := truncateFile(path, last.size); err != nil {
			return err
		}
	}
	file, err := j.open(path, false)
	if err != nil {
		return err
	}
	j.w.file, j.w.first, j.w.size, j.w.frames = file, last.header.FirstSeq, last.plain, last.frames
	j.w.opened = j.cfg.Clock()
	j.w.pending, j.w.moved, j.w.bundle = last.pending, last.next-1, last.bundle
	j.sealed.Store(last.sealed)
	j.s = syncer{file: file, synced: j.s.synced}
	return nil
}

// resumeTail moves what the tail holds into the segment that is open, and
// begins another tail. What it returns is to be added to what the segment lost.
func (j *Journal) resumeTail(last *scanned, live []tailRecord) (recovery, error) {
	path := filepath.Join(j.cfg.Dir, tailName)
	if j.tail.file != nil {
		_ = j.tail.file.Close() // it may have failed already
		j.tail.file = nil
	}
	var r recovery
	if live == nil {
		var err error
		if live, r.lost, err = readTail(path, last.next); err != nil {
			return recovery{}, err
		}
	}
	for i := range live {
		if live[i].seq < last.next {
			continue // it was moved before the journal failed
		}
		h, payload := tailFrame(live[i:])
		if err := last.records(&h, payload); err != nil {
			return recovery{}, fmt.Errorf("%w: %s: %w", ErrDamaged, tailName, err)
		}
		if err := j.put(appendFrame(nil, h, payload)); err != nil {
			return recovery{}, err
		}
		j.w.pending, j.w.moved = last.pending, last.next-1
		j.w.frames++
		r.unclean = true
		break
	}
	if torn := &last.torn; r.unclean && torn.kind == frameRecords && torn.first+uint64(torn.count) <= last.next {
		r.lost -= min(last.lost, frameHeaderSize+int64(torn.length)) // the tail had it too
	}
	if r.unclean {
		if j.s.err = j.w.file.Sync(); j.s.err != nil {
			return recovery{}, j.s.err
		}
	}
	for i := range j.tail.halves {
		j.tail.halves[i].reset()
	}
	var err error
	j.tail.file, err = j.openTail(path)
	r.unclean = r.unclean || r.lost > 0
	return r, err
}

// lastSegment scans the last segment, nil if there is none. One that a crash
// left without even a header is removed.
func (j *Journal) lastSegment() (*scanned, recovery, error) {
	var r recovery
	names, err := segments(j.cfg.Dir)
	if err != nil {
		return nil, r, err
	}
	for len(names) > 0 {
		first := names[len(names)-1]
		path := filepath.Join(j.cfg.Dir, segmentName(first))
		s, err := scanSegment(path)
		switch {
		case errors.Is(err, errNoHeader):
			info, err := os.Stat(path)
			if err != nil {
				return nil, r, err
			}
			if err := os.Remove(path); err != nil {
				return nil, r, err
			}
			r.unclean = true
			r.lost += info.Size()
			names = names[:len(names)-1]
			continue
		case err != nil:
			return nil, r, err
		case s.header.Origin != j.cfg.Origin:
			return nil, r, fmt.Errorf("the journal is that of %q, not of %q", s.header.Origin, j.cfg.Origin)
		case s.header.FirstSeq != first:
			return nil, r, fmt.Errorf("%w: %s begins with record %d", ErrDamaged, filepath.Base(path), s.header.FirstSeq)
		}
		return s, r, nil
	}
	return nil, r, nil
}

// lastCheckpoint reads the newest checkpoint, which was on disk only after
// everything that it speaks of. It is zero if there is none.
func (j *Journal) lastCheckpoint() (Checkpoint, error) {
	signed, err := os.ReadFile(filepath.Join(j.cfg.Dir, checkpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, nil
	}
	if err != nil {
		return Checkpoint{}, err
	}
	c, err := unverifiedCheckpoint(signed) // the key may have been replaced since
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if c.Origin != j.cfg.Origin {
		return Checkpoint{}, fmt.Errorf("the journal's checkpoint is that of %q, not of %q", c.Origin, j.cfg.Origin)
	}
	return c, nil
}

// resumeLog continues the log, and the file of its hashes, after the blocks that
// were read of the last segment. Up to the checkpoint the file is believed if it
// gives the checkpoint's root; else it is made again from every segment.
func (j *Journal) resumeLog(last *scanned, c Checkpoint) error {
	if j.log.hashes != nil {
		if err := j.log.hashes.f.Close(); err != nil {
			return err
		}
	}
	h, err := openHashes(j.cfg.Dir, true)
	if err != nil {
		return err
	}
	j.log.hashes = h
	known, err := h.tree(c.Blocks)
	if c.Blocks == 0 || err != nil || known.root() != c.Root || c.Blocks < last.header.Blocks {
		return j.rebuildLog(c)
	}
	if err := h.truncate(c.Blocks); err != nil {
		return err
	}
	j.log.tree = known
	return j.addBlocks(last.blocks[c.Blocks-last.header.Blocks:])
}

// addBlocks adds blocks that are in segments to the log.
func (j *Journal) addBlocks(leaves []tlog.Hash) error {
	for _, leaf := range leaves {
		j.log.tree.add(leaf)
		if err := j.log.hashes.append(leaf); err != nil {
			return err
		}
	}
	return nil
}

// rebuildLog reads the blocks of every segment, and compares them with the
// checkpoint.
func (j *Journal) rebuildLog(c Checkpoint) error {
	j.log.tree = tree{}
	if err := j.log.hashes.truncate(0); err != nil {
		return err
	}
	names, err := segments(j.cfg.Dir)
	if err != nil {
		return err
	}
	for _, first := range names {
		s, err := scanSegment(filepath.Join(j.cfg.Dir, segmentName(first)))
		if err != nil {
			return err
		}
		if s.header.Blocks != j.log.tree.size {
			return fmt.Errorf("%w: %s comes after %d blocks, %d are there", ErrDamaged, segmentName(first), s.header.Blocks, j.log.tree.size)
		}
		if err := j.addBlocks(s.blocks); err != nil {
			return err
		}
	}
	if c.Blocks == 0 {
		return nil
	}
	if t, err := j.log.hashes.tree(c.Blocks); err != nil || t.root() != c.Root {
		return fmt.Errorf("%w: its blocks are not those of its checkpoint", ErrDamaged)
	}
	return nil
}

// startSegment begins a segment. The caller holds j.seal, j.file and j.syncing,
// or is alone.
func (j *Journal) startSegment(first uint64) error {
	header := segmentHeader{
		V: Version, Origin: j.cfg.Origin, FirstSeq: first, Blocks: j.log.tree.size,
		Bundle: j.w.bundle, Time: j.cfg.Clock().UTC().Truncate(time.Microsecond),
	}
	payload, err := json.Marshal(&header)
	if err != nil {
		return fmt.Errorf("encode segment header: %w", err)
	}
	at := header.Time.UnixMicro()
	frame := appendFrame(nil, frameHeader{kind: frameSegment, first: first, from: at, to: at}, payload)
	file, err := j.open(filepath.Join(j.cfg.Dir, segmentName(first)), true)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, bytes.NewReader(frame)); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := errors.Join(file.Sync(), syncDir(j.cfg.Dir)); err != nil {
		return errors.Join(err, file.Close())
	}
	j.w.file, j.w.first, j.w.size, j.w.frames = file, first, int64(len(frame)), 0
	j.w.opened, j.w.moved = j.cfg.Clock(), first-1
	j.sealed.Store(first - 1)
	j.s = syncer{file: file, synced: j.written.Load()}
	return nil
}

// Recover tries to write again after a failure, as the journal itself does at
// each BlockInterval. It cuts off what was half-written and records that.
func (j *Journal) Recover() error {
	if j.Err() == nil {
		return nil
	}
	r, err := j.tryResume()
	if err != nil {
		return fmt.Errorf("recover evidence journal: %w", err)
	}
	if !r.unclean {
		return nil
	}
	return j.recordOpening(r)
}

func (j *Journal) tryResume() (recovery, error) {
	j.seal.Lock()
	defer j.seal.Unlock()
	j.file.Lock()
	defer j.file.Unlock()
	j.write.Lock()
	defer j.write.Unlock()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.log.closed {
		return recovery{}, ErrClosed
	}
	failure := j.failure.Load()
	if failure == nil {
		return recovery{}, nil // somebody else was faster
	}
	if j.s.err != nil {
		if err := j.rewriteLast(); err != nil {
			return recovery{}, err
		}
	}
	_ = j.w.file.Close() // it has failed already
	r, err := j.resume(j.tail.records())
	if err != nil {
		return recovery{}, err
	}
	r.unclean = true
	j.s.synced = j.written.Load()
	j.failure.Store(nil)
	return r, nil
}

// rewriteLast copies the last segment: after a sync has failed the kernel may
// show what is not on disk and never will be.
func (j *Journal) rewriteLast() error {
	names, err := segments(j.cfg.Dir)
	if err != nil || len(names) == 0 {
		return err
	}
	path := filepath.Join(j.cfg.Dir, segmentName(names[len(names)-1]))
	src, err := os.Open(path)
	if err != nil {
		return err
	}
	err = replaceFileFrom(path, 0o600, func(w io.Writer) error {
		_, err := io.Copy(w, src)
		return err
	})
	return errors.Join(err, src.Close())
}
