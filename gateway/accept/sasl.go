package accept

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// SASL is an exchange of SASL messages with a client (PostgreSQL documentation,
// "SASL Authentication"). What the messages say is the mechanism's.
type SASL struct {
	Mechanism string // that the client chose
	Initial   []byte // its first message; nil if it sent none. It may be a secret
	conn      net.Conn
}

// Codes of the authentication messages.
const (
	authSASL         = 10
	authSASLContinue = 11
	authSASLFinal    = 12
)

// StartSASL offers mechanisms to the client and reads its choice.
func StartSASL(conn net.Conn, mechanisms ...string) (*SASL, error) {
	var list []byte
	for _, m := range mechanisms {
		list = append(append(list, m...), 0)
	}
	if err := writeAuthentication(conn, authSASL, append(list, 0)); err != nil {
		return nil, fmt.Errorf("offer SASL: %w", err)
	}
	body, err := readSecret(conn)
	if err != nil {
		return nil, err
	}
	name, rest, err := cutString(body)
	if err != nil || len(rest) < 4 {
		return nil, refusal.New(refusal.Protocol, "the SASL response is malformed")
	}
	s := &SASL{Mechanism: name, conn: conn}
	if !slices.Contains(mechanisms, name) {
		return nil, refusal.New(refusal.Protocol, "the client chose a SASL mechanism that was not offered")
	}
	const none = 1<<32 - 1
	switch length := binary.BigEndian.Uint32(rest); {
	case length == none && len(rest) == 4:
	case uint64(length) == uint64(len(rest)-4):
		s.Initial = rest[4:]
	default:
		return nil, refusal.New(refusal.Protocol, "the SASL response is malformed")
	}
	return s, nil
}

// Challenge sends a message to the client and reads its answer, which may be a
// secret.
func (s *SASL) Challenge(message []byte) ([]byte, error) {
	if err := writeAuthentication(s.conn, authSASLContinue, message); err != nil {
		return nil, fmt.Errorf("continue SASL: %w", err)
	}
	return readSecret(s.conn)
}

// Final sends the last message of an exchange that succeeded.
func (s *SASL) Final(message []byte) error {
	if err := writeAuthentication(s.conn, authSASLFinal, message); err != nil {
		return fmt.Errorf("end SASL: %w", err)
	}
	return nil
}

func writeAuthentication(conn net.Conn, code uint32, data []byte) error {
	b := binary.BigEndian.AppendUint32([]byte{'R'}, uint32(8+len(data)))
	b = binary.BigEndian.AppendUint32(b, code)
	_, err := conn.Write(append(b, data...))
	return err
}

// readSecret reads one PasswordMessage, SASLInitialResponse or SASLResponse,
// which all have the same type.
func readSecret(conn net.Conn) ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, ErrProbe // psql without a password closes and asks its user
		}
		return nil, fmt.Errorf("read the password: %w", err)
	}
	length := binary.BigEndian.Uint32(head[1:])
	if head[0] != 'p' || length < 4 || length > maxPassword {
		return nil, refusal.New(refusal.Protocol, "a message with a password, or a SASL response, was expected")
	}
	body := make([]byte, length-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	return body, nil
}
