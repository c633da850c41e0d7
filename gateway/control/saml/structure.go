package saml

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/beevik/etree"
	xrv "github.com/mattermost/xml-roundtrip-validator"
)

const (
	maxResponseBytes = 256 << 10
	maxDepth         = 64
)

const (
	protocolNS  = "urn:oasis:names:tc:SAML:2.0:protocol"
	assertionNS = "urn:oasis:names:tc:SAML:2.0:assertion"
	signatureNS = "http://www.w3.org/2000/09/xmldsig#"
)

// decode returns the XML of a posted response, if it has none of what SAML does
// without and attacks are made of.
func decode(posted string) ([]byte, *Error) {
	if len(posted) > base64.StdEncoding.EncodedLen(maxResponseBytes) {
		return nil, refuse(CodeMalformed, "longer than %d bytes", maxResponseBytes)
	}
	data, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\r", "", "\n", "").Replace(posted))
	if err != nil {
		return nil, refuse(CodeMalformed, "it is not base64")
	}
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return nil, refuse(CodeMalformed, "it is not UTF-8")
	}
	if err := checkMarkup(data); err != nil {
		return nil, err
	}
	if err := xrv.Validate(bytes.NewReader(data)); err != nil {
		return nil, refuse(CodeMalformed, "it is not XML that reads the same twice")
	}
	return data, nil
}

// declaration is an XML declaration that names no other encoding than UTF-8.
var declaration = regexp.MustCompile(`^<\?xml version=["']1\.0["']( encoding=["'](?i:utf-8)["'])?( standalone=["'](yes|no)["'])? *\?>`)

// checkMarkup looks at bytes, so that no parser's idea of the document matters.
func checkMarkup(data []byte) *Error {
	body := data[len(declaration.Find(data)):]
	upper := bytes.ToUpper(body)
	switch {
	case bytes.Contains(upper, []byte("<!DOCTYPE")), bytes.Contains(upper, []byte("<!ENTITY")):
		return refuse(CodeDoctype, "it has a document type")
	case bytes.Contains(body, []byte("<!--")):
		return refuse(CodeComment, "it has a comment")
	case bytes.Contains(body, []byte("<!")):
		return refuse(CodeMalformed, "it has a CDATA section or a declaration")
	case bytes.Contains(body, []byte("<?")):
		return refuse(CodeMalformed, "it has a processing instruction, or says that it is not XML 1.0 in UTF-8")
	}
	return nil
}

// document is a response whose structure was checked.
type document struct {
	response  *etree.Element
	assertion *etree.Element   // nil if there is none, as in an answer that nobody signed in
	signed    []*etree.Element // which of the two have a signature
}

func parse(data []byte) (*document, *Error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(data); err != nil || doc.Root() == nil {
		return nil, refuse(CodeMalformed, "it is not XML")
	}
	d := &document{response: doc.Root()}
	if !is(d.response, protocolNS, "Response") {
		return nil, refuse(CodeStructure, "the root is not a Response")
	}
	w := walk{ids: map[string]bool{}}
	if err := w.element(d.response, 0); err != nil {
		return nil, err
	}
	if err := w.countOnes(); err != nil {
		return nil, err
	}
	if len(w.assertions) == 1 {
		d.assertion = w.assertions[0]
		if d.assertion.Parent() != d.response || !is(d.assertion, assertionNS, "Assertion") {
			return nil, refuse(CodeStructure, "the Assertion is not directly in the Response")
		}
	}
	if err := d.placeSignatures(w.signatures); err != nil {
		return nil, err
	}
	return d, nil
}

// walk is what is found on a way through a document. Names count in whichever
// namespace they are, so that none hides by its prefix.
type walk struct {
	ids        map[string]bool
	responses  int
	assertions []*etree.Element
	signatures []*etree.Element
}

func (w *walk) element(e *etree.Element, depth int) *Error {
	if depth > maxDepth {
		return refuse(CodeStructure, "elements are nested more than %d deep", maxDepth)
	}
	switch e.Tag {
	case "Response":
		w.responses++
	case "Assertion":
		w.assertions = append(w.assertions, e)
	case "Signature":
		w.signatures = append(w.signatures, e)
	case "EncryptedAssertion", "EncryptedID", "EncryptedAttribute", "EncryptedData":
		return refuse(CodeEncrypted, "it has an %s; turn encryption off at the identity provider, TLS does it", e.Tag)
	case "Object":
		return refuse(CodeStructure, "it has an Object, which no signature here needs")
	}
	for _, a := range e.Attr {
		if !strings.EqualFold(a.Key, "ID") {
			continue
		}
		if w.ids[a.Value] {
			return refuse(CodeStructure, "two elements have the same ID")
		}
		w.ids[a.Value] = true
	}
	for _, child := range e.ChildElements() {
		if err := w.element(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) countOnes() *Error {
	switch {
	case w.responses != 1:
		return refuse(CodeStructure, "it has %d Response elements, not one", w.responses)
	case len(w.assertions) > 1:
		return refuse(CodeStructure, "it has %d Assertion elements, not one", len(w.assertions))
	}
	return nil
}

// placeSignatures checks that signatures are directly in the Response and in the
// Assertion alone, one at most in each, and well made.
func (d *document) placeSignatures(signatures []*etree.Element) *Error {
	for _, s := range signatures {
		at := s.Parent()
		if at != d.response && at != d.assertion || !is(s, signatureNS, "Signature") {
			return refuse(CodeStructure, "a Signature is neither directly in the Response nor directly in the Assertion")
		}
		for _, other := range d.signed {
			if other == at {
				return refuse(CodeStructure, "the %s has two signatures", at.Tag)
			}
		}
		d.signed = append(d.signed, at)
		if err := checkSignature(s, at.SelectAttrValue("ID", "")); err != nil {
			return err
		}
	}
	return nil
}

func is(e *etree.Element, namespace, tag string) bool {
	return e.Tag == tag && e.NamespaceURI() == namespace
}

// only returns the one child of a name, or nil if there is none or more.
func only(e *etree.Element, namespace, tag string) *etree.Element {
	all := every(e, namespace, tag)
	if len(all) != 1 {
		return nil
	}
	return all[0]
}

func every(e *etree.Element, namespace, tag string) []*etree.Element {
	var out []*etree.Element
	for _, child := range e.ChildElements() {
		if is(child, namespace, tag) {
			out = append(out, child)
		}
	}
	return out
}
