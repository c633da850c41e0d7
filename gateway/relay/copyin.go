package relay

import (
	"errors"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// copyPiece deals with the rest of a COPY data message.
func (c *clientLoop) copyPiece(p piece) error {
	if c.inCopy == nil {
		return nil // the rest of an ignored message
	}
	c.out = append(c.out, p.data...)
	return c.flush()
}

// handleCopy deals with a message while the server reads COPY data.
func (c *clientLoop) handleCopy(p piece) error {
	switch p.typ {
	case 'd':
		c.out = append(c.out, p.data...)
		if len(c.out) >= maxIdleBuffer {
			return c.flush()
		}
		return nil
	case 'S', 'H':
		return nil // the server swallows them
	case 'c', 'f':
		c.queue.setCopying(copyAwaited)
		c.out = append(c.out, p.data...)
		if c.inCopy.kind == entryExecute {
			c.out = appendEmpty(c.out, 'H') // else the answer waits for the next Sync
		}
		return c.flush()
	case 'X':
		c.out = append(c.out, p.data...)
		return errors.Join(errClientLeft, c.flush())
	}
	return refusal.New(refusal.Protocol, "a message of type %q is not allowed during COPY FROM STDIN", p.typ)
}

// expectCopy stops reading until the server has said whether it wants data.
func (c *clientLoop) expectCopy(e *entry) error {
	if !e.copyIn {
		return nil
	}
	c.inCopy = e
	return c.flush()
}
