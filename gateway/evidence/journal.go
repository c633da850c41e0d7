package evidence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"
)

// Durability says what a record must survive before Append returns.
type Durability int

// The durabilities, weakest first.
const (
	// Process survives the process: the record was written to the file.
	Process Durability = iota
	// Power survives a power failure: the file was synced.
	Power
	// Intent is Power for a record that says what is about to happen: append it
	// before letting it happen.
	Intent
)

// What can be wrong with a journal. Errors of Append wrap one of the first
// three.
var (
	// ErrFailed says that the journal could not be written, and takes no record
	// until it has recovered. A record whose Append says so may or may not be in
	// the journal.
	ErrFailed = errors.New("evidence journal failed")
	// ErrClosed says that the journal was closed.
	ErrClosed = errors.New("evidence journal is closed")
	// ErrTooLong says that a record exceeds 4 MiB.
	ErrTooLong = errors.New("evidence record is too long")
	// ErrLocked says that another process writes to the directory.
	ErrLocked = errors.New("another process writes this journal")
	// ErrDamaged says that records that were sealed are missing or altered. No
	// crash does that.
	ErrDamaged = errors.New("evidence journal is damaged")
)

// Config says where a journal is and how it is kept. Dir, Origin and Key are
// required; zero fields take the defaults.
type Config struct {
	Dir    string // of this journal alone; made if need be
	Origin string // the log's name in checkpoints, unique to this gateway; one line
	Key    Key    // signs checkpoints

	BlockInterval time.Duration // a block is sealed this often; 1 s
	BlockRecords  int           // or when this many records are waiting; 4,096
	SegmentBytes  int64         // a segment is closed at this size; 64 MB
	SegmentAge    time.Duration // or at this age; 10 min
	Heartbeat     time.Duration // a record is written when there was none for so long; 60 s
	MaxSQL        int           // longest text kept of a statement, in bytes; 64 KiB

	Logger *slog.Logger     // slog.Default if nil
	Clock  func() time.Time // time.Now if nil
}

func (c Config) withDefaults() Config {
	setDefault(&c.BlockInterval, time.Second)
	setDefault(&c.BlockRecords, 4096)
	setDefault(&c.SegmentBytes, 64<<20)
	setDefault(&c.SegmentAge, 10*time.Minute)
	setDefault(&c.Heartbeat, time.Minute)
	setDefault(&c.MaxSQL, 64<<10)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Journal is an open journal. It is safe for concurrent use.
//
// Of its locks, rewriting is taken before seal, seal before write, write before
// syncing, and queue last.
type Journal struct {
	cfg      Config
	lock     *os.File // held for as long as the journal is open
	open     func(path string, create bool) (segmentFile, error)
	encoders sync.Pool

	queue sync.Mutex
	next  *batch // records that wait for the file; guarded by queue
	spare *batch // to be used again; guarded by queue
	seq   uint64 // of the next record; guarded by queue

	write   sync.Mutex
	w       writer        // guarded by write
	failure atomic.Value  // failed; stored under write
	written atomic.Uint64 // bytes written since Open, over all segments; stored under write

	syncing sync.Mutex
	s       syncer // guarded by syncing

	seal sync.Mutex
	log  sealer // guarded by seal

	rewriting sync.Mutex // held while a closed segment is rewritten

	kick    chan struct{} // a block is full
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when the sealing loop has ended
	closing sync.Once
}

// writer is what writing to the current segment needs.
type writer struct {
	file    segmentFile
	first   uint64    // seq with which the segment begins
	size    int64     // of the file
	opened  time.Time // when the segment was made or opened
	pending []pendingRecord
	sealed  uint64 // seq of the last record in a block
	bundle  string // of the last record in a block that names one
	last    time.Time
	closed  bool

	buf    []byte
	leaves []pendingRecord
	tree   tree
	leaf   *leafHasher
	zstd   *zstd.Encoder
	packed []byte
}

// pendingRecord is a record that is in no block yet.
type pendingRecord struct {
	leaf   tlog.Hash
	at     int64 // time, microseconds
	bundle string
}

// syncer knows what of the current segment has been synced.
type syncer struct {
	file   segmentFile
	synced uint64 // as Journal.written
	err    error  // a sync that failed: what the file holds on disk is not known any more
}

// failed wraps what an atomic.Value holds; the zero failed is no failure.
type failed struct{ err error }

// batch is records that are written together.
type batch struct {
	lines   []byte
	records []batchRecord
	users   int // Appends that have not looked at the outcome; guarded by queue

	// Set once, under write.
	done bool
	err  error
	pos  uint64 // Journal.written after it
}

// batchRecord is one record of a batch.
type batchRecord struct {
	seq       uint64
	publicEnd int // in lines, after the newline
	end       int // after the private line, if there is one
	at        int64
	bundle    string
}

// Open opens a journal, or makes it, and starts to seal blocks. After a crash
// it cuts off what was half-written at the end and says so in the journal. It
// returns an error that wraps [ErrDamaged] if more is missing than a crash
// explains.
func Open(cfg Config) (*Journal, error) {
	cfg = cfg.withDefaults()
	j, err := open(cfg)
	if err != nil {
		return nil, fmt.Errorf("open evidence journal: %w", err)
	}
	return j, nil
}

func open(cfg Config) (*Journal, error) {
	if cfg.Origin == "" || strings.ContainsFunc(cfg.Origin, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil, fmt.Errorf("origin %q is not a name of one line", cfg.Origin)
	}
	if err := cfg.Key.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	locked, err := lock(filepath.Join(cfg.Dir, lockFile))
	if err != nil {
		return nil, err
	}
	j := &Journal{
		cfg: cfg, lock: locked, open: openSegment, next: &batch{},
		kick: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	origin := appendString([]byte(`"origin":`), cfg.Origin)
	j.encoders.New = func() any { return &encoder{origin: origin, maxSQL: cfg.MaxSQL} }
	if err := j.start(); err != nil {
		return nil, errors.Join(err, j.closeFiles())
	}
	go j.sealLoop()
	return j, nil
}

func (j *Journal) start() error {
	if err := removeTemporary(j.cfg.Dir); err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(j.cfg.Dir, verifierFile), []byte(j.cfg.Key.Verifier+"\n"), 0o644); err != nil {
		return err
	}
	compressor, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return fmt.Errorf("make compressor: %w", err)
	}
	j.w.zstd, j.w.leaf = compressor, newLeafHasher()
	recovered, err := j.resume()
	if err != nil {
		return err
	}
	return j.recordOpening(recovered)
}

