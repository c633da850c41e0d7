package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/localproxy"
)

// connectCommand is a local door to the gateway.
func connectCommand() *cobra.Command {
	var f credentialFlags
	var dir string
	var port int
	cmd := &cobra.Command{
		Use:   "connect",
		Short: "Listen locally for pools and graphical tools, and log in for them",
		Long: `Listen on this machine and dial the gateway, with a fresh credential of yours,
for each client that connects: for connection pools, graphical tools and whatever
else cannot get a credential itself.

It listens on a Unix socket in a directory that only you can enter. With --port
it listens on 127.0.0.1 instead, and prints a password that clients must send,
since other users of the machine could connect there.`,
		Example: `  postern connect
  postern connect --port 5433`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runConnect(cmd, &f, dir, port)
		},
	}
	f.add(cmd)
	f.addAddress(cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "`directory` for the socket; a new one unless given")
	cmd.Flags().IntVar(&port, "port", 0, "listen on this `port` of 127.0.0.1 instead; clients need the password that is printed")
	cmd.MarkFlagsMutuallyExclusive("dir", "port")
	return cmd
}

func runConnect(cmd *cobra.Command, f *credentialFlags, dir string, port int) error {
	ctx := cmd.Context()
	s, err := f.source()
	if err != nil {
		return err
	}
	granted, err := s.credential(ctx) // a login that is over shows now
	if err != nil {
		return err
	}
	host, gatewayPort, err := f.splitAddress(granted.Address)
	if err != nil {
		return err
	}
	roots, err := f.roots()
	if err != nil {
		return err
	}
	p := &localproxy.Proxy{
		Address: net.JoinHostPort(host, gatewayPort), Logger: (&commonFlags{}).logger(),
		TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"postgresql"}},
		Credential: func(ctx context.Context) (localproxy.Credential, error) {
			g, err := s.credential(ctx)
			if err != nil {
				return localproxy.Credential{}, err
			}
			return localproxy.Credential{Role: g.DatabaseRole, Password: g.AccessToken}, nil
		},
	}
	out := newOutput(cmd.OutOrStdout())
	if cmd.Flags().Changed("port") {
		l, err := listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return err
		}
		_, listening, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return err
		}
		p.Password = rand.Text()
		if err := out.print(fmt.Sprintf("host=127.0.0.1 port=%s user=%s password=%s sslmode=disable\n", listening, granted.DatabaseRole, p.Password)); err != nil {
			return err
		}
		return withoutCancel(p.Serve(ctx, l))
	}
	l, dir, err := listenSocket(dir)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(filepath.Join(dir, socketName)) }()
	if err := out.print(fmt.Sprintf("host=%s user=%s\n", dir, granted.DatabaseRole)); err != nil {
		return err
	}
	return withoutCancel(p.Serve(ctx, l))
}

// socketName is what libpq looks for in a directory for port 5432.
const socketName = ".s.PGSQL.5432"

// listenSocket listens in a directory that nobody else can enter.
func listenSocket(dir string) (net.Listener, string, error) {
	var err error
	if dir == "" {
		if dir, err = os.MkdirTemp(os.Getenv("XDG_RUNTIME_DIR"), "postern-"); err != nil {
			return nil, "", fmt.Errorf("make the directory for the socket: %w", err)
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("make the directory for the socket: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, "", fmt.Errorf("look at the directory for the socket: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, "", fmt.Errorf("others can enter %s, and could connect as you; run: chmod 700 %s", dir, dir)
	}
	l, err := net.Listen("unix", filepath.Join(dir, socketName))
	if err != nil {
		return nil, "", fmt.Errorf("listen: %w", err)
	}
	return l, dir, nil
}
