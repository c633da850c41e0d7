// Package localproxy is `postern connect`: it listens on this machine for
// clients that can't get a fresh credential themselves, such as pools and
// graphical tools, and dials the gateway for each with one of the person who
// runs it.
//
//	p := &localproxy.Proxy{Address: "db.example.com:6432", Credential: credential}
//	err := p.Serve(ctx, listener)
//
// A listener on a Unix socket should be in a directory that only the person can
// enter. On a TCP port any user of the machine could connect, so that Password
// must be set: clients send it as theirs.
//
// To the client it speaks PostgreSQL's protocol without TLS, which never leaves
// the machine; to the gateway it always speaks TLS and verifies the gateway's
// certificate and name. The user that the client asks for is replaced by the
// credential's role. From the gateway's AuthenticationOk on it only copies.
package localproxy

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Credential is a password for one connection and the role that it is for.
type Credential struct{ Role, Password string }

// Proxy is a local door to one gateway.
type Proxy struct {
	Address    string // host:port of the gateway
	TLS        *tls.Config
	Credential func(context.Context) (Credential, error)
	Password   string // clients must send it; empty asks for none
	Logger     *slog.Logger
}

// Request codes of the startup phase (PostgreSQL's protocol documentation,
// "Message Formats").
const (
	cancelRequest = 1234<<16 | 5678
	sslRequest    = 1234<<16 | 5679
	gssRequest    = 1234<<16 | 5680
)

const (
	maxStartup   = 10_000 // as PostgreSQL's MAX_STARTUP_PACKET_LENGTH
	loginTimeout = time.Minute
)

// Serve accepts clients until ctx ends, then closes them and waits.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		clients.Go(func() {
			defer conn.Close()
			if err := p.serve(ctx, conn); err != nil && ctx.Err() == nil {
				p.Logger.LogAttrs(ctx, slog.LevelWarn, "a connection failed", slog.Any("error", err))
			}
		})
	}
}

// serve is one client.
func (p *Proxy) serve(ctx context.Context, client net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	if err := client.SetDeadline(time.Now().Add(loginTimeout)); err != nil {
		return err
	}
	code, body, err := readStartup(client)
	if err != nil {
		return err
	}
	if code == cancelRequest {
		return p.cancel(ctx, body)
	}
	if code>>16 != 3 {
		return p.refuse(client, "08P01", "only protocol 3 is spoken here", "")
	}
	if p.Password != "" {
		if err := p.checkPassword(client); err != nil {
			return err
		}
	}
	credential, err := p.Credential(ctx)
	if err != nil {
		return errors.Join(err, p.refuse(client, "28000", "no credential could be got for this connection", err.Error()))
	}
	gateway, err := p.dial(ctx)
	if err != nil {
		return errors.Join(err, p.refuse(client, "08006", "the gateway cannot be reached", "see what postern connect prints"))
	}
	defer gateway.Close()
	stopGateway := context.AfterFunc(ctx, func() { _ = gateway.Close() })
	defer stopGateway()
	if err := p.logIn(client, gateway, code, body, credential); err != nil {
		return err
	}
	if err := errors.Join(client.SetDeadline(time.Time{}), gateway.SetDeadline(time.Time{})); err != nil {
		return err
	}
	return relay(client, gateway)
}

// relay copies both ways until either side ends.
func relay(client, gateway net.Conn) error {
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(gateway, client) // ends with either connection
		_ = gateway.Close()
	}()
	_, _ = io.Copy(client, gateway)
	_ = client.Close()
	<-up
	return nil
}

// readStartup reads the first packet that matters and declines encryption.
func readStartup(client net.Conn) (code uint32, body []byte, err error) {
	for range 3 { // GSS, TLS, and the startup itself
		var head [8]byte
		if _, err := io.ReadFull(client, head[:]); err != nil {
			return 0, nil, fmt.Errorf("read the startup packet: %w", err)
		}
		size, code := binary.BigEndian.Uint32(head[:4]), binary.BigEndian.Uint32(head[4:])
		if size < 8 || size > maxStartup {
			return 0, nil, errors.New("read the startup packet: it has an impossible length")
		}
		body = make([]byte, size-8)
		if _, err := io.ReadFull(client, body); err != nil {
			return 0, nil, fmt.Errorf("read the startup packet: %w", err)
		}
		if code != sslRequest && code != gssRequest {
			return code, body, nil
		}
		if _, err := client.Write([]byte{'N'}); err != nil {
			return 0, nil, err
		}
	}
	return 0, nil, errors.New("read the startup packet: the client keeps asking for encryption")
}

