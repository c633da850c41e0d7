package accept

import (
	"fmt"
	"net"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// maxPassword bounds a password message or SASL response, in bytes. Tokens are
// a few KB.
const maxPassword = 65535

// AskPassword asks the client for a password in clear text, which the caller
// must do inside TLS alone, and returns it. It reads exactly one message. The
// result is a secret.
func AskPassword(conn net.Conn) (string, error) {
	const cleartextPassword = 3
	if err := writeAuthentication(conn, cleartextPassword, nil); err != nil {
		return "", fmt.Errorf("ask for the password: %w", err)
	}
	body, err := readSecret(conn)
	if err != nil {
		return "", err
	}
	if len(body) == 0 || body[len(body)-1] != 0 {
		return "", refusal.New(refusal.Protocol, "the password has no end")
	}
	return string(body[:len(body)-1]), nil
}
