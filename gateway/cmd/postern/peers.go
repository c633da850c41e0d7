package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway"
)

// peerFlags say which other gateways share an address with this one.
type peerFlags struct {
	instance  uint8
	addresses map[string]string
	ca        string
}

func (f *peerFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Uint8Var(&f.instance, "instance", 0, "this gateway's `number`, from 1, among those that share an address; cancel requests find their gateway by it")
	flags.StringToStringVar(&f.addresses, "peer", nil, "another of them, as `NUMBER=HOST:PORT`")
	flags.StringVar(&f.ca, "peer-ca", "", "PEM `file` of the authorities that their certificates are verified with; the system's unless given")
}

// peers reads the flags.
func (f *peerFlags) peers() (gateway.Peers, error) {
	p := gateway.Peers{Instance: f.instance, Addresses: map[uint8]string{}}
	for number, address := range f.addresses {
		n, err := strconv.ParseUint(number, 10, 8)
		if err != nil || n == 0 {
			return gateway.Peers{}, fmt.Errorf("--peer %s=%s: the number must be 1 to 255", number, address)
		}
		if uint8(n) == f.instance || f.instance == 0 {
			return gateway.Peers{}, fmt.Errorf("--peer %s=%s: --instance must give this gateway a number of its own", number, address)
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			return gateway.Peers{}, fmt.Errorf("--peer %s=%s: the address must be HOST:PORT", number, address)
		}
		p.Addresses[uint8(n)] = address
	}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return gateway.Peers{}, fmt.Errorf("read --peer-ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return gateway.Peers{}, fmt.Errorf("read --peer-ca: %q holds no PEM certificate", f.ca)
		}
		p.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return p, nil
}
