package ast

import (
	"encoding/binary"
	"errors"
	"math"
	"unicode/utf8"
)

// How values are written: https://protobuf.dev/programming-guides/encoding/.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
)

// maxMessages bounds how deep messages nest, as the protobuf library does.
const maxMessages = 10_000

// ErrTooDeep says that a tree nests deeper than can be read.
var ErrTooDeep = errors.New("the tree nests too deep")

var errWire = errors.New("the tree is not in the form that this program knows")

// Raw is a statement's syntax tree in its wire form, and where the statement is
// in its text.
type Raw struct {
	Wire     string // for [Decode]
	Location int    // in bytes
	Length   int    // in bytes; 0 for all that follows
}

// Statements takes apart the wire form of pg_query's ParseResult. The strings of
// the trees will be parts of wire.
func Statements(wire string) ([]Raw, error) {
	d := decoder{wire: wire, end: len(wire), levels: maxMessages - 1}
	var out []Raw
	for d.more() {
		switch d.varint() {
		case 1<<3 | wireVarint: // version
			d.varint()
		case 2<<3 | wireBytes: // stmts
			out = append(out, d.raw())
		default:
			d.fail()
		}
	}
	return out, d.err
}

// raw reads a RawStmt and leaves the statement itself as it is.
func (d *decoder) raw() (r Raw) {
	end := d.enter()
	for d.more() {
		switch d.varint() {
		case 1<<3 | wireBytes:
			r.Wire = d.bytes()
		case 2<<3 | wireVarint:
			r.Location = int(int32(d.varint()))
		case 3<<3 | wireVarint:
			r.Length = int(int32(d.varint()))
		default:
			d.fail()
		}
	}
	d.leave(end)
	return r
}

// Decode returns the syntax tree of a statement: what proto.Unmarshal makes of
// it, and a test compares the two, in a third of the time and with a fifth of
// the allocations. A field that this program does not know is an error.
func Decode(wire string) (*Node, error) {
	d := decoder{wire: wire, end: len(wire), levels: maxMessages - 3} // ParseResult, RawStmt and Node
	n := d.content()
	return n, d.err
}

// decoder reads messages out of wire. After an error it gives zeros and no
// more fields.
type decoder struct {
	wire   string
	at     int
	end    int // of the message being read
	levels int // how many messages may still nest
	err    error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errWire
	}
	d.at, d.end = len(d.wire), 0
}

// more reports whether the message has another field.
func (d *decoder) more() bool { return d.at < d.end }

// enter begins the message whose length comes next, and returns where the one
// around it ends.
func (d *decoder) enter() (outer int) {
	n := d.varint()
	outer = d.end
	if n > uint64(max(d.end-d.at, 0)) {
		d.fail()
		return outer
	}
	if d.levels--; d.levels < 0 && d.err == nil {
		d.fail()
		d.err = ErrTooDeep
		return outer
	}
	d.end = d.at + int(n)
	return outer
}

// leave ends a message.
func (d *decoder) leave(outer int) {
	d.levels++
	if d.err == nil {
		d.end = outer
	}
}

// varint reads a number, seven bits a byte, least first.
func (d *decoder) varint() uint64 {
	if d.at < d.end {
		if b := d.wire[d.at]; b < 0x80 {
			d.at++
			return uint64(b)
		}
	}
	var n uint64
	for shift := 0; shift < 64 && d.at < d.end; shift += 7 {
		b := d.wire[d.at]
		d.at++
		n |= uint64(b&0x7f) << shift
		if b < 0x80 && (shift < 63 || b <= 1) {
			return n
		}
	}
	d.fail()
	return 0
}

// bytes reads a length and as many bytes.
func (d *decoder) bytes() string {
	n := d.varint()
	if n > uint64(max(d.end-d.at, 0)) {
		d.fail()
		return ""
	}
	s := d.wire[d.at : d.at+int(n)]
	d.at += int(n)
	return s
}

func (d *decoder) text() string {
	s := d.bytes()
	if !utf8.ValidString(s) {
		d.fail()
	}
	return s
}

func (d *decoder) double() float64 {
	if d.end-d.at < 8 {
		d.fail()
		return 0
	}
	bits := binary.LittleEndian.Uint64([]byte(d.wire[d.at : d.at+8]))
	d.at += 8
	return math.Float64frombits(bits)
}

// packed appends the numbers of a list that is written as one field.
func (d *decoder) packed(list []uint64) []uint64 {
	numbers := d.bytes()
	inner := decoder{wire: numbers, end: len(numbers)}
	for inner.more() {
		list = append(list, inner.varint())
	}
	if inner.err != nil {
		d.fail()
	}
	return list
}

// node reads a node.
func (d *decoder) node() *Node {
	end := d.enter()
	n := d.content()
	d.leave(end)
	return n
}

// content reads what is in a node: its message, or nothing.
func (d *decoder) content() *Node {
	var n *Node
	for d.more() {
		tag := d.varint()
		if n = nil; tag&7 == wireBytes {
			n = d.member(tag >> 3)
		}
		if n == nil {
			d.fail()
		}
	}
	if n == nil {
		n = new(Node)
	}
	return n
}

// nodes reads a list: the element whose tag has been read, and those of the
// same tag that follow.
func (d *decoder) nodes(list []*Node, tag uint64) []*Node {
	if list == nil {
		list = make([]*Node, 0, d.count(tag))
	}
	for {
		list = append(list, d.node())
		next := *d
		if !next.more() || next.varint() != tag {
			return list
		}
		*d = next
	}
}

// count returns how many elements of a list follow, the tag of the first of
// which has been read.
func (d *decoder) count(tag uint64) int {
	ahead := *d
	for n := 0; ; n++ {
		ahead.bytes()
		if !ahead.more() || ahead.varint() != tag {
			return n + 1
		}
	}
}
