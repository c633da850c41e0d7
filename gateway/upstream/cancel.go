package upstream

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// cancelTimeout bounds one cancel request.
const cancelTimeout = 5 * time.Second

// Cancel asks the server, on a fresh connection, to cancel what c is doing.
// As in PostgreSQL, nothing says whether it came in time.
func (c *Conn) Cancel(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, cancelTimeout)
	defer stop()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.cancelAddr)
	if err != nil {
		return fmt.Errorf("cancel upstream: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("cancel upstream: %w", err)
	}
	if c.cancelTLS != nil {
		if conn, err = cancelOverTLS(ctx, conn, c.cancelTLS); err != nil {
			return fmt.Errorf("cancel upstream: %w", err)
		}
	}
	const cancelRequest = 1234<<16 | 5678
	msg := binary.BigEndian.AppendUint32(nil, uint32(12+len(c.secret)))
	msg = binary.BigEndian.AppendUint32(msg, cancelRequest)
	msg = binary.BigEndian.AppendUint32(msg, c.pid)
	if _, err := conn.Write(append(msg, c.secret...)); err != nil {
		return fmt.Errorf("cancel upstream: %w", err)
	}
	_, _ = io.Copy(io.Discard, conn) // the server closes once it has acted
	return nil
}

func cancelOverTLS(ctx context.Context, conn net.Conn, cfg *tls.Config) (net.Conn, error) {
	const sslRequest = 1234<<16 | 5679
	msg := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, sslRequest)
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, fmt.Errorf("the server does not speak TLS")
	}
	c := tls.Client(conn, cfg)
	return c, c.HandshakeContext(ctx)
}
