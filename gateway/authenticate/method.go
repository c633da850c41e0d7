package authenticate

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Method is how a client proves who it is. Each connection uses one.
type Method string

// The methods. Their names are also those of identity.auth_method.
const (
	MethodToken       Method = "token"       // a token as the password
	MethodOAuthBearer Method = "oauthbearer" // a token by SASL OAUTHBEARER (RFC 7628)
	MethodSCRAM       Method = "scram"       // a minted secret by SCRAM-SHA-256 or -PLUS (RFC 7677)
	MethodCertificate Method = "certificate" // a client certificate of the control plane's authority
)

// chosen are the methods that a client, a server name or a listener can ask
// for. A certificate is not asked for but shown.
func chosen() []Method { return []Method{MethodToken, MethodOAuthBearer, MethodSCRAM} }

// ParseMethod reads the name of a method that can be asked for.
func ParseMethod(name string) (Method, error) {
	if m := Method(name); slices.Contains(chosen(), m) {
		return m, nil
	}
	return "", fmt.Errorf("%q is not a way to log in: it is token, oauthbearer or scram", name)
}

// Methods says how a listener's clients log in, unless they ask for something
// else. The zero Methods is tokens for all.
type Methods struct {
	Default      Method
	ByServerName map[string]Method // by the name that the client looks for (SNI), in lower case
}

// Hints are what a connection shows of itself before anybody asks for a proof.
type Hints struct {
	Certificates []*x509.Certificate // of the client, its own first; of which it has the key
	Option       string              // postern.auth among the startup options
	ServerName   string              // SNI
}

// Choose returns the method of a connection: a certificate that the control
// plane minted, else what the client asks for, else what the name stands for
// that it connected to, else the listener's. The claims are set if it is a
// certificate. An error is a [*Failure]: a certificate of the control plane's
// authority that is not good, or a method that there is not.
func (a *Authenticator) Choose(m Methods, h Hints) (Method, map[string]any, error) {
	if len(h.Certificates) > 0 {
		claims, err := a.Certificate(h.Certificates)
		if !errors.Is(err, errForeign) {
			return MethodCertificate, claims, err
		}
	}
	if h.Option != "" {
		method, err := ParseMethod(h.Option)
		if err != nil {
			return "", nil, &Failure{
				Code: "method_unknown", Public: "postern.auth names no way to log in", Hint: "it is token, oauthbearer or scram",
				Reason: "the client asked by postern.auth for a method that there is not", Err: err,
			}
		}
		return method, nil, nil
	}
	if method, ok := m.ByServerName[strings.ToLower(h.ServerName)]; ok && h.ServerName != "" {
		return method, nil, nil
	}
	if m.Default != "" {
		return m.Default, nil, nil
	}
	return MethodToken, nil, nil
}
