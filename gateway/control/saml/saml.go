// Package saml signs people in at a SAML 2.0 identity provider, as its service
// provider: web browser single sign-on, the request by HTTP-Redirect and the
// response by HTTP-POST (OASIS saml-profiles-2.0-os, section 4.1).
//
//	p, err := saml.New(saml.Config{Issuer: issuer, ACS: "https://control:8443/saml/acs"})
//	page, requestID, err := p.Request(relayState) // the browser is sent to page
//	login, err := p.Verify(r.PostFormValue("SAMLResponse"), requestID)
//
// The work on signatures is crewjam/saml's and goxmldsig's. This package is what
// stands around them. A response is accepted only if, in this order,
//
//   - it is at most 256 KiB of UTF-8, with no document type, comment, CDATA or
//     processing instruction. All of that is refused before anything parses it;
//   - it is one Response with one Assertion directly in it, nothing encrypted,
//     every ID once, and signatures nowhere but directly in these two, with
//     nothing in them but one Reference to the ID of what they are in;
//   - the Assertion is signed, with RSA or ECDSA over SHA-256, 384 or 512 and
//     exclusive canonicalization, by a certificate that the metadata has for
//     signing. What certificate the response itself shows does not matter;
//   - crewjam/saml accepts it too;
//   - what was signed, and nothing else, says so: issuer, audience, recipient
//     and destination are exactly ours, it answers the request that is under
//     way, and it is within its time, give or take [Leeway].
//
// An Assertion that answers no request is refused: there is no sign-in that the
// identity provider starts. That an Assertion counts once is for the caller to
// keep, by Login.ID until Login.Until.
//
// Failures are [*Error]; its Code names the check. Neither an Error nor anything
// else of this package holds what an Assertion says of a person.
package saml

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/crewjam/saml"

	"github.com/posternhq/postern/policylang"
)

// Leeway is how far the clocks of identity provider and control plane may
// differ.
const Leeway = 30 * time.Second

// Config says who the identity provider is and who we are. Issuer and ACS are
// required.
type Config struct {
	Issuer policylang.Issuer // with SAMLMetadata, which the policy's validation has checked
	ACS    string            // URL of the assertion consumer service: where responses are posted
	Clock  func() time.Time  // time.Now if nil
}

// Provider is a service provider of one identity provider. It is safe for
// concurrent use.
type Provider struct {
	issuer       policylang.Issuer
	acs          url.URL
	library      saml.ServiceProvider
	certificates []*x509.Certificate
	now          func() time.Time
}

// New returns a service provider.
func New(c Config) (*Provider, error) {
	acs, err := url.Parse(c.ACS)
	if err != nil {
		return nil, fmt.Errorf("read the URL of the assertion consumer service: %w", err)
	}
	metadata := &saml.EntityDescriptor{}
	if err := xml.Unmarshal([]byte(c.Issuer.SAMLMetadata), metadata); err != nil {
		return nil, fmt.Errorf("read the metadata of %q: %w", c.Issuer.Name, err)
	}
	if metadata.EntityID != c.Issuer.URL || len(metadata.IDPSSODescriptors) != 1 {
		return nil, fmt.Errorf("read the metadata of %q: it is not of one identity provider %q", c.Issuer.Name, c.Issuer.URL)
	}
	p := &Provider{issuer: c.Issuer, acs: *acs, now: c.Clock}
	if p.now == nil {
		p.now = time.Now
	}
	if p.certificates, err = signingCertificates(&metadata.IDPSSODescriptors[0]); err != nil {
		return nil, fmt.Errorf("read the metadata of %q: %w", c.Issuer.Name, err)
	}
	p.library = saml.ServiceProvider{
		EntityID: c.Issuer.Audience, AcsURL: *acs, IDPMetadata: metadata, AuthnNameIDFormat: saml.UnspecifiedNameIDFormat,
	}
	return p, nil
}

// signingCertificates are those that the metadata has for signing.
func signingCertificates(provider *saml.IDPSSODescriptor) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, key := range provider.KeyDescriptors {
		if key.Use != "signing" {
			continue
		}
		for _, c := range key.KeyInfo.X509Data.X509Certificates {
			der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(c.Data), ""))
			if err != nil {
				return nil, fmt.Errorf("decode a certificate: %w", err)
			}
			certificate, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("read a certificate: %w", err)
			}
			out = append(out, certificate)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("there is no certificate for signing in it")
	}
	return out, nil
}

// Request returns the identity provider's page for a new sign-in, and the id
// that its response must answer. The identity provider sends relayState back;
// it has at most 80 bytes of letters and digits.
func (p *Provider) Request(relayState string) (page, id string, err error) {
	at := p.library.GetSSOBindingLocation(saml.HTTPRedirectBinding)
	request, err := p.library.MakeAuthenticationRequest(at, saml.HTTPRedirectBinding, saml.HTTPPostBinding)
	if err != nil {
		return "", "", fmt.Errorf("make a SAML request: %w", err)
	}
	request.IssueInstant = p.now()
	u, err := request.Redirect(relayState, &p.library)
	if err != nil {
		return "", "", fmt.Errorf("make a SAML request: %w", err)
	}
	return u.String(), request.ID, nil
}

// Metadata returns what the identity provider needs to know of us, as XML.
func (p *Provider) Metadata() ([]byte, error) {
	descriptor := p.library.Metadata()
	for i := range descriptor.SPSSODescriptors {
		sp := &descriptor.SPSSODescriptors[i]
		sp.NameIDFormats = nil
		sp.SingleLogoutServices = nil
		sp.AssertionConsumerServices = []saml.IndexedEndpoint{{Binding: saml.HTTPPostBinding, Location: p.acs.String(), Index: 1}}
	}
	data, err := xml.MarshalIndent(descriptor, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write our SAML metadata: %w", err)
	}
	return append([]byte(xml.Header), append(data, '\n')...), nil
}
