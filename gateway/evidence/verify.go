package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Class is the class of a finding.
type Class string

// The classes of findings.
const (
	ClassFrame      Class = "frame"      // bytes that are no frame, or do not match their checksum
	ClassSegment    Class = "segment"    // a segment that is missing, or not this journal's
	ClassSequence   Class = "sequence"   // records that are missing, repeated or out of order
	ClassRecord     Class = "record"     // a record that is not one, or not as its frame says
	ClassPrivate    Class = "private"    // a private part that is not what its record committed to
	ClassBlock      Class = "block"      // records that are not those that were sealed
	ClassCheckpoint Class = "checkpoint" // a checkpoint that is not signed by a trusted key, or of another log
	ClassTruncated  Class = "truncated"  // a checkpoint speaks of more than there is
	ClassSession    Class = "session"    // a session with statements missing
)

// Finding is something that is wrong with a journal.
type Finding struct {
	Class   Class  `json:"class"`
	Segment string `json:"segment,omitempty"` // file name
	Offset  int64  `json:"offset"`            // of the frame in the segment, in bytes
	Seq     uint64 `json:"seq,omitempty"`     // of the record, or the first of the block
	Message string `json:"message"`
}

// String formats the finding on one line.
func (f Finding) String() string {
	s := string(f.Class) + ": "
	if f.Segment != "" {
		s += fmt.Sprintf("%s at byte %d: ", f.Segment, f.Offset)
	}
	return s + f.Message
}

// Report is what verifying a journal found.
type Report struct {
	Origin      string    `json:"origin"`
	Segments    int       `json:"segments"`
	First       uint64    `json:"first_seq"`
	Last        uint64    `json:"last_seq"`
	Records     uint64    `json:"records"` // the population
	From        time.Time `json:"from"`    // least time of a record
	To          time.Time `json:"to"`      // greatest time of a record
	Blocks      uint64    `json:"blocks"`  // leaves of the log
	Root        tlog.Hash `json:"root"`    // of the log
	Checkpoints uint64    `json:"checkpoints"`
	Signed      uint64    `json:"signed"`   // seq of the last record under a verified checkpoint; records after it can still be changed unseen
	Keys        []string  `json:"keys"`     // names and hashes of the keys that signed
	Redacted    uint64    `json:"redacted"` // records without their private part
	Lost        int64     `json:"lost"`     // bytes that crashes cost, as the journal says
	Unread      int64     `json:"unread"`   // bytes at the end that are no whole frame: it is being written, was when the gateway died, or its length was changed

	Kinds    map[Kind]uint64 `json:"kinds"`
	Sessions Sessions        `json:"sessions"`

	Findings []Finding `json:"findings"`
	More     int       `json:"more_findings"` // findings beyond those listed
}

// Sessions counts sessions by how they ended.
type Sessions struct {
	Complete    uint64 `json:"complete"`    // ended, with a record of each statement
	Open        uint64 `json:"open"`        // had not ended
	Interrupted uint64 `json:"interrupted"` // cut off when the gateway died
}

// OK reports whether nothing is wrong.
func (r *Report) OK() bool { return len(r.Findings) == 0 }

// maxFindings bounds how many findings are listed.
const maxFindings = 100

// Verify reads a whole journal and checks everything: checksums; that seq has
// no gap; each block's Merkle root and each private part's commitment; the log
// of blocks and each checkpoint over it, which must be signed by one of the
// keys; the newest checkpoint, and those in known, which were kept elsewhere;
// and that each session that ended has a record of each of its statements. It
// goes on after a finding. The error is about reading, not about what was read.
//
// Only a checkpoint that was kept elsewhere shows that nothing was cut off at
// the end and signed anew. A journal whose first segments were moved away is
// verified from where it begins.
func Verify(dir string, keys note.Verifiers, known ...[]byte) (*Report, error) {
	v := &verifier{
		dir: dir, keys: keys, known: map[uint64][]Checkpoint{}, leaf: newLeafHasher(),
		sessions: sessionLedger{sessions: map[string]*sessionState{}},
		report:   &Report{Kinds: map[Kind]uint64{}},
	}
	if err := v.run(known); err != nil {
		return nil, fmt.Errorf("verify evidence: %w", err)
	}
	return v.report, nil
}

type verifier struct {
	dir    string
	keys   note.Verifiers
	known  map[uint64][]Checkpoint // by size of the log; those not met yet
	report *Report
	leaf   *leafHasher

	begun    bool // a record or block was met
	whole    bool // the journal is here from its first record
	log      tree
	broken   bool // the log is known not to be the one that was signed
	pending  []pendingSeq
	sealed   uint64 // last record that is in a block
	bundle   string
	sessions sessionLedger

	segment string
	offset  int64
}

