package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/controlclient"
)

// The environment in place of flags. A token is taken from nowhere else: as a
// flag it would be seen in the list of processes.
const (
	envControl = "POSTERN_ENDPOINT"
	envCA      = "POSTERN_CA_FILE"
	envToken   = "POSTERN_TOKEN"
)

// controlFlags says how a command reaches the control plane.
type controlFlags struct {
	url       string
	ca        string
	tokenFile string
}

// addControlFlags gives a command and those below it the flags.
func addControlFlags(cmd *cobra.Command) *controlFlags {
	var f controlFlags
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.url, "control", "", "URL of the control plane; "+envControl+" unless given")
	flags.StringVar(&f.ca, "ca", "", "PEM `file` of the authorities that may have signed its certificate; "+envCA+" unless given, else the system's")
	flags.StringVar(&f.tokenFile, "token-file", "", "`file` that holds your token; "+envToken+" holds the token itself unless given")
	return &f
}

// client returns a client of the control plane.
func (f *controlFlags) client() (*controlclient.Client, error) {
	c := controlclient.Config{URL: firstOf(f.url, os.Getenv(envControl)), UserAgent: "postern/" + version, Token: f.token}
	if c.URL == "" {
		return nil, fmt.Errorf("no control plane is given: set --control or %s", envControl)
	}
	if path := firstOf(f.ca, os.Getenv(envCA)); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the control plane's authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the control plane's authorities: %s holds no PEM certificate", path)
		}
	}
	return controlclient.New(c)
}

func (f *controlFlags) token(context.Context) (string, error) {
	token := os.Getenv(envToken)
	if f.tokenFile != "" {
		data, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return "", err
		}
		token = string(data)
	}
	if token = strings.TrimSpace(token); token != "" {
		return token, nil
	}
	return "", errors.New("there is none: set --token-file or " + envToken)
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
