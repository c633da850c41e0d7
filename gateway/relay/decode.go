package relay

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// cursorOf walks a message body with bounds checks. After the first read
// beyond the end, failed is set and everything reads as zero.
type cursorOf struct {
	b      []byte
	failed bool
}

func (c *cursorOf) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.failed = true
		c.b = nil
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursorOf) int16() int16 {
	if b := c.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursorOf) int32() int32 {
	if b := c.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (c *cursorOf) string() string { return string(c.text()) }

// text takes what comes before a zero byte, and that.
func (c *cursorOf) text() []byte {
	i := bytes.IndexByte(c.b, 0)
	if i < 0 {
		c.failed = true
		c.b = nil
		return nil
	}
	return c.take(i + 1)[:i]
}

func (c *cursorOf) done(what string) error {
	if c.failed || len(c.b) != 0 {
		return fmt.Errorf("%w: a %s does not end where it should", errFrame, what)
	}
	return nil
}

// decodeFields reads a RowDescription's body.
func decodeFields(body []byte) ([]Field, error) {
	c := cursorOf{b: body}
	n := int(c.int16())
	if n < 0 || n*18 > len(body) {
		return nil, fmt.Errorf("%w: a RowDescription of %d columns", errFrame, n)
	}
	fields := make([]Field, n)
	for i := range fields {
		f := &fields[i]
		f.Name = c.string()
		f.TableOID = uint32(c.int32())
		f.Attnum = c.int16()
		f.TypeOID = uint32(c.int32())
		c.take(2) // type length
		f.TypeMod = c.int32()
		f.Format = c.int16()
	}
	return fields, c.done("RowDescription")
}

// decodeRow reads a DataRow's body as text, for the gateway's own queries.
func decodeRow(body []byte) ([]string, error) {
	c := cursorOf{b: body}
	n := int(c.int16())
	var row []string
	for range n {
		length := c.int32()
		if length < 0 {
			row = append(row, "")
			continue
		}
		row = append(row, string(c.take(int(length))))
		if c.failed {
			break
		}
	}
	return row, c.done("DataRow")
}

// parseMessage is a Parse. It keeps no reference to the message.
type parseMessage struct {
	name, query string
	types       []uint32 // of parameters, as declared
}

func decodeParse(body []byte) (parseMessage, error) {
	c := cursorOf{b: body}
	m := parseMessage{name: c.string(), query: c.string()}
	if n := int(uint16(c.int16())); n > 0 && 4*n <= len(c.b) {
		m.types = make([]uint32, n)
		for i := range m.types {
			m.types[i] = uint32(c.int32())
		}
	}
	return m, c.done("Parse")
}

// decodeNamed reads the body of a Describe or Close: which kind of name, and
// the name, a part of the message.
func decodeNamed(body []byte) (kind byte, name []byte, err error) {
	c := cursorOf{b: body}
	if b := c.take(1); b != nil {
		kind = b[0]
	}
	name = c.text()
	return kind, name, c.done("Describe or Close")
}

// decodeExecute reads the name of the portal, a part of the message.
func decodeExecute(body []byte) (name []byte, err error) {
	c := cursorOf{b: body}
	name = c.text()
	c.take(4) // the most rows
	return name, c.done("Execute")
}

// bindMessage is a Bind.
type bindMessage struct {
	name, statement []byte  // parts of the message
	portal          *portal // its parameters and formats, which keep no reference to the message
}

// decodeBind reads a Bind's body (names, parameter formats, parameters, result
// formats).
func decodeBind(body []byte) (bindMessage, error) {
	c := cursorOf{b: body}
	m := bindMessage{name: c.text(), statement: c.text()}
	made := &struct { // most have few parameters
		portal portal
		bound  Bound
		values [4][]byte
	}{}
	m.portal = &made.portal
	m.portal.bound = &made.bound
	made.bound.Formats = c.int16s()
	c.b = bytes.Clone(c.b) // the values are kept
	made.bound.Values = made.values[:0]
	for range int(uint16(c.int16())) {
		var value []byte
		if length := c.int32(); length >= 0 {
			value = c.take(int(length))
		}
		if c.failed {
			break
		}
		made.bound.Values = append(made.bound.Values, value)
	}
	m.portal.formats = c.int16s()
	return m, c.done("Bind")
}

// int16s reads a count and as many numbers.
func (c *cursorOf) int16s() []int16 {
	n := int(uint16(c.int16()))
	if n == 0 || 2*n > len(c.b) {
		c.failed = c.failed || n > 0
		return nil
	}
	out := make([]int16, n)
	for i := range out {
		out[i] = c.int16()
	}
	return out
}

// decodeFunctionCall reads a FunctionCall's body (the function's OID, argument
// formats, arguments, result format).
func decodeFunctionCall(body []byte) (*Bound, error) {
	c := cursorOf{b: body}
	c.int32()
	var bound Bound
	for range int(c.int16()) {
		bound.Formats = append(bound.Formats, c.int16())
	}
	for range int(c.int16()) {
		length := c.int32()
		if length < 0 {
			bound.Values = append(bound.Values, nil)
			continue
		}
		bound.Values = append(bound.Values, bytes.Clone(c.take(int(length))))
		if c.failed {
			break
		}
	}
	c.int16()
	return &bound, c.done("FunctionCall")
}

// errorField returns one field of an ErrorResponse or NoticeResponse body
// (PostgreSQL documentation, "Error and Notice Message Fields").
func errorField(body []byte, field byte) string {
	for len(body) > 1 {
		end := bytes.IndexByte(body[1:], 0)
		if end < 0 {
			return ""
		}
		if body[0] == field {
			return string(body[1 : 1+end])
		}
		body = body[2+end:]
	}
	return ""
}
