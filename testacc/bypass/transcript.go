package bypass

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// transcript is what a play received after each login, one line a message,
// without what differs between two runs of the same: process numbers, OIDs of
// the database's own objects, the database's name, and the guess.
func (p *play) transcript(guess string) []string {
	replacements := []string{p.database, "{DB}"}
	if guess != "" {
		replacements = append(replacements, guess, "{GUESS}")
	}
	same := strings.NewReplacer(replacements...)
	var out []string
	for _, name := range p.order {
		c := p.conns[name]
		for _, r := range c.replies[min(c.login, len(c.replies)):] {
			if line := r.line(); line != "" {
				out = append(out, strings.TrimSpace(name+" "+same.Replace(line)))
			}
		}
	}
	return out
}

// firstUserOID is the first that initdb doesn't give to an object.
const firstUserOID = 16384

// line describes a reply for people and for comparison.
func (r reply) line() string {
	switch r.kind {
	case 'T':
		return "RowDescription" + r.columns()
	case 'D':
		values, _ := r.values()
		var b strings.Builder
		b.WriteString("DataRow")
		for _, v := range values {
			if v == nil {
				b.WriteString(" NULL")
				continue
			}
			b.WriteString(" " + strconv.Quote(string(v)))
		}
		return b.String()
	case 'C':
		return "CommandComplete " + oneLine(zeroTerminated(r.body))
	case 'E':
		return "ErrorResponse" + r.fields()
	case 'N':
		return "NoticeResponse" + r.fields()
	case 'S':
		return fmt.Sprintf("ParameterStatus %q", r.body)
	case 'Z':
		return "ReadyForQuery " + oneLine(string(r.body))
	case 'A':
		return fmt.Sprintf("NotificationResponse %q", r.body[min(4, len(r.body)):])
	case 't':
		return fmt.Sprintf("ParameterDescription %x", r.body)
	case 'K':
		return ""
	}
	return fmt.Sprintf("%s %q", oneLine(string(rune(r.kind))), r.body)
}

// columns describes the fields of a RowDescription.
func (r reply) columns() string {
	var b strings.Builder
	rest := r.body[min(2, len(r.body)):]
	for len(rest) > 0 {
		name, after, ok := strings.Cut(string(rest), "\x00")
		if !ok || len(after) < 18 {
			return b.String() + " malformed"
		}
		field := after[:18]
		table, attribute := be32(field[0:]), int16(binary.BigEndian.Uint16([]byte(field[4:])))
		typeOID := be32(field[6:])
		fmt.Fprintf(&b, " %q(%s.%d %s %x)", name, oidText(table), attribute, oidText(typeOID), field[10:])
		rest = rest[len(name)+1+18:]
	}
	return b.String()
}

func be32(s string) uint32 { return binary.BigEndian.Uint32([]byte(s[:4])) }

func oidText(oid uint32) string {
	if oid >= firstUserOID {
		return "user"
	}
	return strconv.FormatUint(uint64(oid), 10)
}

// values returns a DataRow's values; nil is NULL.
func (r reply) values() ([][]byte, bool) {
	if r.kind != 'D' || len(r.body) < 2 {
		return nil, false
	}
	rest := r.body[2:]
	var out [][]byte
	for range binary.BigEndian.Uint16(r.body) {
		if len(rest) < 4 {
			return out, false
		}
		n := int32(binary.BigEndian.Uint32(rest))
		rest = rest[4:]
		if n < 0 {
			out = append(out, nil)
			continue
		}
		if int(n) > len(rest) {
			return out, false
		}
		out = append(out, rest[:n:n])
		rest = rest[n:]
	}
	return out, len(rest) == 0
}

// fields describes an error or a notice.
func (r reply) fields() string {
	var b strings.Builder
	for f := range strings.SplitSeq(strings.TrimRight(string(r.body), "\x00"), "\x00") {
		if f != "" {
			fmt.Fprintf(&b, " %s=%q", oneLine(f[:1]), f[1:])
		}
	}
	return b.String()
}

// field returns a field of an error or a notice.
func (r reply) field(code byte) string {
	for f := range strings.SplitSeq(string(r.body), "\x00") {
		if f != "" && f[0] == code {
			return f[1:]
		}
	}
	return ""
}

// oneLine is a text with Go's escapes but without quotes.
func oneLine(s string) string { return strings.Trim(strconv.Quote(s), `"`) }

func zeroTerminated(b []byte) string {
	text, _, _ := strings.Cut(string(b), "\x00")
	return text
}

// all returns the replies of every connection.
func (p *play) all() []reply {
	var out []reply
	for _, name := range p.order {
		out = append(out, p.conns[name].replies...)
	}
	return out
}

// refusal returns the first error received, or how a connection ended.
func (p *play) refusal() string {
	for _, r := range p.all() {
		if r.kind == 'E' {
			return r.field('C') + " " + r.field('M')
		}
	}
	for _, name := range p.order {
		if c := p.conns[name]; c.login == 0 {
			return "the connection was not let in"
		}
	}
	return ""
}

// kinds are the types of the replies and the SQLSTATE of the errors.
func (p *play) kinds() []string {
	var out []string
	for _, r := range p.all() {
		switch r.kind {
		case 'E':
			out = append(out, "E"+r.field('C'))
		case 'K', 'S':
		default:
			out = append(out, string(rune(r.kind)))
		}
	}
	return out
}
