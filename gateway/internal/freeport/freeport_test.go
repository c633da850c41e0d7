package freeport_test

import (
	"net"
	"testing"

	"github.com/posternhq/postern/gateway/internal/freeport"
)

func TestAddress(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		address, err := freeport.Address()
		if err != nil || seen[address] {
			t.Fatalf("%s, %v; seen: %t", address, err, seen[address])
		}
		seen[address] = true
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
}
