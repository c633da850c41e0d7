// Package freeport finds ports for servers of tests and of the demo that must be
// told their port before they listen, or that listen on it again later.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports that are looked at: below those that systems give to outgoing
// connections and to listeners that name none (Linux: from 32768), so that
// nobody is given one meanwhile.
const (
	first = 15_000
	last  = 29_999
)

// given are the ports that this process was given.
var given struct {
	mu    sync.Mutex
	ports map[int]bool
}

// Find returns a port of 127.0.0.1 on which nobody listens. It gives none twice.
func Find() (int, error) {
	given.mu.Lock()
	defer given.mu.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	for range 1000 {
		port := first + rand.IntN(last-first+1)
		if given.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		given.ports[port] = true
		return port, l.Close()
	}
	return 0, errors.New("find a free port: of a thousand none is free")
}

// Address is Find with the host: host:port.
func Address() (string, error) {
	port, err := Find()
	return address(port), err
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
