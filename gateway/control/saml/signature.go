package saml

import (
	"crypto/x509"
	"slices"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"
)

// The algorithms that are accepted, by the identifiers of RFC 6931.
func signatureMethods() []string {
	return []string{
		dsig.RSASHA256SignatureMethod, dsig.RSASHA384SignatureMethod, dsig.RSASHA512SignatureMethod,
		dsig.ECDSASHA256SignatureMethod, dsig.ECDSASHA384SignatureMethod, dsig.ECDSASHA512SignatureMethod,
	}
}

func digestMethods() []string {
	return []string{
		"http://www.w3.org/2001/04/xmlenc#sha256",
		"http://www.w3.org/2001/04/xmldsig-more#sha384",
		"http://www.w3.org/2001/04/xmlenc#sha512",
	}
}

const (
	enveloped = string(dsig.EnvelopedSignatureAltorithmId)
	exclusive = string(dsig.CanonicalXML10ExclusiveAlgorithmId)
)

// checkSignature looks at the form of a signature that is in the element with
// an id: one Reference, to that id, and algorithms of the list.
func checkSignature(s *etree.Element, id string) *Error {
	info := only(s, signatureNS, "SignedInfo")
	if info == nil || only(s, signatureNS, "SignatureValue") == nil {
		return refuse(CodeReference, "a signature has not one SignedInfo and one SignatureValue")
	}
	references := every(info, signatureNS, "Reference")
	if len(references) != 1 {
		return refuse(CodeReference, "a signature has %d references, not one", len(references))
	}
	reference := references[0]
	if id == "" || reference.SelectAttrValue("URI", "") != "#"+id {
		return refuse(CodeReference, "a signature is not over the element that it is in")
	}
	if a := algorithm(info, "CanonicalizationMethod"); a != exclusive {
		return refuse(CodeAlgorithm, "a signature's canonicalization is not exclusive (%s)", exclusive)
	}
	if a := algorithm(info, "SignatureMethod"); !slices.Contains(signatureMethods(), a) {
		return refuse(CodeAlgorithm, "a signature's algorithm is %.80q; it must be RSA or ECDSA with SHA-256, 384 or 512", a)
	}
	if a := algorithm(reference, "DigestMethod"); !slices.Contains(digestMethods(), a) {
		return refuse(CodeAlgorithm, "a signature's digest is %.80q; it must be SHA-256, 384 or 512", a)
	}
	return checkTransforms(reference)
}

func checkTransforms(reference *etree.Element) *Error {
	transforms := only(reference, signatureNS, "Transforms")
	if transforms == nil {
		return refuse(CodeReference, "a signature has no transforms: it would be over itself")
	}
	for i, t := range transforms.ChildElements() {
		a := t.SelectAttrValue("Algorithm", "")
		if !is(t, signatureNS, "Transform") || i > 1 || a != [2]string{enveloped, exclusive}[i] {
			return refuse(CodeAlgorithm, "a signature's transforms are not the two that SAML allows, enveloped signature and exclusive canonicalization")
		}
	}
	return nil
}

// algorithm is what the one child of a name says, or nothing.
func algorithm(e *etree.Element, tag string) string {
	if child := only(e, signatureNS, tag); child != nil {
		return child.SelectAttrValue("Algorithm", "")
	}
	return ""
}

// verify returns what was signed of an element that has a signature: a document
// of its own, made of the bytes that the signature is over. The element keeps
// its place.
func (p *Provider) verify(e *etree.Element) (*etree.Element, *Error) {
	scope, err := etreeutils.NSBuildParentContext(e)
	if err == nil {
		scope, err = scope.SubContext(e)
	}
	if err != nil {
		return nil, refuse(CodeMalformed, "its namespaces cannot be followed")
	}
	detached, err := etreeutils.NSDetatch(scope, e)
	if err != nil {
		return nil, refuse(CodeMalformed, "its namespaces cannot be followed")
	}
	// Which certificate it shows does not matter: ours are tried.
	if s := only(detached, signatureNS, "Signature"); s != nil {
		for _, shown := range every(s, signatureNS, "KeyInfo") {
			s.RemoveChild(shown)
		}
	}
	expired := 0
	for _, certificate := range p.certificates {
		if now := p.now(); now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
			expired++
			continue
		}
		context := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{certificate}})
		context.IdAttribute = "ID"
		context.Clock = dsig.NewFakeClockAt(p.now())
		if signed, err := context.Validate(detached); err == nil {
			return signed, nil
		}
	}
	return nil, refuse(CodeSignature, "the signature of the %s verifies with none of the metadata's %d certificates, %d of which are out of their time",
		e.Tag, len(p.certificates), expired)
}
