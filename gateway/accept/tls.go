package accept

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
)

// startTLS makes the connection a TLS connection. direct says that the client
// did not ask for it, and must then name the protocol.
func (h *handshake) startTLS(conn net.Conn, direct bool) error {
	if h.cfg.TLS == nil {
		return errors.New("direct TLS on a listener without a certificate")
	}
	c := tls.Server(conn, h.tlsConfig(direct))
	if err := c.Handshake(); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	state := c.ConnectionState()
	h.peer = direct && state.NegotiatedProtocol == ALPNPeer
	if direct && !h.peer && state.NegotiatedProtocol != ALPN {
		return errors.New("direct TLS without ALPN \"postgresql\"")
	}
	h.conn, h.state = c, &state
	return nil
}

// tlsConfig is the listener's for one connection: it asks for a certificate if
// the listener wants one, notes which one is shown, and resumes no session, as
// PostgreSQL resumes none, so that each connection proves who it is anew.
func (h *handshake) tlsConfig(direct bool) *tls.Config {
	cfg := h.cfg.TLS.Clone()
	cfg.SessionTicketsDisabled = true
	if direct && !slices.Contains(cfg.NextProtos, ALPN) {
		cfg.NextProtos = []string{ALPN}
	}
	if direct {
		cfg.NextProtos = append(slices.Clone(cfg.NextProtos), ALPNPeer)
	}
	if h.cfg.ClientCAs != nil {
		// Whoever has a certificate of somebody else's is not turned away: libpq
		// sends what it finds in ~/.postgresql to every server that asks.
		cfg.ClientAuth, cfg.ClientCAs = tls.RequestClientCert, h.cfg.ClientCAs
	}
	choose := cfg.GetCertificate
	if choose == nil {
		choose = fixedCertificate(cfg.Certificates)
	}
	cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := choose(hello)
		if err == nil && cert != nil {
			h.shown, err = leafOf(cert)
		}
		return cert, err
	}
	cfg.Certificates = nil // they would be shown without a word where SNI is absent
	return cfg
}

// fixedCertificate chooses as crypto/tls does: the first that the client
// supports, else the first.
func fixedCertificate(certs []tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if len(certs) == 0 {
			return nil, errors.New("the listener has no certificate")
		}
		for i := range certs {
			if hello.SupportsCertificate(&certs[i]) == nil {
				return &certs[i], nil
			}
		}
		return &certs[0], nil
	}
}

func leafOf(cert *tls.Certificate) (*x509.Certificate, error) {
	if cert.Leaf != nil {
		return cert.Leaf, nil
	}
	if len(cert.Certificate) == 0 {
		return nil, errors.New("a certificate of the listener is empty")
	}
	return x509.ParseCertificate(cert.Certificate[0])
}
