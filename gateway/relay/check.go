package relay

import (
	"encoding/binary"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// checkPrefix begins the names of the prepared statements of checks, and of
// their portals.
const checkPrefix = reservedPrefix + "_check_"

// check asks the server a permit's Check. Each SQL is prepared once a session, or
// again when the client has had all prepared statements forgotten.
func (c *clientLoop) check(p *Permit) error {
	if p.Check == nil {
		return nil
	}
	if c.checkLost.Swap(false) {
		c.own = newNames[prepared](c.queue, c.flush)
	}
	name := checkPrefix + p.Check.Name
	known, err := c.own.lookup(name, c.batch)
	if err != nil {
		return err
	}
	if known == nil {
		c.queue.push(&entry{kind: entryClose, batch: c.batch, hidden: true, shared: true})
		c.out = appendClose(c.out, 'S', name)
		e := &entry{kind: entryParse, batch: c.batch, hidden: true, shared: true}
		c.own.change(name, change[prepared]{entry: e, value: &prepared{}})
		c.queue.push(e)
		c.out = appendText(c.out, 'P', name, p.Check.SQL, true)
	}
	c.queue.push(&entry{kind: entryCheck, batch: c.batch, hidden: true, shared: true, checks: p})
	c.out = appendBoundTexts(c.out, name, p.Check.Args)
	c.out = appendExecute(c.out, name)
	c.out = appendClose(c.out, 'P', name)
	c.unsynced = true
	return nil
}

// appendBoundTexts appends a Bind of the portal and statement of that name,
// with parameters and results in text.
func appendBoundTexts(dst []byte, name string, args [][]byte) []byte {
	at := len(dst) + 1
	dst = append(dst, 'B', 0, 0, 0, 0)
	dst = append(append(dst, name...), 0)
	dst = append(append(dst, name...), 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(args)))
	for _, arg := range args {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(arg)))
		dst = append(dst, arg...)
	}
	dst = append(dst, 0, 0)
	putLength(dst, at)
	return dst
}

// checking deals with the answers to a check, none of which the client sees.
func (u *upstreamLoop) checking(e *entry, p piece) error {
	switch p.typ {
	case '2', 'C':
	case 'D':
		row, err := decodeRow(p.body())
		if err != nil {
			return err
		}
		if len(row) > 0 {
			e.answer = row[0]
		}
	case '3':
		u.cfg.Guard.Checked(e.checks, e.answer, true)
		u.queue.pop()
	default:
		return u.unexpected(e, p)
	}
	return nil
}

// checkFailed tells the guard that a check failed, and returns the refusal that
// stands in for the error; nil if the error is none of the check's own.
func (u *upstreamLoop) checkFailed(e *entry, state string) *refusal.Refusal {
	const noSuchStatement = "26000"
	if state == noSuchStatement {
		u.checkLost.Store(true)
	}
	u.cfg.Guard.Checked(e.checks, state, false)
	if state == e.checks.Check.Fails {
		return e.checks.Check.Refusal
	}
	return nil
}
