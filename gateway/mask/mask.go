// Package mask rewrites result values. A [Plan] is made once for the columns
// of a result and then applied to each of its rows:
//
//	plan, err := mask.NewPlan(columns, keys)
//	...
//	out, err = plan.AppendRow(out[:0], body) // body of a DataRow message
//
// Rows are walked by this package's own bounds-checked code; values of columns
// that pass are copied in runs, not decoded. A masked value keeps its column's
// type and format (text or binary), so that the client's driver reads it as
// before. Where a type can't carry a transform the value becomes NULL.
//
// # Transforms
//
//	null      NULL.
//	redact    'REDACTED' for texts, NULL for every other type, whatever the
//	          value was: it does not even tell whether there was one.
//	partial   Texts. Keeps keep_first and keep_last characters and hides the
//	          rest: as *** in format "text"; in "email" that is done to the part
//	          before the @, and the domain is shown; "card" and "phone" count
//	          digits alone and hide each as *, keeping spaces and - + . / ( ).
//	          A value of which less than a third would be hidden is hidden whole.
//	hash      Texts: 32 hexadecimal digits. Integers, numeric, float: a number
//	          from 0 up that fits. uuid, bytea: 16 bytes.
//	token     Another value of the same form: digits stay digits, letters
//	          letters of their case, separators stay; other characters become
//	          letters. In format "email" .invalid is added to the domain, so that
//	          no token is anybody's address. Integers and numeric keep their
//	          number of digits, uuid its version, bytea its length. Two values of
//	          one form never have one token, unless characters became letters or
//	          the token was cut.
//	truncate  date, timestamp, timestamptz: to the start of the year, month, day
//	          or hour, in UTC. A date has no hour, and its day would hide
//	          nothing: NULL.
//	round     Integers, numeric, float: to that many digits right of the point,
//	          half away from zero; negative digits are left of it. An integer
//	          rounded to fractions would hide nothing: NULL.
//
// NULL stays NULL in all but redact. Equal values of one masking policy have
// equal hashes and tokens, also across columns, tables and result formats, so
// that results can be joined; under another policy or key they are unrelated.
// Hash and token hide a value from those who can't choose values themselves:
// who can write a guess into a column and read it back masked can compare.
//
// Texts are text, varchar, bpchar, name and literals of unknown type; what does
// not fit varchar(n) is cut. In text format, dates and timestamps are read as
// DateStyle ISO writes them and bytea as bytea_output hex does; in another style
// they become NULL, as does NaN and any value that is not what its type says.
// Everything that is not named above (boolean, time, interval, json, arrays,
// ranges, composites, types of extensions ...) carries redact and null alone, as
// NULL.
//
// In texts of columns that pass, a [Detector] masks what looks like an e-mail
// address, a card number or the like: where it stands in a text, or as NULL for
// the whole of a JSON, XML, array, composite or extension's value.
//
// COPY TO STDOUT has no DataRow messages; its data is rewritten by a [Copy].
//
// A Plan is immutable; Plans and Keys are safe for concurrent use. Nothing here
// keeps a reference to a row.
package mask

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/posternhq/postern/gateway/mask/detect"
	"github.com/posternhq/postern/policylang"
)

// Action is what happens to a column. The zero Action hides it.
type Action int

// The actions.
const (
	Redact Action = iota // as [policylang.TransformRedact]
	Mask                 // by the column's Transform
	Pass                 // nothing
)

// Format codes of the protocol.
const (
	FormatText   int16 = 0
	FormatBinary int16 = 1
)

// Column says what happens to one column of a result. For a type of an
// extension whose values are texts, such as citext, the caller gives the type
// OID of text.
type Column struct {
	Action    Action
	Transform policylang.Transform // for Mask
	Policy    string               // for Mask: the masking policy; hashes and tokens are comparable within it
	TypeOID   uint32               // as RowDescription says; 0 is no type and carries redact and null alone
	TypeMod   int32                // as RowDescription says; 0 or less says nothing
	Format    int16                // FormatText or FormatBinary, as the values come

	Detect []Detector        // for Pass: what is looked for in texts
	Found  func(detect.Kind) // told of each value that Detect finds; may be nil
}

// ErrArity says that a row has another number of values than its plan.
var ErrArity = errors.New("the row has another number of values than the plan")

// ErrMalformed says that a row is not made as the protocol wants.
var ErrMalformed = errors.New("the row is malformed")

// Plan is how the rows of one result are rewritten.
type Plan struct {
	columns     []columnPlan
	passthrough bool
}

// columnPlan is one column of a plan. The zero columnPlan passes.
type columnPlan struct {
	fixed   []byte // if not nil: the whole field, length and value, of every row
	rewrite rewrite
}

// rewrite appends the masked form of a value, which is not NULL, to dst.
// Without a masked form it returns false, and the value becomes NULL; what it
// has appended is then dropped. It doesn't keep or change value.
type rewrite func(dst, value []byte) ([]byte, bool)

