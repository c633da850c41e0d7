package evidence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/klauspost/compress/s2"
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
// Of its locks, rewriting is taken before seal, seal before file, file before
// write, and syncing last.
type Journal struct {
	cfg      Config
	lock     *os.File // held for as long as the journal is open
	open     func(path string, create bool) (segmentFile, error)
	openTail func(path string) (tailFile, error)
	encoders sync.Pool

	write sync.Mutex
	tail  tail   // records that are in no segment yet; guarded by write, but see move
	seq   uint64 // of the next record; guarded by write
	ended bool   // Append takes no record any more; guarded by write

	file    sync.Mutex
	w       writer        // guarded by file
	written atomic.Uint64 // bytes written since Open, over all segments; stored under file
	sealed  atomic.Uint64 // seq of the last record in a block; stored under file
	failure atomic.Pointer[failed]

	syncing sync.Mutex
	s       syncer // guarded by syncing

	seal sync.Mutex
	log  sealer // guarded by seal

	rewriting sync.Mutex // held while a closed segment is rewritten

	kick    chan struct{} // half of the tail, or a block, is full
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when the sealing loop has ended
	closing sync.Once
}

// writer is what writing to the current segment needs.
type writer struct {
	file    segmentFile
	first   uint64    // seq with which the segment begins
	moved   uint64    // seq of the last record in a segment
	size    int64     // of the segment's frames, before they are compressed
	frames  int64     // of records in the segment
	opened  time.Time // when the segment was made or opened
	pending []pendingRecord
	bundle  string // of the last record in a block that names one
	closed  bool

	frameWriter
}

// frameWriter makes frames of records.
type frameWriter struct {
	buf    []byte
	leaves []pendingRecord
	tree   tree
	leaf   *leafHasher
	zstd   *zstd.Encoder // nil: Snappy is used
	packed []byte
}

// pendingRecord is a record of a segment that is in no block yet.
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

// failed is why a journal takes no records.
type failed struct{ err error }

// batchRecord is one record of several whose lines follow each other.
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
		cfg: cfg, lock: locked, open: openSegment, openTail: openTailFile,
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
	j.w.leaf = newLeafHasher()
	recovered, err := j.resume(nil)
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
	defer j.encoders.Put(e)
	e.encode(r, at)
	size := len(e.public) + len(e.private) + maxStart
	if size > maxLine {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLong, size, maxLine)
	}
	seq, err := j.add(e, at, r.Bundle)
	if err == nil && d != Process {
		err = j.flushAndSync(seq)
	}
	if err != nil {
		return 0, err
	}
	return seq, nil
}

// add puts a record into the tail.
func (j *Journal) add(e *encoder, at time.Time, bundle string) (uint64, error) {
	size := tailFrameHeader + maxStart + len(e.public) + len(e.private)
	if size > tailHalf {
		return j.addLong(e, at, bundle)
	}
	j.write.Lock()
	defer j.write.Unlock()
	for {
		if err := j.takes(); err != nil {
			return 0, err
		}
		fits, switched := j.tail.fits(size)
		if switched {
			j.wake()
		}
		if fits {
			break
		}
		// Both halves are full: help to move the older one.
		j.write.Unlock()
		err := j.flushFull()
		j.write.Lock()
		if err != nil {
			return 0, err
		}
	}
	seq := j.seq
	if err := j.tail.put(e, seq, at, bundle); err != nil {
		return 0, j.fail(err)
	}
	j.took()
	return seq, nil
}

// addLong puts a record that is too long for the tail into the segment, after
// those that came before it.
func (j *Journal) addLong(e *encoder, at time.Time, bundle string) (uint64, error) {
	j.file.Lock()
	defer j.file.Unlock()
	j.write.Lock()
	defer j.write.Unlock()
	if err := j.takes(); err != nil {
		return 0, err
	}
	for h := j.tail.oldest(); h != nil; h = j.tail.oldest() {
		if err := j.move(h); err != nil {
			return 0, err
		}
		h.reset()
	}
	long := half{lines: append(appendStart(nil, j.seq), e.public...)}
	publicEnd := len(long.lines)
	long.lines = append(long.lines, e.private...)
	long.records = []batchRecord{{seq: j.seq, publicEnd: publicEnd, end: len(long.lines), at: at.UnixMicro(), bundle: bundle}}
	if err := j.move(&long); err != nil {
		return 0, err
	}
	return j.took(), nil
}

// took counts a record that was taken, and returns its seq. The caller holds
// j.write.
func (j *Journal) took() uint64 {
	seq := j.seq
	j.seq++
	if (seq-j.sealed.Load())%uint64(j.cfg.BlockRecords) == 0 {
		j.wake()
	}
	return seq
}

// wake has the sealing loop look at what there is to do.
func (j *Journal) wake() {
	select {
	case j.kick <- struct{}{}:
	default: // it has been told
	}
}

// flushFull moves the tail's full half into the segment, if one is full.
func (j *Journal) flushFull() error {
	j.file.Lock()
	defer j.file.Unlock()
	j.write.Lock()
	h := j.tail.full()
	j.write.Unlock()
	if h == nil {
		return nil
	}
	return j.moveAndReset(h)
}

