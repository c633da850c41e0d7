package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

type watchKey struct{}

func withWatch(ctx context.Context, start func() (stop func())) context.Context {
	return context.WithValue(ctx, watchKey{}, start)
}

// Watch is called by a guard that is about to wait inside Decide. Until the
// returned function is called, the client is watched: ctx ends when it leaves
// or cancels.
func Watch(ctx context.Context) (stop func()) {
	start, ok := ctx.Value(watchKey{}).(func() func())
	if !ok {
		return func() {}
	}
	return start()
}

// watch reads ahead, no further than the buffer, to notice a client that
// leaves while the client loop is held, and lets a cancel request end the
// hold.
func (c *clientLoop) watch(end context.CancelCauseFunc) (stop func()) {
	c.holdMu.Lock()
	c.stopHold = end
	c.holdMu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.in.readAhead(); err != nil {
			c.leftAhead = lostBy(err, errClientLeft)
			end(c.leftAhead)
		}
	}()
	return func() {
		c.holdMu.Lock()
		c.stopHold = nil
		c.holdMu.Unlock()
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
