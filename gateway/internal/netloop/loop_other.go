//go:build !linux

package netloop

import (
	"net"
	"time"
)

// Loop does not exist here.
type Loop struct{}

type item struct{ task *Task }

// Start starts no loops.
func Start() (*Loops, error) { return &Loops{}, nil }

func (*Loop) post(item) {}
func (*Loop) close()    {}

// Conn is a TCP connection.
type Conn struct{ *net.TCPConn }

func (*Conn) waitsFor(*Task) bool { return false }

// Attach is never called: there is no loop.
func (*Conn) Attach(*Loop, *Task) error { return nil }

// Discard does nothing.
func (*Conn) Discard(time.Duration) {}

// Pending is never true.
func (*Conn) Pending() bool { return false }

// Release does nothing.
func (*Conn) Release() {}

// WhenLeft is never called: there is no loop.
func (*Conn) WhenLeft(func()) {}
