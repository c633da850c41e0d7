package relay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgproto3/v2"
)

func frame(typ byte, body []byte) []byte {
	b := append([]byte{typ}, binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))...)
	return append(b, body...)
}

// FuzzFrames gives a stream in pieces of every size: what comes out is what
// went in, in order, cut where the headers say.
func FuzzFrames(f *testing.F) {
	f.Add(append(frame('Q', []byte("select 1\x00")), frame('S', nil)...), uint8(1))
	f.Add(append(frame('d', bytes.Repeat([]byte{7}, maxIdleBuffer*2)), frame('c', nil)...), uint8(0))
	f.Add([]byte{'Q', 0, 0, 0, 3}, uint8(3))
	f.Add([]byte{'Q', 0xff, 0xff, 0xff, 0xff, 1, 2}, uint8(2))
	f.Fuzz(func(t *testing.T, stream []byte, mode uint8) {
		var src io.Reader = bytes.NewReader(stream)
		switch mode % 3 {
		case 1:
			src = iotest.OneByteReader(src)
		case 2:
			src = iotest.HalfReader(src)
		}
		fr := newFrames(src, 1<<16, func(typ byte) bool { return typ == 'd' })
		var out []byte
		for {
			p, ok, err := fr.next()
			if err != nil {
				if !errors.Is(err, errFrame) && !errors.Is(err, errTooLarge) {
					t.Fatal(err)
				}
				break
			}
			if !ok {
				if fr.fill() != nil {
					break
				}
				continue
			}
			if p.first && p.typ != p.data[0] {
				t.Fatalf("a piece of type %q starts with %q", p.typ, p.data[0])
			}
			if p.first && p.last {
				if n := binary.BigEndian.Uint32(p.data[1:]); int(n)+1 != len(p.data) {
					t.Fatalf("a message of length %d is given out as %d bytes", n, len(p.data))
				}
			} else if p.first && p.typ != 'd' {
				t.Fatalf("a message of type %q is given out in pieces", p.typ)
			}
			out = append(out, p.data...)
		}
		if !bytes.HasPrefix(stream, out) {
			t.Fatal("what came out is not what went in")
		}
	})
}

// FuzzDecode gives the decoders of server messages arbitrary bodies.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x00\x01a\x00\x00\x00\x00\x01\x00\x02\x00\x00\x00\x19\xff\xff\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte("SERROR\x00C42703\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if fields, err := decodeFields(body); err == nil {
			size := 2
			for _, fd := range fields {
				size += len(fd.Name) + 19
			}
			if size != len(body) {
				t.Errorf("%d columns account for %d of %d bytes", len(fields), size, len(body))
			}
		}
		_, _ = decodeRow(body)
		_, _ = decodeFunctionCall(body)
		for _, field := range "SVCMDH" {
			if v := errorField(body, byte(field)); !bytes.Contains(body, []byte(v)) {
				t.Errorf("field %q = %q is not in the body", field, v)
			}
		}
	})
}

// FuzzShape: a body that is let through is one that the decoders read to its
// end: written again, it is the same.
func FuzzShape(f *testing.F) {
	f.Add([]byte("a\x00select $1\x00\x00\x01\x00\x00\x00\x17"))
	f.Add([]byte("p\x00s\x00\x00\x01\x00\x01\x00\x02\x00\x00\x00\x01x\xff\xff\xff\xff\x00\x00"))
	f.Add([]byte("p\x00\x00\x00\x00\x05"))
	f.Add([]byte("Sname\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		decoders := map[byte]pgproto3.FrontendMessage{
			'P': &pgproto3.Parse{}, 'B': &pgproto3.Bind{}, 'E': &pgproto3.Execute{}, 'D': &pgproto3.Describe{},
			'C': &pgproto3.Close{}, 'Q': &pgproto3.Query{}, 'f': &pgproto3.CopyFail{}, 'S': &pgproto3.Sync{}, 'H': &pgproto3.Flush{}, 'c': &pgproto3.CopyDone{},
		}
		for typ, msg := range decoders {
			if checkShape(typ, body) != nil {
				continue
			}
			if err := msg.Decode(body); err != nil {
				t.Errorf("type %q is let through and cannot be read: %v", typ, err)
				continue
			}
			if again, err := msg.Encode(nil); err != nil || !bytes.Equal(again, frame(typ, body)) {
				t.Errorf("type %q: %q is read as %q, %v", typ, body, again, err)
			}
		}
		if checkShape('F', body) == nil {
			if _, err := decodeFunctionCall(body); err != nil {
				t.Errorf("a FunctionCall is let through and cannot be read: %v", err)
			}
		}
	})
}
