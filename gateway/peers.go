package gateway

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/posternhq/postern/gateway/accept"
)

// Peers are the other gateways behind an address that clients share: a cancel
// request, which comes on a connection of its own, may reach any of them. The
// zero Peers are none.
type Peers struct {
	Instance  uint8            // this gateway's number among them, from 1; it is part of its sessions' keys
	Addresses map[uint8]string // host:port of the others, by their number
	TLS       *tls.Config      // verifies them; the system's authorities if nil
}

// instanceShift is where the instance stands in a key's process number, of
// which clients print 31 bits.
const instanceShift = 23

// number makes a process number of random bits.
func (p *Peers) number(random uint32) uint32 {
	return uint32(p.Instance)<<instanceShift | random&(1<<instanceShift-1)
}

// cancel cancels what a request names: here, or at the gateway whose session it
// is. A request that a peer has passed on goes no further.
func (s *Server) cancel(ctx context.Context, c *accept.Cancel) error {
	owner := uint8(c.PID >> instanceShift)
	address, known := s.cfg.Peers.Addresses[owner]
	if owner == s.cfg.Peers.Instance || !known || c.Peer {
		return s.sessions.cancel(ctx, c.PID, c.Key)
	}
	if err := s.cfg.Peers.pass(ctx, address, c); err != nil {
		return fmt.Errorf("pass a cancel request on to instance %d: %w", owner, err)
	}
	return nil
}

// pass sends a cancel request to a peer, over TLS alone.
func (p *Peers) pass(ctx context.Context, address string, c *accept.Cancel) error {
	const timeout = 5 * time.Second
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.TLS != nil {
		cfg = p.TLS.Clone()
	}
	cfg.ServerName, cfg.NextProtos = host, []string{accept.ALPNPeer}
	d := tls.Dialer{Config: cfg}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	const cancelRequest = 1234<<16 | 5678
	msg := binary.BigEndian.AppendUint32(nil, uint32(12+len(c.Key)))
	msg = binary.BigEndian.AppendUint32(msg, cancelRequest)
	msg = binary.BigEndian.AppendUint32(msg, c.PID)
	if _, err := conn.Write(append(msg, c.Key...)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // it closes once it has acted
		return err
	}
	return nil
}
