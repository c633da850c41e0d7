package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// loopKey is the key under which a guard's context knows the loop that asks.
type loopKey struct{}

// Watch is called by a guard that is about to wait for people inside Decide.
// Until the returned function is called, the client is watched: the returned
// context ends when it leaves or cancels.
func Watch(ctx context.Context) (watched context.Context, stop func()) {
	c, ok := ctx.Value(loopKey{}).(*clientLoop)
	if !ok {
		return ctx, func() {}
	}
	return c.watch(ctx)
}

// Slow is called by a guard that is about to wait for something else inside
// Decide, be it the disk. Until the returned function is called, the event loop
// serves other sessions.
func Slow(ctx context.Context) (done func()) {
	c, ok := ctx.Value(loopKey{}).(*clientLoop)
	if !ok {
		return func() {}
	}
	return c.leave()
}

// watch lets a cancel request, and a client that leaves, end a hold.
func (c *clientLoop) watch(ctx context.Context) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	c.holdMu.Lock()
	c.stopHold = end
	c.holdMu.Unlock()
	unwatch := c.watchClient(end)
	return ctx, func() {
		c.holdMu.Lock()
		c.stopHold = nil
		c.holdMu.Unlock()
		unwatch()
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errCancelled) {
			c.heldCause = cause
		}
		end(nil)
	}
}

// watchClient notices a client that leaves while the client loop is held.
func (c *clientLoop) watchClient(end context.CancelCauseFunc) (stop func()) {
	if c.task != nil {
		back := c.leave()
		c.socket.WhenLeft(func() { end(errClientLeft) })
		return func() {
			c.socket.WhenLeft(nil)
			back()
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.in.readAhead(); err != nil {
			c.leftAhead = lostBy(err, errClientLeft)
			end(c.leftAhead)
		}
	}()
	return func() {
		_ = c.cfg.Client.SetReadDeadline(time.Unix(1, 0)) // wakes readAhead
		<-done
		_ = c.cfg.Client.SetReadDeadline(time.Time{})
	}
}

// readAhead reads into what is free of the buffer until it is full or a
// deadline passes, which is no error. What next has given out stays valid.
func (f *frames) readAhead() error {
	for f.w < len(f.buf) {
		n, err := f.src.Read(f.buf[f.w:])
		f.w += n
		var timeout net.Error
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
			return nil
		case n > 0 && errors.Is(err, io.EOF):
			return err
		default:
			return err
		}
	}
	return nil
}