// recordOpening records that this process writes from here on.
func (j *Journal) recordOpening(r recovery) error {
	record := &Record{Kind: KindJournal, Command: JournalOpened}
	if r.unclean {
		record.Command, record.Bytes = JournalRecovered, r.lost
		j.cfg.Logger.LogAttrs(context.Background(), slog.LevelWarn, "evidence journal recovered",
			slog.String("dir", j.cfg.Dir), slog.Int64("bytes_lost", r.lost))
	}
	_, err := j.Append(record, Power)
	return err
}

// Append writes a record and returns its seq once it is as durable as asked.
// It keeps no reference to the record. An error means that the record must be
// taken as not written: whatever it is about must not happen.
func (j *Journal) Append(r *Record, d Durability) (uint64, error) {
	at := r.Time
	if at.IsZero() {
		at = j.cfg.Clock()
	}
	e, _ := j.encoders.Get().(*encoder) // the pool holds nothing else
	e.encode(r, at)
	if len(e.public)+len(e.private) > maxLine-64 {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLong, len(e.public)+len(e.private), maxLine-64)
	}
	seq, b := j.enqueue(e, at, r.Bundle)
	j.encoders.Put(e)

	j.write.Lock()
	if !b.done {
		j.commit(b)
	}
	err, pos := b.err, b.pos
	j.write.Unlock()
	j.release(b)

	if err == nil && d != Process {
		err = j.syncTo(pos)
	}
	if err != nil {
		return 0, err
	}
	return seq, nil
}

// enqueue gives the record its seq and adds it to the batch that is written
// next.
func (j *Journal) enqueue(e *encoder, at time.Time, bundle string) (uint64, *batch) {
	j.queue.Lock()
	defer j.queue.Unlock()
	b := j.next
	seq := j.seq
	j.seq++
	b.users++
	b.lines = appendStart(b.lines, seq)
	b.lines = append(b.lines, e.public...)
	publicEnd := len(b.lines)
	b.lines = append(b.lines, e.private...)
	b.records = append(b.records, batchRecord{seq: seq, publicEnd: publicEnd, end: len(b.lines), at: at.UnixMicro(), bundle: bundle})
	return seq, b
}

// commit writes the batch that waits, which is b. Whoever holds write commits
// for everybody who waits for it. The caller holds j.write.
func (j *Journal) commit(b *batch) {
	j.queue.Lock()
	j.next, j.spare = j.spare, nil
	if j.next == nil {
		j.next = &batch{}
	}
	j.queue.Unlock()
	b.err = j.writeBatch(b)
	b.pos = j.written.Load()
	b.done = true
}

// maxSpare bounds the memory that a batch may keep for its next use.
const maxSpare = 1 << 20

// release gives up a batch that an Append has no use for any more.
func (j *Journal) release(b *batch) {
	j.queue.Lock()
	defer j.queue.Unlock()
	b.users--
	if b.users > 0 || j.spare != nil || cap(b.lines) > maxSpare {
		return
	}
	clear(b.records)
	*b = batch{lines: b.lines[:0], records: b.records[:0]}
	j.spare = b
}

