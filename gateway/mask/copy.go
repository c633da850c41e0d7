package mask

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// CopyFormat is a format of COPY.
type CopyFormat int

// The formats of COPY.
const (
	CopyText CopyFormat = iota
	CopyCSV
	CopyBinary
)

// CopyOptions are those options of COPY TO STDOUT that say how rows look.
type CopyOptions struct {
	Format    CopyFormat
	Delimiter byte   // for text and CSV
	Null      string // for text and CSV
	Quote     byte   // for CSV
	Escape    byte   // for CSV
	Header    bool   // for text and CSV: the first row has the columns' names
}

// DefaultCopyOptions returns what a COPY that names nothing but its format uses.
func DefaultCopyOptions(format CopyFormat) CopyOptions {
	switch format {
	case CopyText:
		return CopyOptions{Format: CopyText, Delimiter: '\t', Null: `\N`}
	case CopyCSV:
		return CopyOptions{Format: CopyCSV, Delimiter: ',', Quote: '"', Escape: '"'}
	case CopyBinary:
	}
	return CopyOptions{Format: format}
}

// check refuses what PostgreSQL refuses and rows could be misread by.
func (o CopyOptions) check() error {
	switch o.Format {
	case CopyBinary:
		if o.Header {
			return errors.New("a binary copy has no header")
		}
		return nil
	case CopyText:
		if o.Delimiter == 0 || strings.IndexByte("\\.abcdefghijklmnopqrstuvwxyz0123456789\r\n", o.Delimiter) >= 0 {
			return fmt.Errorf("%q is no delimiter", o.Delimiter)
		}
	case CopyCSV:
		if o.Delimiter == 0 || o.Quote == 0 || o.Escape == 0 || o.Delimiter == o.Quote || o.Delimiter == '\n' || o.Delimiter == '\r' {
			return fmt.Errorf("%q and %q are no delimiter and quote", o.Delimiter, o.Quote)
		}
		if strings.IndexByte(o.Null, o.Quote) >= 0 {
			return errors.New("the null string has a quote")
		}
	default:
		return fmt.Errorf("unknown format %d of copy", int(o.Format))
	}
	if strings.ContainsAny(o.Null, "\r\n") || strings.IndexByte(o.Null, o.Delimiter) >= 0 {
		return errors.New("the null string has a delimiter or a line break")
	}
	return nil
}

// Copy rewrites the data of one COPY TO STDOUT. It is not safe for concurrent
// use: it remembers whether the header was seen.
type Copy struct {
	plan    *Plan
	options CopyOptions
	started bool
	value   []byte // the value being masked, without its escapes; wiped after each
	hidden  []byte // its masked form
}

// NewCopy returns a rewriter for a COPY of these columns; their formats follow
// from the options.
func NewCopy(columns []Column, keys *Keys, options CopyOptions) (*Copy, error) {
	if err := options.check(); err != nil {
		return nil, fmt.Errorf("plan a mask of a copy: %w", err)
	}
	columns = append([]Column(nil), columns...)
	for i := range columns {
		columns[i].Format = FormatText
		if options.Format == CopyBinary {
			columns[i].Format = FormatBinary
		}
	}
	plan, err := NewPlan(columns, keys)
	if err != nil {
		return nil, err
	}
	return &Copy{plan: plan, options: options}, nil
}

// Append appends the rewritten body of a CopyData message to dst. The body must
// hold whole rows, as the server sends them: one a message. Otherwise it is an
// error, dst is returned as it was, and the copy must be ended.
func (c *Copy) Append(dst, body []byte) ([]byte, error) {
	out := dst
	var err error
	for len(body) > 0 && err == nil {
		switch c.options.Format {
		case CopyText:
			out, body, err = c.appendLine(out, body, c.textField)
		case CopyCSV:
			out, body, err = c.appendLine(out, body, c.csvField)
		case CopyBinary:
			out, body, err = c.appendBinary(out, body)
		}
	}
	if err != nil {
		return dst, fmt.Errorf("mask a copied row: %w", err)
	}
	return out, nil
}

// The signature and the lengths of the binary header; see PostgreSQL's
// documentation of COPY, "Binary Format".
const (
	binarySignature = "PGCOPY\n\xff\r\n\x00"
	binaryFixed     = len(binarySignature) + 8
)

func (c *Copy) appendBinary(dst, body []byte) (out, rest []byte, err error) {
	if !c.started {
		header, err := binaryHeader(body)
		if err != nil {
			return dst, nil, err
		}
		c.started = true
		return append(dst, body[:header]...), body[header:], nil
	}
	if len(body) == 2 && body[0] == 0xff && body[1] == 0xff { // the trailer
		return append(dst, body...), nil, nil
	}
	end, err := binaryRowLen(body)
	if err != nil {
		return dst, nil, err
	}
	out, err = c.plan.AppendRow(dst, body[:end])
	return out, body[end:], err
}

// binaryHeader returns the header's length.
func binaryHeader(body []byte) (int, error) {
	if len(body) < binaryFixed || string(body[:len(binarySignature)]) != binarySignature {
		return 0, ErrMalformed
	}
	flags := binary.BigEndian.Uint32(body[len(binarySignature):])
	extension := binary.BigEndian.Uint32(body[len(binarySignature)+4:])
	if flags>>16 != 0 || uint64(extension) > uint64(len(body)-binaryFixed) {
		return 0, ErrMalformed
	}
	return binaryFixed + int(extension), nil
}

