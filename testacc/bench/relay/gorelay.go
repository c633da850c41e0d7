package main

import (
	"flag"
	"io"
	"net"
)

// runGoRelay is the floor for a proxy in Go: two goroutines a connection that
// copy bytes and look at none. io.CopyBuffer is kept from using splice, which a
// proxy that reads what it forwards cannot use.
func runGoRelay(args []string) error {
	flags := flag.NewFlagSet("gorelay", flag.ExitOnError)
	address := flags.String("listen", "", "")
	upstream := flags.String("upstream", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	for {
		client, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			server, err := net.Dial("tcp", *upstream)
			if err != nil {
				client.Close()
				return
			}
			go copyBytes(server, client)
			copyBytes(client, server)
		}()
	}
}

// copyBytes copies until either side leaves.
func copyBytes(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	_, _ = io.CopyBuffer(writerOnly{to}, readerOnly{from}, make([]byte, 64<<10))
}

type (
	writerOnly struct{ io.Writer }
	readerOnly struct{ io.Reader }
)