// pendingSeq is a record that waits for its block.
type pendingSeq struct {
	seq uint64
	pendingRecord
}

func (v *verifier) find(class Class, seq uint64, format string, args ...any) {
	if len(v.report.Findings) == maxFindings {
		v.report.More++
		return
	}
	v.report.Findings = append(v.report.Findings, Finding{
		Class: class, Segment: v.segment, Offset: v.offset, Seq: seq, Message: fmt.Sprintf(format, args...),
	})
}

func (v *verifier) run(known [][]byte) error {
	for _, signed := range known {
		c, err := OpenCheckpoint(signed, v.keys)
		if err != nil {
			v.find(ClassCheckpoint, 0, "a checkpoint that was kept elsewhere: %v", err)
			continue
		}
		v.known[c.Blocks] = append(v.known[c.Blocks], c)
	}
	newest, err := v.newestCheckpoint()
	if err != nil {
		return err
	}
	names, err := segments(v.dir)
	if err != nil {
		return err
	}
	v.report.Segments = len(names)
	for _, first := range names {
		if err := v.readSegment(first, first == names[len(names)-1]); err != nil {
			return err
		}
	}
	v.segment, v.offset = "", 0
	v.report.Blocks, v.report.Root = v.log.size, v.log.root()
	v.finish(newest)
	return nil
}

// newestCheckpoint adds the journal's newest checkpoint to those known.
func (v *verifier) newestCheckpoint() (blocks uint64, err error) {
	signed, err := os.ReadFile(filepath.Join(v.dir, checkpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	v.segment = checkpointFile
	c, err := OpenCheckpoint(signed, v.keys)
	if err != nil {
		v.find(ClassCheckpoint, 0, "the newest checkpoint: %v", err)
		return 0, nil
	}
	v.report.Origin = c.Origin
	v.known[c.Blocks] = append(v.known[c.Blocks], c)
	return c.Blocks, nil
}

// finish looks at what only the end shows.
func (v *verifier) finish(newest uint64) {
	for size, list := range v.known {
		if size <= v.log.size {
			continue // of before the journal begins here
		}
		for _, c := range list {
			v.find(ClassTruncated, c.Records, "a checkpoint signed at %s speaks of %d records in %d blocks; here are %d blocks",
				c.Time.Format(time.RFC3339), c.Records, c.Blocks, v.log.size)
		}
	}
	if newest == 0 && v.log.size > 0 && v.report.Checkpoints == 0 {
		v.find(ClassCheckpoint, 0, "no checkpoint signs these %d blocks", v.log.size)
	}
	v.report.Sessions = v.sessions.counts
	v.report.Sessions.Open = uint64(len(v.sessions.sessions))
	v.report.Keys = distinct(v.report.Keys)
}

func (v *verifier) readSegment(first uint64, last bool) error {
	v.segment, v.offset = segmentName(first), 0
	r, err := v.open(first, last)
	if err != nil {
		return err
	}
	defer r.close()
	header := false
	for {
		v.offset = r.offset
		h, payload, err := r.next(nil)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errTorn) && last:
			// No finding: a gateway that writes, or died writing, leaves the
			// same. What it may hide is what no checkpoint covers.
			v.report.Unread = r.size - r.offset + r.behind.torn
			return nil
		case errors.Is(err, errChecksum) && r.skip():
			v.find(ClassFrame, 0, "a frame does not match its checksum")
			continue
		case errors.Is(err, errTorn), errors.Is(err, errChecksum), errors.Is(err, errFrame):
			v.find(ClassFrame, 0, "%v; what follows in the segment cannot be read", err)
			return nil
		case err != nil:
			return err
		}
		if r.behind.found {
			v.segment, v.offset = tailName, 0
			v.records(&h, payload)
			v.segment = segmentName(first)
			continue
		}
		if (h.kind == frameSegment) == header {
			v.find(ClassSegment, 0, "the header of the segment is missing or repeated")
		}
		header = true
		v.frame(first, &h, payload)
	}
}

func (v *verifier) open(first uint64, last bool) (*frameReader, error) {
	if last {
		return openLive(v.dir, first)
	}
	return openFrames(filepath.Join(v.dir, segmentName(first)))
}

