package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/login"
	"github.com/posternhq/postern/gateway/internal/pki"
)

// tokenForm is what `postern token` gives: a credential, unless it is asked for
// something that is of no use to who sees it.
type tokenForm struct {
	certificate string // directory
	scram       bool
}

func (f *tokenForm) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.certificate, "certificate", "", "write a client certificate and its key into this `directory`, as postgresql.crt and postgresql.key")
	cmd.Flags().BoolVar(&f.scram, "scram", false, "print a SCRAM secret and its grant, as variables of the shell")
	cmd.MarkFlagsMutuallyExclusive("certificate", "scram")
}

func (f *tokenForm) print(cmd *cobra.Command, credential *credentialFlags) error {
	s, err := credential.source()
	if err != nil {
		return err
	}
	out := newOutput(cmd.OutOrStdout())
	switch {
	case f.certificate != "":
		made, err := exchangeBy(cmd.Context(), s, login.ExchangeForCertificate)
		if err != nil {
			return err
		}
		certFile, keyFile, err := writeClientCertificate(f.certificate, made)
		if err != nil {
			return err
		}
		return out.printf("sslcert=%s sslkey=%s user=%s\n", certFile, keyFile, made.Granted.DatabaseRole)
	case f.scram:
		made, err := exchangeBy(cmd.Context(), s, login.ExchangeForSecret)
		if err != nil {
			return err
		}
		return out.printf("export PGPASSWORD=%s PGOPTIONS='%s'\n", made.Secret, scramOptions(made))
	}
	granted, err := s.credential(cmd.Context())
	if err != nil {
		return err
	}
	return out.print(granted.AccessToken + "\n")
}

// scramOptions are the startup options of a client with a SCRAM secret.
func scramOptions(s *login.Secret) string {
	return "-c postern.auth=scram -c postern.grant=" + s.Granted.AccessToken
}

// writeClientCertificate writes a certificate and its key as libpq names them.
func writeClientCertificate(dir string, c *login.Certificate) (certFile, keyFile string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", fmt.Errorf("write the certificate: %w", err)
	}
	certFile, keyFile = filepath.Join(dir, "postgresql.crt"), filepath.Join(dir, "postgresql.key")
	// The old key is removed rather than written over: it keeps its permissions.
	err = os.Remove(keyFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", "", fmt.Errorf("write the certificate: %w", err)
	}
	if err := errors.Join(os.WriteFile(keyFile, c.Key, 0o600), os.WriteFile(certFile, c.PEM, 0o644)); err != nil {
		return "", "", fmt.Errorf("write the certificate: %w", err)
	}
	return certFile, keyFile, nil
}

// The ways in which `postern psql` can prove who runs it.
const (
	withToken       = "token"
	withCertificate = "certificate"
	withSCRAM       = "scram"
)

// proof is how a psql proves who runs it: variables of its environment, and
// what to remove when it has ended.
type proof struct {
	env     []string
	role    string
	address string
	remove  func()
}

// proveBy gets a fresh proof.
func (s *credentialSource) proveBy(ctx context.Context, method string) (*proof, error) {
	switch method {
	case withToken:
		granted, err := s.credential(ctx)
		if err != nil {
			return nil, err
		}
		return &proof{env: []string{"PGPASSWORD=" + granted.AccessToken}, role: granted.DatabaseRole, address: granted.Address, remove: func() {}}, nil
	case withSCRAM:
		made, err := exchangeBy(ctx, s, login.ExchangeForSecret)
		if err != nil {
			return nil, err
		}
		options := strings.TrimSpace(os.Getenv("PGOPTIONS") + " " + scramOptions(made))
		return &proof{
			env:  []string{"PGPASSWORD=" + made.Secret, "PGOPTIONS=" + options, "PGCHANNELBINDING=require"},
			role: made.Granted.DatabaseRole, address: made.Granted.Address, remove: func() {},
		}, nil
	case withCertificate:
		made, err := exchangeBy(ctx, s, login.ExchangeForCertificate)
		if err != nil {
			return nil, err
		}
		dir, err := os.MkdirTemp("", "postern-")
		if err != nil {
			return nil, fmt.Errorf("write the certificate: %w", err)
		}
		p := &proof{role: made.Granted.DatabaseRole, address: made.Granted.Address, remove: func() { _ = os.RemoveAll(dir) }}
		certFile, keyFile, err := writeClientCertificate(dir, made)
		if err != nil {
			p.remove()
			return nil, err
		}
		p.env = []string{"PGSSLCERT=" + certFile, "PGSSLKEY=" + keyFile, "PGPASSWORD=" + pki.InPlaceOfPassword}
		return p, nil
	}
	return nil, fmt.Errorf("--with %q is not a way to log in: it is token, certificate or scram", method)
}
