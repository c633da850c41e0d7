package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/pki"
	"github.com/posternhq/postern/gateway/upstream/vault"
	"github.com/posternhq/postern/policylang"
)

// Means is what a gateway has for logging in upstream besides what the policy
// refers to. What a policy asks for and a gateway has not is an error.
type Means struct {
	Authority *pki.Authority // signs the certificates of roles
	Vault     *vault.Client
}

// certificateLife is that of a role's certificate: it is needed to log in, and
// then no more.
const certificateLife = 5 * time.Minute

// certify gives a TLS configuration the certificate of a role for one session.
func (m Means) certify(cfg *tls.Config, login *Login) error {
	switch {
	case m.Authority == nil:
		return errors.New("log in upstream by certificate: this gateway has no authority for it")
	case cfg == nil:
		return errors.New(`log in upstream by certificate: the policy says tls = "disable"`)
	}
	cert, err := m.Authority.IssueUpstream(login.Role, login.Session, time.Now(), certificateLife)
	if err != nil {
		return fmt.Errorf("log in upstream by certificate: %w", err)
	}
	cfg.Certificates = []tls.Certificate{cert}
	return nil
}

// withoutCertificate is for cancel requests, which PostgreSQL authenticates by
// the key that they hold. A certificate that has expired would end them.
func withoutCertificate(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return nil
	}
	cfg = cfg.Clone()
	cfg.Certificates = nil
	return cfg
}

// requirements are the authentication methods that the server may ask for, as
// pgconn has them, and whether the channel must be bound. Nothing is required
// where the policy does not say how to log in.
func requirements(target *policylang.Upstream, hasPassword, overTLS bool) (methods, binding string) {
	switch target.LoginBy() {
	case policylang.LoginSCRAM:
		binding = "require"
		if !overTLS { // there is nothing to bind to
			binding = "prefer"
		}
		return "scram-sha-256", binding
	case policylang.LoginCertificate:
		if hasPassword {
			return "none,scram-sha-256", "prefer"
		}
		return "none", "prefer"
	case policylang.LoginPassword:
	}
	return "", "prefer"
}

// advice is for the operator of a server that does not take the gateway's
// certificate. It is empty if that is not why a login failed.
func advice(target *policylang.Upstream, err error) string {
	if target.LoginBy() != policylang.LoginCertificate || !refusedLogin(err) {
		return ""
	}
	return `; the gateway logs in with a certificate that DATA/upstream-ca.pem has signed, as upstream.login says or leaves it: ` +
		`"postern upstream prepare" has what the server needs for that, "postern upstream check" what it lacks`
}

// refusedLogin reports whether the server was there and let nobody in: it said
// so, it asked for a password, or it speaks no TLS.
func refusedLogin(err error) bool {
	var pg *pgconn.PgError
	var network net.Error
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &pg):
		return strings.HasPrefix(pg.Code, "28") // invalid_authorization_specification
	case errors.As(err, &untrusted), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &network):
		// An alert, as crypto/tls has it; with TLS 1.3 a server that refuses the
		// certificate may have left before the alert is read.
		return strings.Contains(err.Error(), "remote error: tls: ") || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	}
	return true
}
