package policylang

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// maxMetadataBytes bounds a SAML identity provider's metadata.
const maxMetadataBytes = 128 << 10

// samlEntity is the part of SAML 2.0 metadata that says how people sign in at
// an identity provider (OASIS saml-metadata-2.0-os, sections 2.3.2 and 2.4.3).
type samlEntity struct {
	XMLName   xml.Name       `xml:"urn:oasis:names:tc:SAML:2.0:metadata EntityDescriptor"`
	EntityID  string         `xml:"entityID,attr"`
	Providers []samlProvider `xml:"urn:oasis:names:tc:SAML:2.0:metadata IDPSSODescriptor"`
}

type samlProvider struct {
	WantsSigned string       `xml:"WantAuthnRequestsSigned,attr"`
	Keys        []samlKey    `xml:"urn:oasis:names:tc:SAML:2.0:metadata KeyDescriptor"`
	SignOn      []samlSignOn `xml:"urn:oasis:names:tc:SAML:2.0:metadata SingleSignOnService"`
}

type samlKey struct {
	Use          string   `xml:"use,attr"`
	Certificates []string `xml:"http://www.w3.org/2000/09/xmldsig# KeyInfo>X509Data>X509Certificate"`
}

type samlSignOn struct {
	Binding  string `xml:",attr"`
	Location string `xml:",attr"`
}

const samlRedirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"

// samlIssuer checks an issuer that is a SAML identity provider.
func (c checker) samlIssuer(attr string, i *Issuer) {
	const advice = "Put the XML there that the identity provider gives as its metadata, for one EntityDescriptor."
	attr += ".saml_metadata"
	if i.Name == "postern" {
		c.add(attr, `the issuer "postern" is the control plane, not a SAML identity provider`, "Give the identity provider another name.")
		return
	}
	entity, err := readSAML(i.SAMLMetadata)
	if err != nil {
		c.add(attr, "saml_metadata "+err.Error(), advice)
		return
	}
	if i.URL != "" && entity.EntityID != i.URL {
		c.add(attr, fmt.Sprintf("saml_metadata is of %q, and url is %q", entity.EntityID, i.URL), "Make url the entityID of the metadata.")
	}
	if len(entity.Providers) != 1 {
		c.add(attr, fmt.Sprintf("saml_metadata has %d IDPSSODescriptor elements, not one", len(entity.Providers)), advice)
		return
	}
	provider := entity.Providers[0]
	if strings.EqualFold(provider.WantsSigned, "true") || provider.WantsSigned == "1" {
		c.add(attr, "the identity provider wants signed requests, and Postern sends unsigned ones",
			"Turn that off at the identity provider: a request says nothing that needs a signature. Then put its new metadata there.")
	}
	if err := signingCertificates(provider.Keys); err != nil {
		c.add(attr, "saml_metadata "+err.Error(), advice)
	}
	c.signOn(attr, provider.SignOn)
}

func (c checker) signOn(attr string, services []samlSignOn) {
	for _, s := range services {
		if s.Binding != samlRedirect {
			continue
		}
		u, err := url.Parse(s.Location)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
			c.add(attr, fmt.Sprintf("the SingleSignOnService at %q is not at an https URL", s.Location), "Only an identity provider on a loopback address may be at an http URL.")
		}
		return
	}
	c.add(attr, "saml_metadata has no SingleSignOnService for the binding HTTP-Redirect", "Turn that binding on at the identity provider.")
}

// readSAML reads metadata, which must have no document type: it could hold
// entities.
func readSAML(text string) (*samlEntity, error) {
	if len(text) > maxMetadataBytes {
		return nil, fmt.Errorf("is longer than %d bytes", maxMetadataBytes)
	}
	tokens := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := tokens.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.New("is not XML: " + xmlProblem(err))
		}
		if _, directive := token.(xml.Directive); directive {
			return nil, errors.New("has a document type (<!DOCTYPE), which is not accepted")
		}
	}
	var entity samlEntity
	if err := xml.Unmarshal([]byte(text), &entity); err != nil {
		return nil, errors.New("is not the metadata of a SAML 2.0 identity provider: " + xmlProblem(err))
	}
	return &entity, nil
}

func xmlProblem(err error) string {
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("line %d: %s", syntax.Line, syntax.Msg)
	}
	return err.Error()
}

// signingCertificates checks that there is a certificate to verify signatures
// with, and that those there are can.
func signingCertificates(keys []samlKey) error {
	found := 0
	for _, key := range keys {
		if key.Use != "signing" {
			continue
		}
		for _, text := range key.Certificates {
			if err := signingCertificate(text); err != nil {
				return err
			}
			found++
		}
	}
	if found == 0 {
		return errors.New(`has no certificate to verify signatures with (KeyDescriptor use="signing")`)
	}
	return nil
}

func signingCertificate(text string) error {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return errors.New("has a certificate that is not base64")
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return errors.New("has a certificate that cannot be read")
	}
	switch key := certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return fmt.Errorf("has a certificate whose RSA key has %d bits; 2048 are needed", key.N.BitLen())
		}
	case *ecdsa.PublicKey:
	default:
		return errors.New("has a certificate whose key is neither RSA nor ECDSA")
	}
	return nil
}
