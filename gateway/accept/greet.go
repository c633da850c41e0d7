package accept

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"slices"
)

// SecretSize returns how many bytes the secret of a client's cancel key has:
// 4 before protocol 3.2.
func (s *Startup) SecretSize() int {
	if s.Minor >= 2 {
		return 32
	}
	return 4
}

// Greet ends the startup phase: AuthenticationOk, the parameters, the key to
// cancel with, and ReadyForQuery.
func Greet(conn net.Conn, parameters map[string]string, pid uint32, secret []byte) error {
	b := []byte{'R', 0, 0, 0, 8, 0, 0, 0, 0}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		value := parameters[name]
		b = append(b, 'S')
		b = binary.BigEndian.AppendUint32(b, uint32(4+len(name)+1+len(value)+1))
		b = append(append(append(append(b, name...), 0), value...), 0)
	}
	b = append(b, 'K')
	b = binary.BigEndian.AppendUint32(b, uint32(8+len(secret)))
	b = binary.BigEndian.AppendUint32(b, pid)
	b = append(b, secret...)
	b = append(b, 'Z', 0, 0, 0, 5, 'I')
	if _, err := conn.Write(b); err != nil {
		return fmt.Errorf("greet the client: %w", err)
	}
	return nil
}
