package evidence

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"
)

// frameKind says what a frame holds.
type frameKind byte

const (
	frameSegment    frameKind = 1 // the first of a segment: segmentHeader
	frameRecords    frameKind = 2 // records
	frameBlock      frameKind = 3 // Block
	frameCheckpoint frameKind = 4 // signed note
)

// codec says how a frame's payload is stored.
type codec byte

const (
	codecPlain  codec = 0
	codecZstd   codec = 1 // small: of segments that were written anew
	codecSnappy codec = 2 // fast: of segments that are being written
)

// frameHeaderSize is the length of a frame's header. Numbers are big-endian.
//
//	 0  4  CRC-32C of the rest of the header and the payload
//	 4  4  length of the payload as stored
//	 8  1  frameKind
//	 9  1  codec
//	10  2  zero
//	12  4  count of records
//	16  8  seq of the first record
//	24  8  least time of its records, microseconds since 1970
//	32  8  greatest time of its records
//	40 32  Merkle root of its records' leaves
const frameHeaderSize = 72

const (
	maxLine    = 4 << 20              // longest line of a record
	frameSplit = 4 << 20              // records are split over frames above this
	maxPayload = frameSplit + maxLine // longest payload, decompressed
	packAbove  = 4 << 10              // shorter payloads are stored plain: compressing them costs more than it saves
)

// frameHeader is a frame's header. In frames other than frameRecords the
// count, first seq, times and root are those of what they describe.
type frameHeader struct {
	length   uint32
	kind     frameKind
	codec    codec
	count    uint32
	first    uint64
	from, to int64
	root     tlog.Hash
}

// What is wrong with a frame.
var (
	errTorn     = errors.New("the file ends within a frame")
	errChecksum = errors.New("bad checksum")
	errFrame    = errors.New("not a frame")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends a frame. h.length is set from the payload.
func appendFrame(dst []byte, h frameHeader, payload []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, byte(h.kind), byte(h.codec), 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, h.count)
	dst = binary.BigEndian.AppendUint64(dst, h.first)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.from))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.to))
	dst = append(dst, h.root[:]...)
	dst = append(dst, payload...)
	binary.BigEndian.PutUint32(dst[start:], crc32.Checksum(dst[start+4:], castagnoli))
	return dst
}

func parseFrameHeader(b []byte) (h frameHeader, crc uint32, err error) {
	crc = binary.BigEndian.Uint32(b)
	h = frameHeader{
		length: binary.BigEndian.Uint32(b[4:]), kind: frameKind(b[8]), codec: codec(b[9]),
		count: binary.BigEndian.Uint32(b[12:]), first: binary.BigEndian.Uint64(b[16:]),
		from: int64(binary.BigEndian.Uint64(b[24:])), to: int64(binary.BigEndian.Uint64(b[32:])),
		root: tlog.Hash(b[40:72]),
	}
	if h.kind < frameSegment || h.kind > frameCheckpoint || h.codec > codecSnappy || b[10] != 0 || b[11] != 0 || h.length > maxPayload {
		return frameHeader{}, 0, errFrame
	}
	return h, crc, nil
}

// frameReader reads a segment's frames one after the other.
type frameReader struct {
	file      *os.File
	r         *bufio.Reader
	size      int64  // of the file when it was opened, or later if it is live
	offset    int64  // of the next frame
	following uint64 // seq of the record that follows those read
	behind    behind
	zstd      *zstd.Decoder
	head      [frameHeaderSize]byte
	stored    []byte // payload of the last frame as stored
	plain     []byte
}

// openFrames opens a segment as long as it is now. See openLive for one that may
// be in use.
func openFrames(path string) (*frameReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPayload), zstd.WithDecoderMaxWindow(maxPayload))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make decompressor: %w", err), f.Close())
	}
	return &frameReader{file: f, r: bufio.NewReaderSize(f, 256<<10), size: info.Size(), zstd: d}, nil
}

func (f *frameReader) close() {
	f.zstd.Close()
	_ = f.file.Close() // nothing was written
}