// writeBatch writes a batch as one or more frames, in one write. The caller
// holds j.write.
func (j *Journal) writeBatch(b *batch) error {
	if err := j.usable(); err != nil {
		return err
	}
	w := &j.w
	w.buf, w.leaves = w.buf[:0], w.leaves[:0]
	w.appendFrames(b.lines, b.records)
	if err := j.put(w.buf); err != nil {
		return err
	}
	w.pending = append(w.pending, w.leaves...)
	w.last = j.cfg.Clock()
	if len(w.pending) >= j.cfg.BlockRecords {
		select {
		case j.kick <- struct{}{}:
		default: // the loop has been told
		}
	}
	return nil
}

// appendFrames appends frames of records to w.buf, and their leaves to
// w.leaves.
func (w *writer) appendFrames(lines []byte, records []batchRecord) {
	begin := 0
	for len(records) > 0 {
		n := 1
		for n < len(records) && records[n].end-begin <= frameSplit {
			n++
		}
		end := records[n-1].end
		w.appendFrame(lines[begin:end], begin, records[:n])
		begin, records = end, records[n:]
	}
}

// appendFrame appends one of them. The lines begin at begin among all.
func (w *writer) appendFrame(lines []byte, begin int, records []batchRecord) {
	h := frameHeader{kind: frameRecords, count: uint32(len(records)), first: records[0].seq, from: records[0].at, to: records[0].at}
	w.tree.reset()
	start := 0
	for i := range records {
		r := &records[i]
		leaf := w.leaf.hash(lines[start : r.publicEnd-begin-1])
		start = r.end - begin
		w.tree.add(leaf)
		w.leaves = append(w.leaves, pendingRecord{leaf: leaf, at: r.at, bundle: r.bundle})
		h.from, h.to = min(h.from, r.at), max(h.to, r.at)
	}
	h.root = w.tree.root()
	if len(lines) > zstdAbove {
		w.packed = w.zstd.EncodeAll(lines, w.packed[:0])
		h.codec, lines = codecZstd, w.packed
	}
	w.buf = appendFrame(w.buf, h, lines)
}

// put writes frames to the segment. The caller holds j.write.
func (j *Journal) put(frames []byte) error {
	if _, err := j.w.file.Write(frames); err != nil {
		return j.fail(err)
	}
	j.w.size += int64(len(frames))
	j.written.Add(uint64(len(frames)))
	return nil
}

// usable returns why nothing can be written. The caller holds j.write.
func (j *Journal) usable() error {
	if j.w.closed {
		return ErrClosed
	}
	return j.Err()
}

// fail makes the journal refuse every record until it has recovered. The
// caller holds j.write.
func (j *Journal) fail(err error) error {
	if known := j.Err(); known != nil {
		return known
	}
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	j.failure.Store(failed{err})
	j.cfg.Logger.LogAttrs(context.Background(), slog.LevelError, "evidence cannot be written: nothing is executed until it can",
		slog.String("dir", j.cfg.Dir), slog.Any("error", err))
	return err
}

// Err returns why the journal takes no records, nil while it does. It does not
// know of Close.
func (j *Journal) Err() error {
	f, _ := j.failure.Load().(failed)
	return f.err
}

// syncTo returns when what was written up to pos is on disk. One sync serves
// everybody who waits for it.
func (j *Journal) syncTo(pos uint64) error {
	err := j.trySync(pos)
	if err == nil {
		return nil
	}
	j.write.Lock()
	defer j.write.Unlock()
	return j.fail(err)
}

func (j *Journal) trySync(pos uint64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	s := &j.s
	switch {
	case s.synced >= pos:
		return nil
	case s.err != nil: // the kernel reports a failure once and then forgets it
		return s.err
	}
	target := j.written.Load()
	if s.err = s.file.Sync(); s.err != nil {
		return s.err
	}
	s.synced = target
	return nil
}

// Close records that the journal was closed, seals and signs everything and
// lets go of the directory. If the journal has failed, it returns why. Only the
// first call does anything.
func (j *Journal) Close() (err error) {
	j.closing.Do(func() {
		_, err = j.Append(&Record{Kind: KindJournal, Command: JournalClosed}, Process)
		close(j.stop)
		<-j.done
		err = errors.Join(err, j.finish())
	})
	return err
}

func (j *Journal) finish() error {
	j.seal.Lock()
	defer j.seal.Unlock()
	err := j.sealPending()
	j.write.Lock()
	defer j.write.Unlock()
	j.w.closed = true
	return errors.Join(err, j.closeFiles())
}

// closeFiles closes what is open.
func (j *Journal) closeFiles() error {
	var errs []error
	if j.w.file != nil {
		errs = append(errs, j.w.file.Close())
	}
	if j.log.hashes != nil {
		errs = append(errs, j.log.hashes.f.Close())
	}
	return errors.Join(append(errs, j.lock.Close())...)
}
