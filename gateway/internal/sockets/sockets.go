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
// connection is on, and has it break when the peer has acknowledged nothing of
// what was sent for longer than unacknowledged, or had no room for it (Linux:
// TCP_USER_TIMEOUT, tcp(7)). Other connections are left as they are.
func Tune(conn net.Conn, unacknowledged time.Duration) error {
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
	err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: probeIdle, Interval: probeInterval, Count: probeCount})
	if err == nil {
		err = setUserTimeout(tcp, unacknowledged)
	}
	if err != nil {
		return fmt.Errorf("set keepalive: %w", err)
	}
	return nil
}