// inFile is next, of the segment's file.
func (f *frameReader) inFile(want func(*frameHeader) bool) (frameHeader, []byte, error) {
	if f.offset == f.size {
		return frameHeader{}, nil, io.EOF
	}
	if f.size-f.offset < frameHeaderSize {
		return frameHeader{}, nil, errTorn
	}
	head := &f.head
	peeked, err := f.r.Peek(frameHeaderSize) // it may be read again, when there is more
	if err != nil {
		return frameHeader{}, nil, fmt.Errorf("read frame: %w", err)
	}
	copy(head[:], peeked)
	h, crc, err := parseFrameHeader(head[:])
	if err != nil {
		return frameHeader{}, nil, err
	}
	end := f.offset + frameHeaderSize + int64(h.length)
	if end > f.size {
		return frameHeader{}, nil, errTorn
	}
	if _, err := f.r.Discard(frameHeaderSize); err != nil {
		return frameHeader{}, nil, fmt.Errorf("read frame: %w", err)
	}
	if want != nil && !want(&h) {
		if _, err := f.r.Discard(int(h.length)); err != nil {
			return frameHeader{}, nil, fmt.Errorf("read frame: %w", err)
		}
		f.passed(&h, end)
		return h, nil, nil
	}
	payload, err := f.payload(&h, crc, head[4:], f.r)
	if err != nil {
		return frameHeader{}, nil, err
	}
	f.passed(&h, end)
	return h, payload, nil
}

// passed notes that a frame was read, which ends there.
func (f *frameReader) passed(h *frameHeader, end int64) {
	f.offset = end
	switch h.kind {
	case frameSegment:
		f.following = h.first
	case frameRecords:
		f.following = h.first + uint64(h.count)
	case frameBlock, frameCheckpoint:
	}
}

// payload reads and checks a payload.
func (f *frameReader) payload(h *frameHeader, crc uint32, head []byte, r io.Reader) ([]byte, error) {
	if cap(f.stored) < int(h.length) {
		f.stored = make([]byte, h.length)
	}
	f.stored = f.stored[:h.length]
	if _, err := io.ReadFull(r, f.stored); err != nil {
		return nil, fmt.Errorf("read frame: %w", err)
	}
	if got := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, f.stored); got != crc {
		return nil, errChecksum
	}
	return f.unpack(h.codec)
}

// unpack returns the stored payload as it was before it was compressed.
func (f *frameReader) unpack(c codec) (plain []byte, err error) {
	switch c {
	case codecPlain:
		return f.stored, nil
	case codecZstd:
		plain, err = f.zstd.DecodeAll(f.stored, f.plain[:0])
	case codecSnappy:
		n, tooLong := s2.DecodedLen(f.stored)
		if tooLong != nil || n > maxPayload {
			return nil, errFrame
		}
		plain, err = s2.Decode(f.plain[:cap(f.plain)], f.stored)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	f.plain = plain
	return plain, nil
}

// at returns the payload of the frame at an offset, as next does.
func (f *frameReader) at(offset int64) ([]byte, error) {
	if f.behind.found && offset == f.offset {
		return f.behind.payload, nil
	}
	var head [frameHeaderSize]byte
	if _, err := f.file.ReadAt(head[:], offset); err != nil {
		return nil, fmt.Errorf("read frame: %w", err)
	}
	h, crc, err := parseFrameHeader(head[:])
	if err != nil {
		return nil, err
	}
	return f.payload(&h, crc, head[4:], io.NewSectionReader(f.file, offset+frameHeaderSize, int64(h.length)))
}

// skip goes on after a frame that does not match its checksum, if the length in
// its header leads to another frame or to the end.
func (f *frameReader) skip() bool {
	var head [frameHeaderSize]byte
	if _, err := f.file.ReadAt(head[:], f.offset); err != nil {
		return false
	}
	h, _, err := parseFrameHeader(head[:])
	if err != nil {
		return false
	}
	end := f.offset + frameHeaderSize + int64(h.length)
	if end < f.size {
		if _, err := f.file.ReadAt(head[:], end); err != nil {
			return false
		}
		if _, _, err := parseFrameHeader(head[:]); err != nil {
			return false
		}
	}
	f.offset = end
	return true
}
