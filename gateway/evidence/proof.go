package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Proof shows that one record is in a journal whose checkpoint is signed,
// without the rest of the journal.
type Proof struct {
	Record     string           `json:"record"`            // the public line
	Private    string           `json:"private,omitempty"` // the private line; may be left out
	Block      string           `json:"block"`             // the header of its block
	BlockPath  tlog.RecordProof `json:"block_path"`        // from the record to the block's root
	Index      uint64           `json:"index"`             // of the block in the log
	LogPath    tlog.RecordProof `json:"log_path"`          // from the block to the log's root
	Checkpoint string           `json:"checkpoint"`        // signed
}

// ErrNotSealed says that a record is not under a checkpoint yet.
var ErrNotSealed = errors.New("the record is not under a checkpoint")

// Prove makes the proof of one record from a journal's directory.
func Prove(dir string, seq uint64) (*Proof, error) {
	p, err := prove(dir, seq)
	if err != nil {
		return nil, fmt.Errorf("prove record %d: %w", seq, err)
	}
	return p, nil
}

func prove(dir string, seq uint64) (*Proof, error) {
	names, err := segments(dir)
	if err != nil {
		return nil, err
	}
	var first uint64
	for _, n := range names {
		if n <= seq {
			first = n
		}
	}
	if first == 0 {
		return nil, errors.New("there is no such record")
	}
	p, err := proveInBlock(filepath.Join(dir, segmentName(first)), seq)
	if err != nil {
		return nil, err
	}
	signed, err := os.ReadFile(filepath.Join(dir, checkpointFile))
	if err != nil {
		return nil, err
	}
	c, err := unverifiedCheckpoint(signed)
	if err != nil {
		return nil, err
	}
	if c.Blocks <= p.Index {
		return nil, ErrNotSealed
	}
	hashes, err := openHashes(dir, false)
	if err != nil {
		return nil, err
	}
	defer hashes.close()
	if p.LogPath, err = tlog.ProveRecord(int64(c.Blocks), int64(p.Index), hashes); err != nil {
		return nil, err
	}
	if err := tlog.CheckRecord(p.LogPath, int64(c.Blocks), c.Root, int64(p.Index), tlog.RecordHash([]byte(p.Block))); err != nil {
		return nil, fmt.Errorf("%w: the file of hashes does not lead to the checkpoint; without it the journal makes it anew when it is opened", ErrDamaged)
	}
	p.Checkpoint = string(signed)
	return p, nil
}

// proveInBlock finds the record's block and fills in the lower half of its
// proof.
func proveInBlock(path string, seq uint64) (*Proof, error) {
	r, err := openFrames(path)
	if err != nil {
		return nil, err
	}
	defer r.close()
	w := proofWalk{seq: seq}
	for w.proof == nil {
		h, payload, err := r.next(nil)
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			return nil, ErrNotSealed
		}
		if err == nil {
			err = w.frame(&h, payload)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s at byte %d: %w", ErrDamaged, filepath.Base(path), r.offset, err)
		}
	}
	return w.proof, nil
}

// proofWalk looks for the block of a record.
type proofWalk struct {
	seq             uint64
	public, private []byte
	leaves          []tlog.Hash // of records that are in no block yet
	blocks          uint64      // before the next
	proof           *Proof
}

func (w *proofWalk) frame(h *frameHeader, payload []byte) error {
	switch h.kind {
	case frameSegment:
		var s scanned
		err := s.frame(h, payload)
		w.blocks = s.header.Blocks
		return err
	case frameRecords:
		leaf := newLeafHasher()
		seq := h.first
		for public, private := range pairs(payload) {
			if seq == w.seq {
				w.public, w.private = bytes.Clone(public), bytes.Clone(private)
			}
			w.leaves = append(w.leaves, leaf.hash(public))
			seq++
		}
		return nil
	case frameBlock:
		return w.block(payload)
	case frameCheckpoint:
		return nil
	}
	return errFrame
}

func (w *proofWalk) block(payload []byte) error {
	b, err := parseBlock(payload)
	if err != nil {
		return err
	}
	if b.Count > uint64(len(w.leaves)) {
		return fmt.Errorf("a block of %d records where %d are waiting", b.Count, len(w.leaves))
	}
	leaves := w.leaves[:b.Count]
	w.leaves = w.leaves[b.Count:]
	w.blocks++
	if w.seq < b.FirstSeq || w.seq > b.Last() {
		return nil
	}
	var hashes memoryHashes
	for i, leaf := range leaves {
		if hashes, err = hashes.append(int64(i), leaf); err != nil {
			return err
		}
	}
	path, err := tlog.ProveRecord(int64(b.Count), int64(w.seq-b.FirstSeq), hashes)
	if err != nil {
		return err
	}
	w.proof = &Proof{Record: string(w.public), Private: string(w.private), Block: string(payload), BlockPath: path, Index: w.blocks - 1}
	return nil
}