// flush moves records into the segment, up to a seq at least.
func (j *Journal) flush(upTo uint64) error {
	j.file.Lock()
	defer j.file.Unlock()
	for j.w.moved < upTo {
		j.write.Lock()
		h := j.tail.oldest()
		j.write.Unlock()
		if h == nil {
			return j.usable()
		}
		if err := j.moveAndReset(h); err != nil {
			return err
		}
	}
	return nil
}

// moveAndReset moves a half that takes no records now, and lets it take some
// again. The caller holds j.file.
func (j *Journal) moveAndReset(h *half) error {
	if err := j.move(h); err != nil {
		return err
	}
	j.write.Lock()
	h.reset()
	j.write.Unlock()
	return nil
}

// move writes a half's records to the segment. The caller holds j.file, and
// nobody adds to the half.
func (j *Journal) move(h *half) error {
	if err := j.usable(); err != nil {
		return err
	}
	w := &j.w
	w.buf, w.leaves = w.buf[:0], w.leaves[:0]
	frames := w.appendFrames(h.lines, h.records)
	if err := j.put(w.buf); err != nil {
		return err
	}
	w.pending = append(w.pending, w.leaves...)
	w.moved = h.records[len(h.records)-1].seq
	w.size += int64(len(h.lines) - len(w.buf)) // put has counted what was stored
	w.frames += int64(frames)
	return nil
}

// flushAndSync returns when everything up to a seq is on disk.
func (j *Journal) flushAndSync(seq uint64) error {
	if err := j.flush(seq); err != nil {
		return err
	}
	return j.syncTo(j.written.Load())
}

// appendFrames appends frames of records to w.buf, and their leaves to
// w.leaves. It returns how many frames.
func (w *frameWriter) appendFrames(lines []byte, records []batchRecord) (frames int) {
	begin := 0
	for len(records) > 0 {
		n := 1
		for n < len(records) && records[n].end-begin <= frameSplit {
			n++
		}
		end := records[n-1].end
		w.appendFrame(lines[begin:end], begin, records[:n])
		begin, records = end, records[n:]
		frames++
	}
	return frames
}

// appendFrame appends one of them. The lines begin at begin among all.
func (w *frameWriter) appendFrame(lines []byte, begin int, records []batchRecord) {
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
	if len(lines) > packAbove {
		h.codec, lines = w.pack(lines)
	}
	w.buf = appendFrame(w.buf, h, lines)
}

// pack compresses lines.
func (w *frameWriter) pack(lines []byte) (codec, []byte) {
	if w.zstd != nil {
		w.packed = w.zstd.EncodeAll(lines, w.packed[:0])
		return codecZstd, w.packed
	}
	w.packed = slices.Grow(w.packed[:0], s2.MaxEncodedLen(len(lines)))
	w.packed = s2.EncodeSnappy(w.packed[:cap(w.packed)], lines)
	return codecSnappy, w.packed
}

// put writes frames to the segment. The caller holds j.file.
func (j *Journal) put(frames []byte) error {
	if _, err := j.w.file.Write(frames); err != nil {
		return j.fail(err)
	}
	j.w.size += int64(len(frames))
	j.written.Add(uint64(len(frames)))
	return nil
}

// takes returns why no record is taken. The caller holds j.write.
func (j *Journal) takes() error {
	if j.ended {
		return ErrClosed
	}
	return j.Err()
}

// usable returns why nothing can be written. The caller holds j.file.
func (j *Journal) usable() error {
	if j.w.closed {
		return ErrClosed
	}
	return j.Err()
}

// fail makes the journal refuse every record until it has recovered.
func (j *Journal) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	if !j.failure.CompareAndSwap(nil, &failed{err}) {
		if known := j.Err(); known != nil {
			return known
		}
		return err // and it has recovered since
	}
	j.cfg.Logger.LogAttrs(context.Background(), slog.LevelError, "evidence cannot be written: nothing is executed until it can",
		slog.String("dir", j.cfg.Dir), slog.Any("error", err))
	return err
}

// Err returns why the journal takes no records, nil while it does. It does not
// know of Close.
func (j *Journal) Err() error {
	if f := j.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

// syncTo returns when what was written up to pos is on disk. One sync serves
// everybody who waits for it.
func (j *Journal) syncTo(pos uint64) error {
	if err := j.trySync(pos); err != nil {
		return j.fail(err)
	}
	return nil
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
	j.write.Lock()
	j.ended = true
	j.write.Unlock()
	err := j.sealPending()
	j.log.closed = true
	j.file.Lock()
	defer j.file.Unlock()
	j.w.closed = true
	err = errors.Join(err, j.closeFiles())
	if err == nil { // everything is in the segment
		err = os.Remove(filepath.Join(j.cfg.Dir, tailName))
	}
	return err
}

// closeFiles closes what is open.
func (j *Journal) closeFiles() error {
	var errs []error
	if j.w.file != nil {
		errs = append(errs, j.w.file.Close())
	}
	if j.tail.file != nil {
		errs = append(errs, j.tail.file.Close())
	}
	if j.log.hashes != nil {
		errs = append(errs, j.log.hashes.f.Close())
	}
	return errors.Join(append(errs, j.lock.Close())...)
}
