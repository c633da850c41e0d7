// Package accept receives a client's connection up to its startup packet: TLS,
// by SSLRequest or directly, the refusal of GSSAPI encryption, cancel requests
// and the startup packet itself, which it parses (PostgreSQL documentation,
// "Message Flow" and "Message Formats").
//
// [Handshake] reads exactly the bytes of each packet and nothing behind them.
// It accepts a plaintext connection only if the listener says so, and refuses
// it before any authentication request, because clients send bearer tokens
// over plaintext when they are asked.
package accept

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgproto3/v2"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// ALPN is the protocol name of PostgreSQL's direct TLS connections.
const ALPN = "postgresql"

// ALPNPeer is that of a gateway that passes a cancel request on to another.
const ALPNPeer = "postern-cancel"

// Request codes in place of a protocol version.
const (
	codeCancel = 1234<<16 | 5678
	codeSSL    = 1234<<16 | 5679
	codeGSS    = 1234<<16 | 5680
)

// Config says what a listener accepts. The zero Config refuses everybody: it
// has no certificate and allows no plaintext.
type Config struct {
	TLS            *tls.Config // must offer ALPN "postgresql" for direct TLS
	AllowPlaintext bool        // loopback examples only

	// ClientCAs, if set, has clients asked for a certificate, and told these
	// authorities. Any certificate is taken that its owner has the key of: to
	// verify it, or to pass over it, is the caller's.
	ClientCAs *x509.CertPool
}

// Client is a connection whose startup packet has been read.
type Client struct {
	Conn    net.Conn // the TLS connection if there is one
	Startup Startup
	TLS     *tls.ConnectionState // nil on a plaintext connection

	ServerCertificate *x509.Certificate // that the client was shown; nil on a plaintext connection
}

// ErrProbe is returned by Handshake when the client closed the connection
// before it sent anything, as health checks do.
var ErrProbe = errors.New("the client closed the connection before it sent anything")

// Handshake reads from conn until a startup packet or a cancel request has
// come; exactly one of client and cancel is set on success. The caller sets
// conn's deadlines and closes it. A *refusal.Refusal has been sent to the
// client already.
func Handshake(conn net.Conn, cfg Config) (client *Client, cancel *Cancel, err error) {
	h := &handshake{conn: conn, cfg: cfg}
	client, cancel, err = h.run()
	var r *refusal.Refusal
	if errors.As(err, &r) {
		_, _ = h.conn.Write(r.AppendFatal(nil)) // the connection ends either way
	}
	return client, cancel, err
}

type handshake struct {
	conn     net.Conn // replaced by the TLS connection
	cfg      Config
	state    *tls.ConnectionState
	shown    *x509.Certificate
	askedGSS bool
	peer     bool // it may send a cancel request and nothing else
}

func (h *handshake) run() (*Client, *Cancel, error) {
	var first [1]byte
	if _, err := io.ReadFull(h.conn, first[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil, ErrProbe
		}
		return nil, nil, fmt.Errorf("read the first byte: %w", err)
	}
	const tlsHandshakeRecord = 0x16
	if first[0] == tlsHandshakeRecord {
		if err := h.startTLS(&prefixConn{Conn: h.conn, prefix: first[:]}, true); err != nil {
			return nil, nil, err
		}
		if _, err := io.ReadFull(h.conn, first[:]); err != nil {
			return nil, nil, fmt.Errorf("read the startup packet: %w", err)
		}
	}
	for {
		code, body, err := h.readPacket(first[0])
		if err != nil {
			return nil, nil, err
		}
		switch code {
		case codeCancel:
			c, err := parseCancel(body)
			if c != nil {
				c.Peer = h.peer
			}
			return nil, c, err
		case codeSSL:
			if err := h.answerSSL(); err != nil {
				return nil, nil, err
			}
		case codeGSS:
			if h.askedGSS {
				return nil, nil, refusal.New(refusal.Protocol, "GSSAPI encryption was asked for twice")
			}
			h.askedGSS = true
			if _, err := h.conn.Write([]byte{'N'}); err != nil {
				return nil, nil, fmt.Errorf("answer a GSSENCRequest: %w", err)
			}
		default:
			return h.startup(code, body)
		}
		if _, err := io.ReadFull(h.conn, first[:]); err != nil {
			return nil, nil, fmt.Errorf("read the startup packet: %w", err)
		}
	}
}

// readPacket reads one packet of the startup phase, whose first byte has been
// read: a length that counts itself, a code, and the rest.
func (h *handshake) readPacket(first byte) (code uint32, body []byte, err error) {
	var head [8]byte
	head[0] = first
	if _, err := io.ReadFull(h.conn, head[1:]); err != nil {
		return 0, nil, fmt.Errorf("read the startup packet: %w", err)
	}
	length := binary.BigEndian.Uint32(head[:4])
	code = binary.BigEndian.Uint32(head[4:])
	if length < 8 || length > maxStartup {
		return 0, nil, refusal.New(refusal.Protocol, "the startup packet's length of %d is not between 8 and %d", length, maxStartup)
	}
	body = make([]byte, length-8)
	if _, err := io.ReadFull(h.conn, body); err != nil {
		return 0, nil, fmt.Errorf("read the startup packet: %w", err)
	}
	return code, body, nil
}

func (h *handshake) answerSSL() error {
	if h.state != nil {
		return refusal.New(refusal.Protocol, "TLS was asked for inside TLS")
	}
	if h.cfg.TLS == nil {
		_, err := h.conn.Write([]byte{'N'})
		return err
	}
	// Bytes behind the request were sent by somebody who cannot have seen our
	// answer: they would be read as if they had come inside TLS.
	if hasBuffered(h.conn) {
		return errors.New("bytes follow an SSLRequest before its answer: dropped as an injection")
	}
	if _, err := h.conn.Write([]byte{'S'}); err != nil {
		return fmt.Errorf("answer an SSLRequest: %w", err)
	}
	return h.startTLS(h.conn, false)
}

func (h *handshake) startup(version uint32, body []byte) (*Client, *Cancel, error) {
	if h.peer {
		return nil, nil, refusal.New(refusal.Protocol, "a gateway passes nothing on but cancel requests")
	}
	s, err := ParseStartup(version, body)
	if err != nil {
		return nil, nil, err
	}
	if h.state == nil && !h.cfg.AllowPlaintext {
		return nil, nil, refusal.New(refusal.TLSRequired, "this gateway accepts TLS connections only")
	}
	if s.negotiate {
		msg := negotiateVersion{minor: uint32(s.Minor), options: s.unknownOptions}
		if _, err := h.conn.Write(msg.append(nil)); err != nil {
			return nil, nil, fmt.Errorf("negotiate the protocol version: %w", err)
		}
	}
	return &Client{Conn: h.conn, Startup: s, TLS: h.state, ServerCertificate: h.shown}, nil, nil
}

// negotiateVersion is the NegotiateProtocolVersion message ('v').
type negotiateVersion struct {
	minor   uint32 // newest minor version supported
	options []string
}

func (m negotiateVersion) append(dst []byte) []byte {
	dst = append(dst, 'v')
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, pgproto3.ProtocolVersionNumber|m.minor)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.options)))
	for _, o := range m.options {
		dst = append(append(dst, o...), 0)
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at))
	return dst
}

// prefixConn gives back bytes that were read ahead.
type prefixConn struct {
	net.Conn
	prefix []byte
}

// NetConn returns the connection underneath.
func (c *prefixConn) NetConn() net.Conn { return c.Conn }

// Read reads the prefix first.
func (c *prefixConn) Read(b []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(b, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
