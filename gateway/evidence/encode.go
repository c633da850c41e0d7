package evidence

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The parts of a record's private line and how it is bound to the public one.
const (
	privatePrefix = `{"salt":"`
	privateMember = `,"private":"`
	saltSize      = 16
)

// maxParam and maxParams bound what is kept of one parameter and of all of a
// record, in bytes.
const (
	maxParam  = 4 << 10
	maxParams = 64 << 10
)

// timeLayout is RFC 3339 in UTC with microseconds, always of one length.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// encoder turns records into lines. It is written by hand since it is on the
// path of every statement; a test holds it to encoding/json. The zero encoder
// is ready; it is not safe for concurrent use.
type encoder struct {
	public  []byte // the public line without its start, which holds seq: see appendStart
	private []byte // the private line with its newline; empty if nothing is private
	origin  []byte // `"origin":"…"`, set by the journal
	maxSQL  int

	second int64  // since 1970, of stamp
	stamp  []byte // as appendTime writes it
}

// maxStart is the greatest length of what appendStart appends.
const maxStart = len(`{"v":1,"seq":18446744073709551615,`)

// appendStart appends the members of a public line that precede enc.public.
func appendStart(dst []byte, seq uint64) []byte {
	dst = append(dst, `{"v":1,"seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	return append(dst, ',')
}

// encode fills e.public and e.private with r as of that time.
func (e *encoder) encode(r *Record, at time.Time) {
	whole := len(r.SQL)
	sql := r.SQL
	cut := whole > e.maxSQL || !utf8.ValidString(sql)
	if whole > e.maxSQL {
		sql = strings.ToValidUTF8(sql[:e.maxSQL], "")
	}
	e.encodePrivate(r, sql)

	b := append(e.public[:0], e.origin...)
	b = append(b, `,"time":"`...)
	b = e.appendTime(b, at)
	b = append(b, '"')
	b = appendWho(b, r)
	b = appendInt(b, `,"stmt_no":`, int64(r.StmtNo))
	b = appendText(b, `,"txn":`, r.Txn)
	b = appendWhat(b, r)
	if len(e.private) > 0 {
		b = append(b, privateMember...)
		b = appendCommitment(b, e.private[:len(e.private)-1])
		b = append(b, '"')
	}
	if cut {
		b = appendInt(b, `,"sql_bytes":`, int64(whole))
		sum := sha256.Sum256([]byte(r.SQL))
		b = append(b, `,"sql_sha256":"`...)
		b = hex.AppendEncode(b, sum[:])
		b = append(b, '"')
	}

	b = appendDecision(b, r)
	b = appendText(b, `,"outcome":`, string(r.Outcome))
	b = appendText(b, `,"sqlstate":`, r.SQLState)
	b = appendInt(b, `,"rows":`, r.Rows)
	b = appendInt(b, `,"bytes":`, r.Bytes)
	b = appendInt(b, `,"duration_us":`, r.DurationUS)
	b = appendInt(b, `,"held_us":`, r.HeldUS)
	b = appendTexts(b, `,"masked":`, r.Masked)
	b = appendText(b, `,"trace_id":`, r.TraceID)
	e.public = append(b, '}', '\n')
}

// appendTime appends a time as timeLayout has it, of which the same second is
// written again and again.
func (e *encoder) appendTime(b []byte, at time.Time) []byte {
	const fraction = len("000000Z")
	if second := at.Unix(); second != e.second || e.stamp == nil {
		e.second, e.stamp = second, at.UTC().AppendFormat(e.stamp[:0], timeLayout)
	}
	b = append(b, e.stamp...)
	digits := b[len(b)-fraction : len(b)-1]
	for micro, i := at.Nanosecond()/1000, len(digits)-1; i >= 0; micro, i = micro/10, i-1 {
		digits[i] = byte('0' + micro%10)
	}
	return b
}

// Fixed is the encoding of what the records of one statement of a session have
// in common: who and where, what, and the decision. It is immutable.
type Fixed struct{ who, what, decision []byte }

// Fix encodes what r says of who and where, what, and the decision, for any
// number of records whose Fixed it becomes.
func Fix(r *Record) *Fixed {
	c := *r
	c.Fixed = nil
	return &Fixed{who: appendWho(nil, &c), what: appendWhat(nil, &c), decision: appendDecision(nil, &c)}
}

func appendWho(b []byte, r *Record) []byte {
	if r.Fixed != nil {
		return append(b, r.Fixed.who...)
	}
	b = appendText(b, `,"kind":`, string(r.Kind))

	b = appendText(b, `,"identity":`, r.Identity)
	b = appendText(b, `,"issuer":`, r.Issuer)
	b = appendText(b, `,"subject":`, r.Subject)
	b = appendTexts(b, `,"groups":`, r.Groups)
	b = appendText(b, `,"auth_method":`, r.AuthMethod)
	b = appendText(b, `,"actor":`, r.Actor)
	b = appendText(b, `,"client_addr":`, r.ClientAddr)
	b = appendText(b, `,"application_name":`, r.ApplicationName)

	b = appendText(b, `,"gateway":`, r.Gateway)
	b = appendText(b, `,"server":`, r.Server)
	b = appendText(b, `,"database":`, r.Database)
	b = appendText(b, `,"role":`, r.Role)
	return appendText(b, `,"session":`, r.Session)
}

func appendWhat(b []byte, r *Record) []byte {
	if r.Fixed != nil {
		return append(b, r.Fixed.what...)
	}
	b = appendText(b, `,"command":`, r.Command)
	b = appendText(b, `,"class":`, string(r.Class))
	b = appendText(b, `,"fingerprint":`, r.Fingerprint)
	b = appendText(b, `,"shape":`, r.Shape)
	b = appendRelations(b, r.Relations)
	b = appendTexts(b, `,"functions":`, r.Functions)
	b = appendText(b, `,"protocol":`, r.Protocol)
	return appendText(b, `,"parse":`, r.Parse)
}

func appendDecision(b []byte, r *Record) []byte {
	if r.Fixed != nil {
		return append(b, r.Fixed.decision...)
	}
	b = appendText(b, `,"effect":`, string(r.Effect))
	b = appendTexts(b, `,"rules":`, r.Rules)
	b = appendText(b, `,"bundle":`, r.Bundle)
	b = appendText(b, `,"approval":`, r.Approval)
	b = appendTexts(b, `,"approvers":`, r.Approvers)
	b = appendText(b, `,"reason":`, r.Reason)
	return appendObserved(b, r.Observed)
}

// encodePrivate fills e.private. Its salt makes the commitment to it say
// nothing about a text that could be guessed.
func (e *encoder) encodePrivate(r *Record, sql string) {
	e.private = e.private[:0]
	if sql == "" && len(r.Params) == 0 {
		return
	}
	var salt [saltSize]byte
	_, _ = rand.Read(salt[:]) // never fails, see crypto/rand
	b := append(e.private, privatePrefix...)
	b = base64.StdEncoding.AppendEncode(b, salt[:])
	b = append(b, '"')
	b = appendText(b, `,"sql":`, sql)
	if len(r.Params) > 0 {
		left := maxParams
		b = append(b, `,"params":[`...)
		for i := range r.Params {
			if i > 0 {
				b = append(b, ',')
			}
			keep := min(len(r.Params[i].Value), maxParam, left)
			left -= keep
			b = appendParam(b, &r.Params[i], keep)
		}
		b = append(b, ']')
	}
	e.private = append(b, '}', '\n')
}

// appendCommitment appends the base64 of the SHA-256 of a private line.
func appendCommitment(dst, line []byte) []byte {
	sum := sha256.Sum256(line)
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// appendParam appends the first keep bytes of a parameter.
func appendParam(b []byte, p *Param, keep int) []byte {
	if p.Value == nil {
		return append(b, "null"...)
	}
	whole := max(p.Bytes, int64(len(p.Value)))
	cut := int64(keep) < whole
	if !p.Binary && !cut && utf8.Valid(p.Value) {
		return appendString(b, string(p.Value))
	}
	b = append(b, `{"base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, p.Value[:keep])
	b = append(b, '"')
	if cut {
		b = appendInt(b, `,"bytes":`, whole)
	}
	if !p.Binary {
		b = append(b, `,"text":true`...)
	}
	return append(b, '}')
}

func appendText(b []byte, member, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, member...), value)
}

func appendTexts(b []byte, member string, values []string) []byte {
	if len(values) == 0 {
		return b
	}
	b = append(b, member...)
	for i, v := range values {
		b = append(b, "[,"[min(i, 1)])
		b = appendString(b, v)
	}
	return append(b, ']')
}

func appendInt(b []byte, member string, value int64) []byte {
	if value == 0 {
		return b
	}
	return strconv.AppendInt(append(b, member...), value, 10)
}

func appendRelations(b []byte, relations []Relation) []byte {
	if len(relations) == 0 {
		return b
	}
	b = append(b, `,"relations":`...)
	for i := range relations {
		b = append(b, "[,"[min(i, 1)])
		b = appendString(append(b, `{"name":`...), relations[i].Name)
		b = appendString(append(b, `,"verb":`...), string(relations[i].Verb))
		b = appendTexts(b, `,"columns":`, relations[i].Columns)
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendObserved(b []byte, observed []Observation) []byte {
	if len(observed) == 0 {
		return b
	}
	b = append(b, `,"observed":`...)
	for i, o := range observed {
		b = append(b, "[,"[min(i, 1)])
		b = appendString(append(b, `{"rule":`...), o.Rule)
		b = appendString(append(b, `,"effect":`...), string(o.Effect))
		b = append(b, '}')
	}
	return append(b, ']')
}

// plainPrefix returns how many bytes at the start of s, a multiple of eight,
// need no escaping: ASCII without control characters, quotes and backslashes.
func plainPrefix(s string) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, backslash := w^'"'*ones, w^'\\'*ones
		// The top bit of a byte is set in x-ones if the byte was 0, and in
		// w-' '*ones if it was below a space, unless x or w had it already.
		if (w|(w-' '*ones)|(quote-ones)|(backslash-ones))&tops != 0 {
			break
		}
	}
	return i
}

// appendString appends s as a JSON string. What is not UTF-8 is replaced, as
// encoding/json does.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := plainPrefix(s); i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			b = append(b, s[start:i]...)
			b = append(b, "\uFFFD"...)
			i++
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// errRecord says that a line is not a record.
var errRecord = errors.New("not a record")

// publicRecord is a record's public line: the record without its private part,
// and the commitment to that.
type publicRecord struct {
	Record
	Private []byte `json:"private"`
}

// privateRecord is a record's private line.
type privateRecord struct {
	Salt   []byte  `json:"salt"`
	SQL    string  `json:"sql"`
	Params []Param `json:"params"`
}

// decodeRecord reads a record from its lines, without newlines; private is nil
// if it was erased or never was. It does not check the commitment.
func decodeRecord(public, private []byte) (*Record, error) {
	var p publicRecord
	if err := json.Unmarshal(public, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	if p.V != Version {
		return nil, fmt.Errorf("%w: version %d is not supported, want %d", errRecord, p.V, Version)
	}
	if p.SQL != "" || p.Params != nil {
		return nil, fmt.Errorf("%w: a private part in the public line", errRecord)
	}
	r := &p.Record
	r.Redacted = len(p.Private) > 0 && private == nil
	if private != nil {
		var q privateRecord
		if err := json.Unmarshal(private, &q); err != nil {
			return nil, fmt.Errorf("%w: private part: %w", errRecord, err)
		}
		r.SQL, r.Params = q.SQL, q.Params
	}
	r.Time = r.Time.UTC()
	return r, nil
}

// checkCommitment makes sure that a private line is the one that its record
// committed to. None is always right: it may have been erased.
func checkCommitment(public, private []byte) error {
	if private == nil {
		return nil
	}
	var p publicRecord
	if err := json.Unmarshal(public, &p); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	if sum := sha256.Sum256(private); !bytes.Equal(sum[:], p.Private) {
		return fmt.Errorf("%w: its private part was altered", errRecord)
	}
	return nil
}