// dial connects to the gateway over TLS.
func (p *Proxy) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return nil, fmt.Errorf("dial the gateway: %w", err)
	}
	secured, err := p.secure(ctx, conn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("dial the gateway %s: %w", p.Address, err), conn.Close())
	}
	return secured, nil
}

func (p *Proxy) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, sslRequest)); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, errors.New("it does not speak TLS")
	}
	config := p.TLS.Clone()
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(p.Address)
		if err != nil {
			return nil, err
		}
		config.ServerName = host
	}
	secured := tls.Client(conn, config)
	return secured, secured.HandshakeContext(ctx)
}

// cancel passes a cancel request on; the key in it is the gateway's.
func (p *Proxy) cancel(ctx context.Context, body []byte) error {
	gateway, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer gateway.Close()
	if _, err := gateway.Write(startup(cancelRequest, body)); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, gateway) // it closes once it has acted
	return nil
}

func startup(code uint32, body []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(binary.BigEndian.AppendUint32(out, code), body...)
}

// checkPassword asks the client for the local password.
func (p *Proxy) checkPassword(client net.Conn) error {
	if _, err := client.Write([]byte{'R', 0, 0, 0, 8, 0, 0, 0, 3}); err != nil {
		return err
	}
	kind, body, err := readMessage(client)
	if err != nil {
		return err
	}
	if len(body) > 0 {
		body = body[:len(body)-1] // its terminating zero
	}
	if kind != 'p' || subtle.ConstantTimeCompare(body, []byte(p.Password)) != 1 {
		return p.refuse(client, "28P01", "the password is not the one that postern connect printed", "copy it from there")
	}
	return nil
}

// logIn starts the gateway's session as the credential's role and answers for
// the client until AuthenticationOk. What else the gateway says is passed on.
func (p *Proxy) logIn(client, gateway net.Conn, code uint32, params []byte, c Credential) error {
	deadline := time.Now().Add(loginTimeout)
	if err := errors.Join(gateway.SetDeadline(deadline), client.SetDeadline(deadline)); err != nil {
		return err
	}
	if _, err := gateway.Write(startup(code, withUser(params, c.Role))); err != nil {
		return err
	}
	for {
		kind, body, err := readMessage(gateway)
		if err != nil {
			return fmt.Errorf("log in at the gateway: %w", err)
		}
		if kind == 'R' && len(body) >= 4 && binary.BigEndian.Uint32(body) == 3 {
			if _, err := gateway.Write(message('p', append([]byte(c.Password), 0))); err != nil {
				return err
			}
			continue
		}
		if kind == 'R' && (len(body) != 4 || binary.BigEndian.Uint32(body) != 0) {
			return p.refuse(client, "28000", "the gateway asks for a way to log in that is not known here", "update postern")
		}
		if _, err := client.Write(message(kind, body)); err != nil {
			return err
		}
		switch kind {
		case 'E':
			return errors.New("the gateway refused the connection; the client was told why")
		case 'R':
			return nil
		}
	}
}

// withUser replaces the user among startup parameters, and sets the database
// to the one that the client's user meant, if it named none.
func withUser(params []byte, user string) []byte {
	out := []byte("user\x00" + user + "\x00")
	asked, hasDatabase := "", false
	for len(params) > 0 && params[0] != 0 {
		name, rest, ok := cut(params)
		if !ok {
			break
		}
		value, rest, ok := cut(rest)
		if !ok {
			break
		}
		params = rest
		if name == "user" {
			asked = value
			continue
		}
		hasDatabase = hasDatabase || name == "database"
		out = append(out, name+"\x00"+value+"\x00"...)
	}
	if !hasDatabase {
		out = append(out, "database\x00"+asked+"\x00"...)
	}
	return append(out, 0)
}

func cut(b []byte) (text string, rest []byte, ok bool) {
	for i, c := range b {
		if c == 0 {
			return string(b[:i]), b[i+1:], true
		}
	}
	return "", nil, false
}

// maxLoginMessage bounds what either side says while logging in.
const maxLoginMessage = 1 << 20

func readMessage(conn net.Conn) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size < 4 || size > maxLoginMessage {
		return 0, nil, errors.New("a message has an impossible length")
	}
	body = make([]byte, size-4)
	_, err = io.ReadFull(conn, body)
	return head[0], body, err
}

func message(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body))), body...)
}

// refuse tells the client why it is not let in.
func (p *Proxy) refuse(client net.Conn, sqlstate, text, hint string) error {
	body := []byte("SFATAL\x00VFATAL\x00C" + sqlstate + "\x00M" + text + "\x00")
	if hint != "" {
		body = append(body, "H"+hint+"\x00"...)
	}
	_, _ = client.Write(message('E', append(body, 0))) // the connection ends either way
	return fmt.Errorf("a client was refused: %s", text)
}