func (v *verifier) frame(first uint64, h *frameHeader, payload []byte) {
	switch h.kind {
	case frameSegment:
		v.header(first, payload)
	case frameRecords:
		v.records(h, payload)
	case frameBlock:
		v.block(payload)
	case frameCheckpoint:
		v.checkpoint(payload)
	}
}

func (v *verifier) header(first uint64, payload []byte) {
	var s segmentHeader
	if err := json.Unmarshal(payload, &s); err != nil || s.V != Version {
		v.find(ClassSegment, first, "the header cannot be read")
		return
	}
	if s.FirstSeq != first {
		v.find(ClassSegment, first, "the file is named for record %d, its header for %d", first, s.FirstSeq)
	}
	if !v.begun {
		v.begin(&s)
		return
	}
	if s.Origin != v.report.Origin {
		v.find(ClassSegment, first, "the segment is of %q, not of %q", s.Origin, v.report.Origin)
	}
	switch {
	case first > v.report.Last+1:
		v.find(ClassSegment, first, "records %d to %d are missing between two segments", v.report.Last+1, first-1)
		v.report.Last = first - 1
	case first <= v.report.Last:
		v.find(ClassSegment, first, "the segment begins with record %d, which was read before", first)
	}
	if s.Blocks != v.log.size && !v.broken {
		v.find(ClassSegment, first, "the segment comes after %d blocks, %d were read", s.Blocks, v.log.size)
		v.broken = true
	}
}

// begin starts with the first segment. If others were before it, the log so far
// is what the file of hashes says, which the next checkpoint will confirm or
// not.
func (v *verifier) begin(s *segmentHeader) {
	v.begun = true
	v.whole = s.FirstSeq == 1 && s.Blocks == 0
	if v.report.Origin == "" {
		v.report.Origin = s.Origin
	}
	if s.Origin != v.report.Origin {
		v.find(ClassSegment, s.FirstSeq, "the segment is of %q, not of %q", s.Origin, v.report.Origin)
	}
	v.report.First, v.report.Last, v.sealed, v.bundle = s.FirstSeq, s.FirstSeq-1, s.FirstSeq-1, s.Bundle
	if v.whole {
		return
	}
	if err := v.resumeLog(s.Blocks); err != nil {
		v.find(ClassSegment, s.FirstSeq, "the %d blocks before the first segment are not known: %v", s.Blocks, err)
		v.broken = true
	}
}

// resumeLog takes the log as it was after some blocks from the file of hashes.
func (v *verifier) resumeLog(blocks uint64) error {
	h, err := openHashes(v.dir, false)
	if err != nil {
		return err
	}
	defer h.close()
	v.log, err = h.tree(blocks)
	return err
}

func (v *verifier) records(h *frameHeader, payload []byte) {
	var frame tree
	seq := h.first
	for public, private := range pairs(payload) {
		frame.add(v.leaf.hash(public))
		v.record(seq, public, private)
		seq++
	}
	if seq-h.first != uint64(h.count) {
		v.find(ClassRecord, h.first, "the frame holds %d records and says %d", seq-h.first, h.count)
	}
	if frame.root() != h.root {
		v.find(ClassRecord, h.first, "records %d to %d are not those of the frame's root", h.first, seq-1)
	}
}

func (v *verifier) record(seq uint64, public, private []byte) {
	var p publicRecord
	if err := json.Unmarshal(public, &p); err != nil || p.V != Version {
		v.find(ClassRecord, seq, "record %d cannot be read", seq)
		return
	}
	r := &p.Record
	if r.Seq != seq {
		v.find(ClassSequence, seq, "record %d stands where %d should be", r.Seq, seq)
	}
	switch want := v.report.Last + 1; {
	case r.Seq > want:
		v.find(ClassSequence, want, "records %d to %d are missing", want, r.Seq-1)
	case r.Seq < want:
		v.find(ClassSequence, r.Seq, "record %d comes after record %d", r.Seq, v.report.Last)
	}
	v.report.Last = max(v.report.Last, r.Seq)
	if r.Origin != v.report.Origin {
		v.find(ClassRecord, r.Seq, "record %d is of %q, not of %q", r.Seq, r.Origin, v.report.Origin)
	}
	v.private(&p, private)
	v.count(r)
	v.pending = append(v.pending, pendingSeq{r.Seq, pendingRecord{leaf: v.leaf.hash(public), at: r.Time.UnixMicro(), bundle: r.Bundle}})
	if problem := v.sessions.add(r, v.whole); problem != "" {
		v.find(ClassSession, r.Seq, "%s", problem)
	}
}

