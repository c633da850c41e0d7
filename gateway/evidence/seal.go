package evidence

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// sealer is what sealing needs.
type sealer struct {
	tree         tree      // the log
	hashes       *hashFile // its hashes, for proofs
	checkpointed uint64    // blocks that the newest checkpoint speaks of
	closed       bool
}

// sealLoop seals blocks, signs checkpoints, closes segments and recovers from
// failure until Close.
func (j *Journal) sealLoop() {
	defer close(j.done)
	ticker := time.NewTicker(j.cfg.BlockInterval)
	defer ticker.Stop()
	beat := heartbeat{since: j.cfg.Clock()}
	for {
		select {
		case <-j.stop:
			return
		case <-ticker.C:
			j.tick(&beat)
		case <-j.kick:
			j.keepUp()
		}
	}
}

// heartbeat knows since when no record was taken.
type heartbeat struct {
	next  uint64 // seq of the next record when it was looked last
	since time.Time
}

// tick is what the sealing loop does at each interval.
func (j *Journal) tick(beat *heartbeat) {
	if j.Err() != nil {
		j.logFailure("recover evidence journal", j.Recover())
		return
	}
	now, next := j.cfg.Clock(), j.nextSeq()
	if next != beat.next {
		*beat = heartbeat{next: next, since: now}
	}
	if now.Sub(beat.since) >= j.cfg.Heartbeat {
		_, err := j.Append(&Record{Kind: KindHeartbeat}, Process)
		j.logFailure("write heartbeat", err)
	}
	j.sealNow()
}

// keepUp makes room in the tail, and seals if there is a block's worth.
func (j *Journal) keepUp() {
	j.logFailure("write evidence", j.flushFull())
	if j.nextSeq()-1-j.sealed.Load() >= uint64(j.cfg.BlockRecords) {
		j.sealNow()
	}
}

func (j *Journal) nextSeq() uint64 {
	j.write.Lock()
	defer j.write.Unlock()
	return j.seq
}

// sealNow seals what is pending and, if that closed a segment that should be
// compacted, does that.
func (j *Journal) sealNow() {
	closed, compact, err := j.sealAndRotate(false)
	j.logFailure("seal evidence", err)
	if compact {
		_, err := j.rewrite(closed, nil)
		j.logFailure("compact a segment", err)
	}
}

func (j *Journal) logFailure(what string, err error) {
	if err != nil {
		j.cfg.Logger.LogAttrs(context.Background(), slog.LevelError, "evidence journal", slog.String("step", what), slog.Any("error", err))
	}
}

// A closed segment is compacted if its frames are shorter than this on average,
// in bytes, or if records came no faster than this, a second: then there is time
// for it.
const (
	compactBelow = 64 << 10
	compactRate  = 2000
)

// sealAndRotate seals what is pending and closes the segment if it is full or
// old, or, if force says so, holds any record. It returns the seq with which
// the segment that it closed begins, 0 if it closed none, and whether that
// should be compacted.
func (j *Journal) sealAndRotate(force bool) (closed uint64, compact bool, err error) {
	j.seal.Lock()
	defer j.seal.Unlock()
	if j.log.closed {
		return 0, false, ErrClosed
	}
	if err := j.sealPending(); err != nil {
		return 0, false, err
	}
	j.file.Lock()
	first := j.w.first
	age := j.cfg.Clock().Sub(j.w.opened)
	full := force || j.w.size >= j.cfg.SegmentBytes || age >= j.cfg.SegmentAge
	full = full && j.sealed.Load() >= first
	compact = j.w.size < j.w.frames*compactBelow || float64(j.w.moved-first) <= compactRate*age.Seconds()
	j.file.Unlock()
	if !full {
		return 0, false, nil
	}
	return first, compact, j.rotate()
}

