package main

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/internal/pki"
)

// loginFlags say how a gateway's clients log in.
type loginFlags struct {
	method      string
	byName      map[string]string
	oauthIssuer string
	oauthScope  string
	clientCAs   []string
	ciNetworks  []string
	inProcess   *pki.Authority // of a control plane in the same process
}

func (f *loginFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.method, "auth", "", "how clients log in that ask for nothing else: `token`, oauthbearer or scram; token unless given")
	flags.StringToStringVar(&f.byName, "auth-for", nil, "how clients log in that connect to a name, as `NAME=METHOD` (SNI)")
	flags.StringVar(&f.oauthIssuer, "oauth-issuer", "", "`issuer` of the policy that OAUTHBEARER clients are sent to; the first identity provider unless given")
	flags.StringVar(&f.oauthScope, "oauth-scope", "openid", "`scope` that OAUTHBEARER clients ask it for")
	flags.StringSliceVar(&f.ciNetworks, "ci-network", nil, "`CIDR` that jobs connect from; a person's session from there is a sign of impersonation")
	flags.StringSliceVar(&f.clientCAs, "login-ca", nil, "PEM `file` with the control plane's authority of client certificates; get it from /oauth/client-ca.pem there")
}

func (f *loginFlags) parse() (gateway.Login, error) {
	out := gateway.Login{OAuthIssuer: f.oauthIssuer, OAuthScope: f.oauthScope}
	var err error
	if f.method != "" {
		if out.Methods.Default, err = authenticate.ParseMethod(f.method); err != nil {
			return gateway.Login{}, fmt.Errorf("--auth: %w", err)
		}
	}
	out.Methods.ByServerName = make(map[string]authenticate.Method, len(f.byName))
	for name, method := range f.byName {
		if out.Methods.ByServerName[strings.ToLower(name)], err = authenticate.ParseMethod(method); err != nil {
			return gateway.Login{}, fmt.Errorf("--auth-for %s: %w", name, err)
		}
	}
	return out, nil
}

// networks are those of jobs.
func (f *loginFlags) networks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range f.ciNetworks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--ci-network %q is not a network like 10.1.0.0/16", text)
		}
		out = append(out, network.Masked())
	}
	return out, nil
}

// authorities are those whose client certificates are accepted.
func (f *loginFlags) authorities() ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	if f.inProcess != nil {
		out = append(out, f.inProcess.Certificate())
	}
	for _, file := range f.clientCAs {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the authority of client certificates: %w", err)
		}
		certs, err := pki.ParseCertificates(text)
		if err != nil {
			return nil, fmt.Errorf("read the authority of client certificates: %s: %w", file, err)
		}
		for _, cert := range certs {
			if !cert.IsCA {
				return nil, fmt.Errorf("read the authority of client certificates: %s: %q is no authority", file, cert.Subject.CommonName)
			}
		}
		out = append(out, certs...)
	}
	return out, nil
}