// Verify checks the proof and returns the record, and the checkpoint that
// covers it.
func (p *Proof) Verify(keys note.Verifiers) (*Record, Checkpoint, error) {
	r, c, err := p.verify(keys)
	if err != nil {
		return nil, Checkpoint{}, fmt.Errorf("verify proof: %w", err)
	}
	return r, c, nil
}

func (p *Proof) verify(keys note.Verifiers) (*Record, Checkpoint, error) {
	c, err := OpenCheckpoint([]byte(p.Checkpoint), keys)
	if err != nil {
		return nil, Checkpoint{}, err
	}
	b, err := parseBlock([]byte(p.Block))
	if err != nil {
		return nil, Checkpoint{}, err
	}
	if p.Index >= c.Blocks {
		return nil, Checkpoint{}, errors.New("the block is beyond the checkpoint")
	}
	if err := tlog.CheckRecord(p.LogPath, int64(c.Blocks), c.Root, int64(p.Index), tlog.RecordHash([]byte(p.Block))); err != nil {
		return nil, Checkpoint{}, fmt.Errorf("block: %w", err)
	}
	var private []byte
	if p.Private != "" {
		private = []byte(p.Private)
	}
	r, err := decodeRecord([]byte(p.Record), private)
	if err != nil {
		return nil, Checkpoint{}, err
	}
	if r.Origin != c.Origin || b.Origin != c.Origin || r.Seq < b.FirstSeq || r.Seq > b.Last() {
		return nil, Checkpoint{}, errors.New("the record is not of the block, or the block not of the log")
	}
	if err := tlog.CheckRecord(p.BlockPath, int64(b.Count), b.Root, int64(r.Seq-b.FirstSeq), tlog.RecordHash([]byte(p.Record))); err != nil {
		return nil, Checkpoint{}, fmt.Errorf("record: %w", err)
	}
	if err := checkCommitment([]byte(p.Record), private); err != nil {
		return nil, Checkpoint{}, err
	}
	return r, c, nil
}

// ProveExtends returns the newest checkpoint, signed, and the proof that its
// log extends an older one: what a witness wants before it signs too.
func ProveExtends(dir string, old Checkpoint) (signed []byte, proof tlog.TreeProof, err error) {
	signed, err = os.ReadFile(filepath.Join(dir, checkpointFile))
	if err != nil {
		return nil, nil, fmt.Errorf("prove checkpoint: %w", err)
	}
	c, err := unverifiedCheckpoint(signed)
	if err != nil {
		return nil, nil, fmt.Errorf("prove checkpoint: %w", err)
	}
	if old.Blocks == 0 || c.Blocks < old.Blocks {
		return signed, nil, nil // nothing to prove, or nothing that could be proven
	}
	hashes, err := openHashes(dir, false)
	if err != nil {
		return nil, nil, fmt.Errorf("prove checkpoint: %w", err)
	}
	defer hashes.close()
	proof, err = tlog.ProveTree(int64(c.Blocks), int64(old.Blocks), hashes)
	if err != nil {
		return nil, nil, fmt.Errorf("prove checkpoint: %w", err)
	}
	return signed, proof, nil
}

// Extends checks that c's log extends old's: nothing that old speaks of was
// changed or left out.
func (c *Checkpoint) Extends(old Checkpoint, proof tlog.TreeProof) error {
	switch {
	case c.Origin != old.Origin:
		return fmt.Errorf("the checkpoint is of %q, the older one of %q", c.Origin, old.Origin)
	case c.Blocks < old.Blocks || c.Records < old.Records:
		return fmt.Errorf("the checkpoint speaks of %d records, the older one of %d", c.Records, old.Records)
	case old.Blocks == 0:
		return nil
	}
	if err := tlog.CheckTree(proof, int64(c.Blocks), c.Root, int64(old.Blocks), old.Root); err != nil {
		return fmt.Errorf("the checkpoint does not extend the older one: %w", err)
	}
	return nil
}
