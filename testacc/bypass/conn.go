package bypass

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Endpoint is where PostgreSQL or a gateway listens, and how a role logs in.
type Endpoint struct {
	Address  string                            // host:port
	TLS      *tls.Config                       // nil: in plaintext
	Password func(role string) (string, error) // nil: no password; a token for gateways that take one
}

// reply is a message from the server.
type reply struct {
	kind byte
	body []byte
}

// maxReplies bounds what is kept of one connection.
const maxReplies = 256 << 20

// errReplyTooLong ends a connection that sends more than maxReplies.
var errReplyTooLong = errors.New("the answer is too long to be kept")

// conn is an attacking connection. It keeps every byte that it receives.
type conn struct {
	net     net.Conn
	raw     []byte // all received, decrypted
	cut     int    // up to here raw was read as replies
	replies []reply
	login   int // how many of the replies came before the first ReadyForQuery
	key     []byte
	err     error // why it is over; io.EOF if the other side closed it
}

// dialRaw connects without TLS and sends nothing.
func dialRaw(ctx context.Context, at *Endpoint) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", at.Address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &conn{net: nc}, nil
}

// open connects, asks for TLS if the endpoint wants it, and logs in with these
// startup parameters. A refused login is no error: it is in the replies.
func open(ctx context.Context, at *Endpoint, role string, parameters [][2]string, deadline time.Time) (*conn, error) {
	c, err := dialRaw(ctx, at)
	if err != nil {
		return nil, err
	}
	_ = c.net.SetDeadline(deadline)
	if err := c.startTLS(ctx, at.TLS); err != nil {
		_ = c.net.Close()
		return nil, err
	}
	body := binary.BigEndian.AppendUint32(nil, 3<<16)
	for _, p := range parameters {
		body = appendStrings(body, p[0], p[1])
	}
	body = append(body, 0)
	if err := c.write(append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...)); err != nil {
		return c, nil //nolint:nilerr // a connection that was ended at once is an outcome, which c.err holds
	}
	return c, c.logIn(at, role)
}

const (
	sslRequest    = 1234<<16 | 5679
	cancelRequest = 1234<<16 | 5678
)

func (c *conn) startTLS(ctx context.Context, cfg *tls.Config) error {
	if cfg == nil {
		return nil
	}
	request := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, sslRequest)
	if err := c.write(request); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c.net, answer[:]); err != nil {
		return fmt.Errorf("ask for TLS: %w", err)
	}
	if answer[0] != 'S' {
		return fmt.Errorf("ask for TLS: the answer is %q", answer[0])
	}
	secured := tls.Client(c.net, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("ask for TLS: %w", err)
	}
	c.net = secured
	return nil
}

// logIn answers the server until it is ready or has refused.
func (c *conn) logIn(at *Endpoint, role string) error {
	var scram *scramClient
	for {
		r, err := c.read()
		if err != nil {
			return nil //nolint:nilerr // the other side ended it: no session, which is an outcome
		}
		switch r.kind {
		case 'K':
			c.key = r.body
		case 'Z':
			c.login = len(c.replies)
			return nil
		case 'R':
			if len(r.body) < 4 {
				return errors.New("log in: a short authentication request")
			}
			var answer []byte
			if answer, scram, err = authenticate(r.body, at, role, scram); err != nil {
				return err
			}
			if answer != nil {
				if err := c.write(appendMessage(nil, 'p', answer)); err != nil {
					return nil //nolint:nilerr // as above
				}
			}
		}
	}
}

// authenticate returns the body of the answer to an authentication request,
// nil if it needs none.
func authenticate(request []byte, at *Endpoint, role string, scram *scramClient) ([]byte, *scramClient, error) {
	const (
		ok           = 0
		cleartext    = 3
		sasl         = 10
		saslContinue = 11
		saslFinal    = 12
	)
	kind, data := binary.BigEndian.Uint32(request), request[4:]
	password := ""
	if at.Password != nil && kind != ok {
		var err error
		if password, err = at.Password(role); err != nil {
			return nil, nil, fmt.Errorf("log in as %s: %w", role, err)
		}
	}
	switch kind {
	case ok, saslFinal:
		return nil, scram, nil
	case cleartext:
		return appendStrings(nil, password), nil, nil
	case sasl:
		if !bytes.Contains(data, []byte("SCRAM-SHA-256\x00")) {
			return nil, nil, errors.New("log in: no SASL mechanism is known")
		}
		scram = newSCRAM(password)
		first := scram.first()
		answer := appendStrings(nil, "SCRAM-SHA-256")
		answer = binary.BigEndian.AppendUint32(answer, uint32(len(first)))
		return append(answer, first...), scram, nil
	case saslContinue:
		if scram == nil {
			return nil, nil, errors.New("log in: SASL goes on before it began")
		}
		final, err := scram.final(string(data))
		return []byte(final), scram, err
	}
	return nil, nil, fmt.Errorf("log in: authentication of kind %d is not known", kind)
}

func (c *conn) write(b []byte) error {
	if c.err != nil {
		return c.err
	}
	if _, err := c.net.Write(b); err != nil {
		c.err = err
		return err
	}
	return nil
}

// read returns the next reply.
func (c *conn) read() (reply, error) {
	for {
		if r, ok, err := c.next(); ok || err != nil {
			return r, err
		}
		if err := c.fill(); err != nil {
			return reply{}, err
		}
	}
}

// next cuts a reply from what was received.
func (c *conn) next() (r reply, ok bool, err error) {
	rest := c.raw[c.cut:]
	if len(rest) < 5 {
		return reply{}, false, nil
	}
	n := int(binary.BigEndian.Uint32(rest[1:]))
	if n < 4 || n > maxReplies {
		c.err = fmt.Errorf("a reply of type %q announces %d bytes", rest[0], n)
		return reply{}, false, c.err
	}
	if len(rest) < 1+n {
		return reply{}, false, nil
	}
	r = reply{kind: rest[0], body: rest[5 : 1+n : 1+n]}
	c.cut += 1 + n
	c.replies = append(c.replies, r)
	return r, true, nil
}

// fill receives some bytes.
func (c *conn) fill() error {
	if c.err != nil {
		return c.err
	}
	var buf [64 << 10]byte
	n, err := c.net.Read(buf[:])
	c.raw = append(c.raw, buf[:n]...)
	switch {
	case len(c.raw) > maxReplies:
		c.err = errReplyTooLong
	case err != nil && n == 0:
		c.err = err
	}
	if n == 0 {
		return c.err
	}
	return nil
}

// timedOut reports whether the connection is over because the other side said
// nothing for too long.
func (c *conn) timedOut() bool { return errors.Is(c.err, os.ErrDeadlineExceeded) }

// collect receives until the other side closes or the time is over, which is
// no error.
func (c *conn) collect(deadline time.Time) {
	_ = c.net.SetDeadline(deadline)
	for c.fill() == nil {
	}
	for {
		if _, ok, err := c.next(); !ok || err != nil {
			break
		}
	}
	if c.timedOut() {
		c.err = nil
	}
}

// end says goodbye and receives what is still to come.
func (c *conn) end() {
	if c.err == nil {
		_ = c.net.SetDeadline(time.Now().Add(time.Second))
		_ = c.write(appendMessage(nil, 'X', nil))
		c.collect(time.Now().Add(time.Second))
	}
	_ = c.net.Close()
}
