//go:build !linux

package accept

import "net"

// hasBuffered cannot look where the system has no non-blocking peek; bytes
// behind the request then fail the TLS handshake, since no buffer of ours
// holds them.
func hasBuffered(net.Conn) bool { return false }