func binaryRowLen(body []byte) (int, error) {
	if len(body) < 2 {
		return 0, ErrMalformed
	}
	at := 2
	for range int(binary.BigEndian.Uint16(body)) {
		_, next, ok := fieldAt(body, at)
		if !ok {
			return 0, ErrMalformed
		}
		at = next
	}
	return at, nil
}

// fieldReader finds the end of the field at the start of a body, which is where
// its delimiter or line break stands, and appends the field's value to value;
// null says that it is NULL.
type fieldReader func(value, body []byte) (out []byte, end int, null bool, err error)

// appendLine rewrites one row of text or CSV.
func (c *Copy) appendLine(dst, body []byte, read fieldReader) (out, rest []byte, err error) {
	header := c.options.Header && !c.started
	c.started = true
	defer c.forget()
	last := len(c.plan.columns) - 1
	if last < 0 {
		if body[0] != '\n' {
			return dst, nil, ErrArity
		}
		return append(dst, '\n'), body[1:], nil
	}
	for i := range c.plan.columns {
		value, end, null, err := read(c.value[:0], body)
		if err != nil {
			return dst, nil, err
		}
		c.value = value
		if (body[end] == '\n') != (i == last) {
			return dst, nil, ErrArity
		}
		if column := &c.plan.columns[i]; header || !column.changes() {
			dst = append(dst, body[:end]...)
		} else {
			dst = c.appendMasked(dst, column, value, null)
		}
		dst = append(dst, body[end])
		body = body[end+1:]
	}
	return dst, body, nil
}

// forget wipes the values of a row.
func (c *Copy) forget() {
	clear(c.value[:cap(c.value)])
	if cap(c.value) > maxScratch {
		c.value = nil
	}
}

// appendMasked appends a value's masked form with its escapes.
func (c *Copy) appendMasked(dst []byte, column *columnPlan, value []byte, null bool) []byte {
	if null {
		value = nil
	} else if value == nil {
		value = []byte{}
	}
	c.hidden = column.appendField(c.hidden[:0], value)
	masked, _, ok := fieldAt(c.hidden, 0)
	switch {
	case !ok || masked == nil:
		return append(dst, c.options.Null...)
	case c.options.Format == CopyCSV:
		return c.appendCSV(dst, masked)
	}
	return c.appendText(dst, masked)
}

// textField reads a field of the text format. The server writes control
// characters as \b \f \n \r \t \v and puts a backslash before delimiters and
// backslashes.
func (c *Copy) textField(value, body []byte) (out []byte, end int, null bool, err error) {
	for end < len(body) {
		b := body[end]
		if b == c.options.Delimiter || b == '\n' {
			return value, end, string(body[:end]) == c.options.Null, nil
		}
		if b == '\\' {
			if end++; end == len(body) {
				break
			}
			b = unescaped(body[end])
		}
		value = append(value, b)
		end++
	}
	return value, 0, false, ErrMalformed
}

// escapes pairs control characters with the letters that stand for them behind
// a backslash, in their order.
const escapes = "\bb\tt\nn\vv\ff\rr"

func unescaped(b byte) byte {
	for i := 1; i < len(escapes); i += 2 {
		if escapes[i] == b {
			return escapes[i-1]
		}
	}
	return b
}

func (c *Copy) appendText(dst, value []byte) []byte {
	for _, b := range value {
		switch {
		case b == c.options.Delimiter || b == '\\':
			dst = append(dst, '\\', b)
		case b >= '\b' && b <= '\r':
			dst = append(dst, '\\', escapes[2*(b-'\b')+1])
		default:
			dst = append(dst, b)
		}
	}
	return dst
}

// csvField reads a field of CSV as the server does: quotes may begin and end
// anywhere in it, and a field with quotes is never NULL.
func (c *Copy) csvField(value, body []byte) (out []byte, end int, null bool, err error) {
	quoted, within := false, false
	for end < len(body) {
		b := body[end]
		switch {
		case within && b == c.options.Escape && end+1 < len(body) && (body[end+1] == c.options.Escape || body[end+1] == c.options.Quote):
			end++
			value = append(value, body[end])
		case b == c.options.Quote:
			quoted, within = true, !within
		case !within && (b == c.options.Delimiter || b == '\n'):
			return value, end, !quoted && string(value) == c.options.Null, nil
		default:
			value = append(value, b)
		}
		end++
	}
	return value, 0, false, ErrMalformed
}

func (c *Copy) appendCSV(dst, value []byte) []byte {
	special := string(value) == c.options.Null || string(value) == `\.`
	for _, b := range value {
		special = special || b == c.options.Delimiter || b == c.options.Quote || b == '\n' || b == '\r'
	}
	if !special {
		return append(dst, value...)
	}
	dst = append(dst, c.options.Quote)
	for _, b := range value {
		if b == c.options.Quote || b == c.options.Escape {
			dst = append(dst, c.options.Escape)
		}
		dst = append(dst, b)
	}
	return append(dst, c.options.Quote)
}
