package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/internal/login"
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

	certFile, keyFile string // of a client certificate, in place of a token
}

// addControlFlags gives a command and those below it the flags.
func addControlFlags(cmd *cobra.Command) *controlFlags {
	var f controlFlags
	flags := cmd.PersistentFlags()
	f.addPlaceTo(flags)
	flags.StringVar(&f.tokenFile, "token-file", "", "`file` that holds your token; "+envToken+" holds the token itself unless given")
	flags.StringVar(&f.certFile, "client-cert", "", "PEM `file` of a client certificate to show in place of a token")
	flags.StringVar(&f.keyFile, "client-key", "", "PEM `file` of its key")
	return &f
}

// addPlace gives a command the flags that say where the control plane is.
func (f *controlFlags) addPlace(cmd *cobra.Command) { f.addPlaceTo(cmd.Flags()) }

func (f *controlFlags) addPlaceTo(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "control", "", "URL of the control plane; "+envControl+" unless given, else where you are signed in")
	flags.StringVar(&f.ca, "ca", "", "PEM `file` of the authorities that may have signed its certificate; "+envCA+" unless given, else the system's")
}

var errNoControl = errors.New("no control plane is given")

// withClient runs f with the command's output and a client of the control
// plane.
func withClient(cmd *cobra.Command, flags *controlFlags, f func(*output, *controlclient.Client) error) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	client, err := flags.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return f(out, client)
}

// client returns a client of the control plane.
func (f *controlFlags) client() (*controlclient.Client, error) {
	f.followLogin()
	c := controlclient.Config{URL: firstOf(f.url, os.Getenv(envControl)), UserAgent: "postern/" + version, Token: f.token}
	if c.URL == "" {
		return nil, fmt.Errorf("%w: set --control or %s", errNoControl, envControl)
	}
	var err error
	if c.RootCAs, err = f.roots(); err != nil {
		return nil, err
	}
	if f.certFile != "" || f.keyFile != "" {
		cert, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		c.Token, c.Certificate = nil, &cert
	}
	return controlclient.New(c)
}

// roots are the authorities that may have signed the control plane's
// certificate; nil means the system's.
func (f *controlFlags) roots() (*x509.CertPool, error) {
	roots, err := readAuthorities(firstOf(f.ca, os.Getenv(envCA)))
	if err != nil {
		return nil, fmt.Errorf("read the control plane's authorities: %w", err)
	}
	return roots, nil
}

// readAuthorities reads the certificates of a PEM file; without a file it
// returns nil.
func readAuthorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return roots, nil
}

// followLogin uses the control plane that the person is signed in at, unless
// another one is given.
func (f *controlFlags) followLogin() {
	if firstOf(f.url, os.Getenv(envControl)) != "" {
		return
	}
	store, err := login.DefaultStore()
	if err != nil {
		return
	}
	if l, err := store.Load(); err == nil {
		f.url, f.ca = l.Control, firstOf(f.ca, os.Getenv(envCA), l.CA)
	}
}

// token returns the token of the flag or of the environment, else that of the
// person who is signed in.
func (f *controlFlags) token(ctx context.Context) (string, error) {
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
	person := credentialFlags{controlFlags: *f, gateway: "any"}
	s, err := person.source()
	if errors.Is(err, login.ErrNone) {
		return "", errors.New("there is none: set --token-file or " + envToken + ", or run: postern login")
	}
	if err != nil {
		return "", err
	}
	return s.idToken(ctx)
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
