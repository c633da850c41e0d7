// Package sockets has the system notice a peer that is gone without having said
// so: a machine that lost its power, a firewall that forgot a connection.
package sockets

import (
	"fmt"
	"net"
	"time"
)

// How a silent connection is probed: a peer that answers nothing is given up
// after idle + count * interval, a minute.
const (
	probeIdle     = 30 * time.Second
	probeInterval = 10 * time.Second
	probeCount    = 3
)

// Tune turns on keepalive probes for a TCP connection, or the one that a TLS
// connection is on. Other connections are left as they are.
//
// It sets no TCP_USER_TIMEOUT (Linux, tcp(7)): that would take the place of the
// count of probes, and break the connection of a peer that answers but has no
// room for more. A peer that is gone with something sent and not acknowledged is
// given up when the system stops sending it again, on Linux after a quarter of
// an hour (tcp_retries2).
func Tune(conn net.Conn) error {
	for {
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = outer.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	if err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: probeIdle, Interval: probeInterval, Count: probeCount}); err != nil {
		return fmt.Errorf("set keepalive: %w", err)
	}
	return nil
}
