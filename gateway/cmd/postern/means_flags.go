package main

import (
	"os"

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

func (f *meansFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.certFile, "upstream-ca-cert", "", "PEM `file` of the authority that signs the certificates which the gateway logs in upstream with; made as DATA/upstream-ca.pem unless given")
	flags.StringVar(&f.keyFile, "upstream-ca-key", "", "PEM `file` with its key; made as DATA/upstream-ca.key unless given")
	cmd.MarkFlagsRequiredTogether("upstream-ca-cert", "upstream-ca-key")
}

// means makes the authority if there is none, so that it is there before a
// policy asks for it. Vault is there if the environment names one.
func (f *meansFlags) means(common *commonFlags) (upstream.Means, error) {
	authority, err := pki.LoadAuthority(
		firstOf(f.certFile, common.path("upstream-ca.pem")), firstOf(f.keyFile, common.path("upstream-ca.key")), "postern upstream authority")
	if err != nil || os.Getenv("VAULT_ADDR") == "" {
		return upstream.Means{Authority: authority}, err
	}
	client, err := vault.FromEnvironment(os.Getenv)
	return upstream.Means{Authority: authority, Vault: client}, err
}
