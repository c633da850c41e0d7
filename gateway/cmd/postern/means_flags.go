package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/pki"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/gateway/upstream/vault"
)

// meansFlags say what a gateway logs in to its upstream with.
type meansFlags struct {
	certFile string
	keyFile  string
}

// Files of the authority in a gateway's directory.
const (
	upstreamCA    = "upstream-ca.pem"
	upstreamCAKey = "upstream-ca.key"
)

func (f *meansFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.certFile, "upstream-ca-cert", "", "PEM `file` of the authority that signs the certificates which the gateway logs in upstream with; made as DATA/"+upstreamCA+" unless given")
	flags.StringVar(&f.keyFile, "upstream-ca-key", "", "PEM `file` with its key; made as DATA/"+upstreamCAKey+" unless given")
	cmd.MarkFlagsRequiredTogether("upstream-ca-cert", "upstream-ca-key")
}

// means makes the authority if there is none, so that it is there before a
// policy asks for it.
func (f *meansFlags) means(common *commonFlags) (upstream.Means, error) {
	return readMeans(firstOf(f.certFile, common.path(upstreamCA)), firstOf(f.keyFile, common.path(upstreamCAKey)))
}

// meansIn are those of the gateway whose state is in a directory, as another
// command on its host has them. It makes nothing.
func meansIn(data string) (upstream.Means, error) {
	cert, key := filepath.Join(data, upstreamCA), filepath.Join(data, upstreamCAKey)
	if _, err := os.Stat(key); data == "" || errors.Is(err, fs.ErrNotExist) {
		return withVault(upstream.Means{})
	}
	return readMeans(cert, key)
}

func readMeans(cert, key string) (upstream.Means, error) {
	authority, err := pki.LoadAuthority(cert, key, "postern upstream authority")
	if err != nil {
		return upstream.Means{}, err
	}
	return withVault(upstream.Means{Authority: authority})
}

// withVault adds the Vault that the environment names, if it names one.
func withVault(m upstream.Means) (upstream.Means, error) {
	if os.Getenv("VAULT_ADDR") == "" {
		return m, nil
	}
	var err error
	if m.Vault, err = vault.FromEnvironment(os.Getenv); err != nil {
		return m, fmt.Errorf("log in to Vault: %w", err)
	}
	return m, nil
}
