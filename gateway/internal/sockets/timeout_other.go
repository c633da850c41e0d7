//go:build !linux

package sockets

import (
	"net"
	"time"
)

// setUserTimeout has no equivalent: the system's own retransmission limit
// holds.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
