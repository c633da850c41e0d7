package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/gateway/livepolicy/remote"
)

// envSourceToken holds the token that an HTTPS source wants.
const envSourceToken = "POSTERN_SOURCE_TOKEN"

// sourceFlags say where a gateway's policy comes from, if not from the control
// plane.
type sourceFlags struct {
	url, ca string
}

func (f *sourceFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.url, "source", "", "`URL` to pull policy from in place of the control plane: file:///DIR, https://HOST/PATH, s3://BUCKET/PREFIX?endpoint=URL&region=NAME or oci://HOST/REPOSITORY:TAG")
	flags.StringVar(&f.ca, "source-ca", "", "PEM `file` of the authorities that may have signed the source's certificate; the system's unless given")
}

// open returns the source: the one that the flags name, or the control plane.
func (f *sourceFlags) open(gateway string, control *controlclient.Client) (livepolicy.Source, error) {
	if f.url == "" {
		return control.Source(gateway), nil
	}
	roots, err := readAuthorities(f.ca)
	if err != nil {
		return nil, fmt.Errorf("read the source's authorities: %w", err)
	}
	return remote.Open(f.url, remote.Config{
		RootCAs: roots, Token: os.Getenv(envSourceToken), UserAgent: "postern/" + version,
		S3: remote.S3Credentials{
			AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
			SessionToken: os.Getenv("AWS_SESSION_TOKEN"), Region: firstOf(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
		},
	})
}