// sealPending puts every record that there is into blocks and signs a
// checkpoint over them; those that come meanwhile wait for the next, however
// fast they come. The caller holds j.seal.
func (j *Journal) sealPending() error {
	last := j.nextSeq() - 1
	if err := j.flush(last); err != nil {
		return err
	}
	for {
		j.file.Lock()
		n := min(len(j.w.pending), j.cfg.BlockRecords)
		records, first, bundle := slices.Clone(j.w.pending[:n]), j.sealed.Load()+1, j.w.bundle
		j.file.Unlock()
		if first > last {
			return j.checkpoint()
		}
		// Hashed while statements go on being recorded.
		block := j.makeBlock(first, records, bundle)
		j.file.Lock()
		err := j.putBlock(&block)
		j.file.Unlock()
		if err != nil {
			return err
		}
	}
}

// makeBlock makes the header of a block of records.
func (j *Journal) makeBlock(first uint64, records []pendingRecord, bundle string) Block {
	var t tree
	from, to := records[0].at, records[0].at
	for _, r := range records {
		t.add(r.leaf)
		from, to = min(from, r.at), max(to, r.at)
		if r.bundle != "" {
			bundle = r.bundle
		}
	}
	return Block{
		V: Version, Origin: j.cfg.Origin, FirstSeq: first, Count: uint64(len(records)),
		From: time.UnixMicro(from).UTC(), To: time.UnixMicro(to).UTC(), Root: t.root(), Bundle: bundle,
	}
}

// putBlock writes a block and adds it to the log. The caller holds j.seal and
// j.file.
func (j *Journal) putBlock(b *Block) error {
	if err := j.usable(); err != nil {
		return err
	}
	payload, err := b.encode()
	if err != nil {
		return err
	}
	h := frameHeader{
		kind: frameBlock, count: uint32(b.Count), first: b.FirstSeq,
		from: b.From.UnixMicro(), to: b.To.UnixMicro(), root: b.Root,
	}
	if err := j.put(appendFrame(nil, h, payload)); err != nil {
		return err
	}
	j.w.pending = slices.Delete(j.w.pending, 0, int(b.Count))
	j.w.bundle = b.Bundle
	j.sealed.Store(b.Last())
	leaf := tlog.RecordHash(payload)
	j.log.tree.add(leaf)
	if err := j.log.hashes.append(leaf); err != nil {
		return j.fail(err)
	}
	return nil
}

// checkpoint signs the log as it is, unless the newest checkpoint does. It is
// put in its file only when all that it speaks of is on disk, so that after a
// crash nothing that it speaks of can be missing. The caller holds j.seal.
func (j *Journal) checkpoint() error {
	blocks := j.log.tree.size
	if blocks == j.log.checkpointed {
		return nil
	}
	c := Checkpoint{Origin: j.cfg.Origin, Blocks: blocks, Root: j.log.tree.root(), Records: j.sealed.Load(), Time: j.cfg.Clock()}
	signed, err := c.sign(j.cfg.Key.Signer)
	if err != nil {
		return err
	}
	at := c.Time.UnixMicro()
	j.file.Lock()
	err = j.usable()
	if err == nil {
		err = j.put(appendFrame(nil, frameHeader{kind: frameCheckpoint, first: blocks, from: at, to: at, root: c.Root}, signed))
	}
	j.file.Unlock()
	if err != nil {
		return err
	}
	if err := j.syncTo(j.written.Load()); err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(j.cfg.Dir, checkpointFile), signed, 0o644); err != nil {
		return j.fail(err)
	}
	j.log.checkpointed = blocks
	return nil
}

// rotate closes the segment, with its records sealed, and begins another, for
// what is in the tail. The caller holds j.seal.
func (j *Journal) rotate() error {
	j.file.Lock()
	defer j.file.Unlock()
	if err := j.usable(); err != nil {
		return err
	}
	for len(j.w.pending) > 0 { // those that came since sealPending
		block := j.makeBlock(j.sealed.Load()+1, j.w.pending[:min(len(j.w.pending), j.cfg.BlockRecords)], j.w.bundle)
		if err := j.putBlock(&block); err != nil {
			return err
		}
	}
	j.syncing.Lock()
	defer j.syncing.Unlock()
	old := j.w.file
	if err := old.Sync(); err != nil {
		j.s.err = err
		return j.fail(err)
	}
	if err := j.startSegment(j.sealed.Load() + 1); err != nil {
		return j.fail(err)
	}
	if err := old.Close(); err != nil {
		return j.fail(err)
	}
	return nil
}