const maxColumns = math.MaxUint16

// NewPlan returns the plan for a result's columns. Without keys, hash and token
// redact.
func NewPlan(columns []Column, keys *Keys) (*Plan, error) {
	if len(columns) > maxColumns {
		return nil, fmt.Errorf("plan a mask: %d columns are more than a row can have", len(columns))
	}
	p := &Plan{columns: make([]columnPlan, len(columns)), passthrough: true}
	for i, c := range columns {
		if c.Format != FormatText && c.Format != FormatBinary {
			return nil, fmt.Errorf("plan a mask: column %d has the unknown format %d", i+1, c.Format)
		}
		switch c.Action {
		case Pass:
			if p.columns[i] = planDetector(c, keys); !p.columns[i].changes() {
				continue
			}
		case Mask, Redact:
			p.columns[i] = planColumn(c, keys)
		default:
			return nil, fmt.Errorf("plan a mask: column %d has the unknown action %d", i+1, int(c.Action))
		}
		p.passthrough = false
	}
	return p, nil
}

// Passthrough reports whether the plan changes nothing, so that rows need not
// be rewritten.
func (p *Plan) Passthrough() bool { return p.passthrough }

// Columns returns the number of columns.
func (p *Plan) Columns() int { return len(p.columns) }

// AppendRow appends the rewritten body of a DataRow message to dst. body (an
// Int16 with the number of values, then for each an Int32 length, -1 for NULL,
// and its bytes) must not overlap dst's spare capacity. A body that is not made
// so, or not for this plan, is an error, and dst is returned as it was; the
// caller must not send it. Once dst is large enough AppendRow does not allocate.
func (p *Plan) AppendRow(dst, body []byte) ([]byte, error) {
	if len(body) < 2 {
		return dst, fmt.Errorf("mask a row: %w", ErrMalformed)
	}
	if int(body[0])<<8|int(body[1]) != len(p.columns) {
		return dst, fmt.Errorf("mask a row: %w", ErrArity)
	}
	out := dst
	copied, at := 0, 2
	for i := range p.columns {
		if len(body)-at < 4 {
			return dst, fmt.Errorf("mask a row: %w", ErrMalformed)
		}
		length, next := int32(binary.BigEndian.Uint32(body[at:])), at+4
		if length != -1 {
			if length < 0 || int(length) > len(body)-next {
				return dst, fmt.Errorf("mask a row: %w", ErrMalformed)
			}
			next += int(length)
		}
		if c := &p.columns[i]; c.changes() {
			var value []byte // nil is NULL
			if length >= 0 {
				value = body[at+4 : next : next]
			}
			out = append(out, body[copied:at]...)
			out = c.appendField(out, value)
			copied = next
		}
		at = next
	}
	if at != len(body) {
		return dst, fmt.Errorf("mask a row: %w", ErrMalformed)
	}
	return append(out, body[copied:]...), nil
}

// fieldAt returns the value whose length stands at body[at], nil for NULL, and
// where the next one begins.
func fieldAt(body []byte, at int) (value []byte, next int, ok bool) {
	rest := body[at:]
	if len(rest) < 4 {
		return nil, 0, false
	}
	length := int32(uint32(rest[0])<<24 | uint32(rest[1])<<16 | uint32(rest[2])<<8 | uint32(rest[3]))
	if length == -1 {
		return nil, at + 4, true
	}
	if length < 0 || int(length) > len(rest)-4 {
		return nil, 0, false
	}
	return rest[4 : 4+length : 4+length], at + 4 + int(length), true
}

func (c *columnPlan) changes() bool { return c.fixed != nil || c.rewrite != nil }

// appendField appends the length and bytes of a value's masked form; a nil
// value is NULL.
func (c *columnPlan) appendField(dst, value []byte) []byte {
	if c.fixed != nil {
		return append(dst, c.fixed...)
	}
	if value == nil {
		return append(dst, nullField...)
	}
	start := len(dst)
	out, ok := c.rewrite(append(dst, 0, 0, 0, 0), value)
	length := len(out) - start - 4
	if !ok || length > math.MaxInt32 {
		return append(out[:start], nullField...)
	}
	out[start], out[start+1], out[start+2], out[start+3] = byte(length>>24), byte(length>>16), byte(length>>8), byte(length)
	return out
}

// nullField is NULL on the wire: the length -1.
const nullField = "\xff\xff\xff\xff"

// Serves reports whether values of a type keep a part of their meaning under a
// transform; if not, they become NULL.
func Serves(t policylang.Transform, typeOID uint32) bool {
	switch t.Kind {
	case policylang.TransformNull:
		return false
	case policylang.TransformRedact:
		return classOf(typeOID) == classText
	case policylang.TransformHash, policylang.TransformToken, policylang.TransformTruncate,
		policylang.TransformRound, policylang.TransformPartial:
		return chooseRewrite(Column{Action: Mask, Transform: t, TypeOID: typeOID}, &policyKeys{}) != nil
	}
	return false
}
