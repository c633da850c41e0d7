package relay

import (
	"context"
	"encoding/binary"
)

// ownStatement names the gateway's own query.
const ownStatement = reservedPrefix + "_path"

// refresh asks the server what the guard wants to know of the session, so that
// the next text is analysed as the server will read it. It runs in the extended
// protocol under reserved names, because a simple Query would destroy
// the client's unnamed statement and end its batch.
func (c *clientLoop) refresh(context.Context) error {
	sql := c.cfg.Guard.Stale()
	if sql == "" {
		return nil
	}
	if err := c.awaitStatus(); err != nil {
		return err
	}
	if c.failed() {
		c.cfg.Guard.Refresh(nil) // only what ends the transaction would be answered
		return nil
	}
	var rows [][]string
	var last *entry
	own := func(kind entryKind, collect bool) {
		e := &entry{kind: kind, batch: c.batch, hidden: true, shared: c.unsynced}
		if collect {
			e.collect = &rows
		}
		c.queue.push(e)
		last = e
	}
	own(entryParse, false)
	c.out = appendText(c.out, 'P', ownStatement, sql, true)
	own(entryBind, false)
	c.out = appendBind(c.out, ownStatement)
	own(entryExecute, true)
	c.out = appendExecute(c.out, ownStatement)
	executed := last
	own(entryClose, false)
	c.out = appendClose(c.out, 'P', ownStatement)
	own(entryClose, false)
	c.out = appendClose(c.out, 'S', ownStatement)
	if c.unsynced {
		c.out = appendEmpty(c.out, 'H')
	} else {
		own(entrySync, false)
		c.out = appendEmpty(c.out, 'S')
	}
	if err := c.flush(); err != nil {
		return err
	}
	if _, open := c.queue.await(last); !open {
		return errSessionOver
	}
	if r, _ := c.queue.await(executed); r != succeeded {
		c.cfg.Guard.Refresh(nil) // in a failed transaction, or behind an error
		return nil
	}
	if rows == nil {
		rows = [][]string{}
	}
	c.cfg.Guard.Refresh(rows)
	return nil
}

// appendBind appends a Bind of the portal and statement of that name, without
// parameters, results in text.
func appendBind(dst []byte, name string) []byte {
	at := len(dst) + 1
	dst = append(dst, 'B', 0, 0, 0, 0)
	dst = append(append(dst, name...), 0)
	dst = append(append(dst, name...), 0)
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	putLength(dst, at)
	return dst
}

// appendExecute appends an Execute of all rows of a portal.
func appendExecute(dst []byte, portal string) []byte {
	at := len(dst) + 1
	dst = append(dst, 'E', 0, 0, 0, 0)
	dst = append(append(dst, portal...), 0)
	dst = append(dst, 0, 0, 0, 0)
	putLength(dst, at)
	return dst
}

// appendClose appends a Close of a statement ('S') or portal ('P').
func appendClose(dst []byte, object byte, name string) []byte {
	at := len(dst) + 1
	dst = append(dst, 'C', 0, 0, 0, 0, object)
	dst = append(append(dst, name...), 0)
	putLength(dst, at)
	return dst
}

// appendEmpty appends a message without a body.
func appendEmpty(dst []byte, typ byte) []byte { return append(dst, typ, 0, 0, 0, 4) }

// putLength writes the length of the message that ends dst and whose length
// field is at position at.
func putLength(dst []byte, at int) {
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at))
}

// awaitStatus waits, where our own question would go without a Sync of its own,
// for what was sent ahead of it and tells the status of the transaction: if the
// question fails, the server skips what the client sends next. Behind a Query
// that was answered, the question may have its Sync.
func (c *clientLoop) awaitStatus() error {
	if !c.unsynced {
		return nil
	}
	last := c.queue.lastOf(entryQuery, entryFunction, entrySync)
	if last == nil {
		last = c.asked
	}
	if last == nil {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	r, open := c.queue.await(last)
	if !open {
		return errSessionOver
	}
	if last == c.asked {
		c.unsynced = r == skipped
	}
	return nil
}

// failed reports whether the session is in a failed transaction, and nothing was
// sent that could end it.
func (c *clientLoop) failed() bool {
	return c.status.Load() == 'E' && !c.exited && c.queue.lastOf(entryQuery, entryFunction, entrySync) == nil
}