func (v *verifier) private(p *publicRecord, private []byte) {
	switch {
	case len(p.Private) == 0 && private != nil:
		v.find(ClassPrivate, p.Seq, "record %d has a private part that it did not commit to", p.Seq)
	case len(p.Private) > 0 && private == nil:
		v.report.Redacted++
	case private != nil:
		if sum := sha256.Sum256(private); !bytes.Equal(sum[:], p.Private) {
			v.find(ClassPrivate, p.Seq, "the private part of record %d was altered", p.Seq)
		}
	}
}

func (v *verifier) count(r *Record) {
	v.report.Records++
	v.report.Kinds[r.Kind]++
	if v.report.From.IsZero() || r.Time.Before(v.report.From) {
		v.report.From = r.Time
	}
	if r.Time.After(v.report.To) {
		v.report.To = r.Time
	}
	if r.Kind == KindJournal && r.Command == JournalRecovered {
		v.report.Lost += r.Bytes
	}
}

func (v *verifier) block(payload []byte) {
	v.log.add(tlog.RecordHash(payload))
	v.meet()
	b, err := parseBlock(payload)
	if err != nil {
		v.find(ClassBlock, 0, "%v", err)
		return
	}
	if b.Origin != v.report.Origin {
		v.find(ClassBlock, b.FirstSeq, "the block is of %q, not of %q", b.Origin, v.report.Origin)
	}
	if b.FirstSeq != v.sealed+1 {
		v.find(ClassBlock, b.FirstSeq, "a block begins with record %d, the one before ended with %d", b.FirstSeq, v.sealed)
	}
	v.sealed = b.Last()
	if message := v.checkBlock(&b); message != "" {
		v.find(ClassBlock, b.FirstSeq, "records %d to %d: %s", b.FirstSeq, b.Last(), message)
	}
	v.bundle = b.Bundle
}

// checkBlock compares a block with its records, which it takes from those that
// wait.
func (v *verifier) checkBlock(b *Block) string {
	var t tree
	var from, to int64
	bundle, rest := v.bundle, v.pending[:0]
	for _, p := range v.pending {
		if p.seq > b.Last() {
			rest = append(rest, p)
			continue
		}
		if p.seq < b.FirstSeq {
			continue // reported with its own block
		}
		if t.size == 0 {
			from, to = p.at, p.at
		}
		from, to = min(from, p.at), max(to, p.at)
		if p.bundle != "" {
			bundle = p.bundle
		}
		t.add(p.leaf)
	}
	v.pending = rest
	switch {
	case t.size != b.Count:
		return fmt.Sprintf("%d records were sealed, %d are here", b.Count, t.size)
	case t.root() != b.Root:
		return "they are not the records that were sealed"
	case from != b.From.UnixMicro() || to != b.To.UnixMicro() || bundle != b.Bundle:
		return "the block's header does not describe them"
	}
	return ""
}

func (v *verifier) checkpoint(signed []byte) {
	c, err := OpenCheckpoint(signed, v.keys)
	if err != nil {
		v.find(ClassCheckpoint, v.sealed, "%v", err)
		return
	}
	if c.Origin != v.report.Origin {
		v.find(ClassCheckpoint, v.sealed, "the checkpoint is of %q, not of %q", c.Origin, v.report.Origin)
		return
	}
	v.report.Checkpoints++
	if n, err := note.Open(signed, v.keys); err == nil {
		for _, s := range n.Sigs {
			v.report.Keys = append(v.report.Keys, fmt.Sprintf("%s+%08x", s.Name, s.Hash))
		}
		v.report.Keys = distinct(v.report.Keys)
	}
	v.compare(&c)
}

// meet compares the log with the checkpoints that were known of this size.
func (v *verifier) meet() {
	for _, c := range v.known[v.log.size] {
		v.compare(&c)
	}
	delete(v.known, v.log.size)
}

// compare compares the log with a checkpoint over it. After one difference
// every checkpoint differs, and none is reported any more.
func (v *verifier) compare(c *Checkpoint) {
	switch {
	case v.broken:
	case c.Blocks != v.log.size:
		v.find(ClassCheckpoint, c.Records, "a checkpoint over %d blocks stands after %d", c.Blocks, v.log.size)
		v.broken = true
	case c.Root != v.log.root():
		v.find(ClassCheckpoint, c.Records, "the blocks up to record %d are not those that were signed at %s", c.Records, c.Time.Format(time.RFC3339))
		v.broken = true
	default:
		v.report.Signed = max(v.report.Signed, c.Records)
	}
}
