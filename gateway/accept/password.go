package accept

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// maxPassword bounds a password message, in bytes. Tokens are a few KB.
const maxPassword = 65535

// AskPassword asks the client for a password in clear text, which the caller
// must do inside TLS alone, and returns it. It reads exactly one message. The
// result is a secret.
func AskPassword(conn net.Conn) (string, error) {
	const cleartextPassword = 3
	request := binary.BigEndian.AppendUint32([]byte{'R', 0, 0, 0, 8}, cleartextPassword)
	if _, err := conn.Write(request); err != nil {
		return "", fmt.Errorf("ask for the password: %w", err)
	}
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return "", ErrProbe // psql without a password closes and asks its user
		}
		return "", fmt.Errorf("read the password: %w", err)
	}
	length := binary.BigEndian.Uint32(head[1:])
	if head[0] != 'p' || length < 5 || length > maxPassword {
		return "", refusal.New(refusal.Protocol, "a password message was expected")
	}
	body := make([]byte, length-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if body[len(body)-1] != 0 {
		return "", refusal.New(refusal.Protocol, "the password has no end")
	}
	return string(body[:len(body)-1]), nil
}
