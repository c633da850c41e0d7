package saml_test

import (
	"testing"

	"github.com/beevik/etree"

	"github.com/posternhq/postern/gateway/control/saml"
	"github.com/posternhq/postern/gateway/internal/samltest"
)

// The eight signature-wrapping attacks of Somorovsky et al., "On Breaking SAML:
// Be Whoever You Want to Be" (USENIX Security 2012), by the numbers that SAML
// Raider gives them. Each keeps what was signed somewhere in the document, whose
// signature so verifies, and puts an evil twin where the reader looks.

// evil returns a copy of an element that speaks of somebody else, unsigned and
// under another ID.
func evil(e *etree.Element) *etree.Element {
	twin := e.Copy()
	twin.CreateAttr("ID", "_evil")
	for _, s := range twin.FindElements(".//Signature") {
		s.Parent().RemoveChild(s)
	}
	if a := twin.FindElement(".//Assertion"); a != nil {
		a.CreateAttr("ID", "_evil_assertion")
	}
	twin.FindElement(".//NameID").SetText("root")
	return twin
}

func TestSignatureWrapping(t *testing.T) {
	i := samltest.New(t)
	p := provider(t, i)
	// Of the first two the whole Response is signed too.
	whole := func() (doc *etree.Document, original, signature *etree.Element) {
		doc = i.Signed(t, samltest.Answer(request))
		i.Sign(t, doc.Root())
		original = doc.Root()
		return doc, original, original.SelectElement("Signature")
	}
	part := func() (doc *etree.Document, original, signature *etree.Element) {
		doc = i.Signed(t, samltest.Answer(request))
		original = samltest.AssertionOf(doc)
		return doc, original, original.SelectElement("Signature")
	}
	for name, c := range map[string]struct {
		make   func() *etree.Document
		code   saml.Code
		detail string
	}{
		"XSW1": {func() *etree.Document { // the Response in the Signature of its twin, at the end
			doc, original, signature := whole()
			twin := evil(original)
			signature.Parent().RemoveChild(signature)
			signature.AddChild(original)
			twin.AddChild(signature)
			doc.SetRoot(twin)
			return doc
		}, saml.CodeStructure, "2 Response"},
		"XSW2": {func() *etree.Document { // the Response before the Signature in its twin
			doc, original, signature := whole()
			twin := evil(original)
			signature.Parent().RemoveChild(signature)
			twin.InsertChildAt(1, original)
			twin.InsertChildAt(2, signature)
			doc.SetRoot(twin)
			return doc
		}, saml.CodeStructure, "2 Response"},
		"XSW3": {func() *etree.Document { // the twin before the Assertion
			doc, original, _ := part()
			doc.Root().InsertChildAt(original.Index(), evil(original))
			return doc
		}, saml.CodeStructure, "2 Assertion"},
		"XSW4": {func() *etree.Document { // the Assertion in its twin
			doc, original, _ := part()
			twin := evil(original)
			doc.Root().RemoveChild(original)
			twin.AddChild(original)
			doc.Root().AddChild(twin)
			return doc
		}, saml.CodeStructure, "2 Assertion"},
		"XSW5": {func() *etree.Document { // the twin has the Signature; the Assertion, without, at the end
			doc, original, signature := part()
			twin := evil(original)
			doc.Root().RemoveChild(original)
			original.RemoveChild(signature)
			twin.InsertChildAt(1, signature)
			doc.Root().AddChild(twin)
			doc.Root().AddChild(original)
			return doc
		}, saml.CodeStructure, "2 Assertion"},
		"XSW6": {func() *etree.Document { // the twin has the Signature, and that the Assertion
			doc, original, signature := part()
			twin := evil(original)
			doc.Root().RemoveChild(original)
			original.RemoveChild(signature)
			signature.AddChild(original)
			twin.InsertChildAt(1, signature)
			doc.Root().AddChild(twin)
			return doc
		}, saml.CodeStructure, "2 Assertion"},
		"XSW7": {func() *etree.Document { // the twin in an element that may hold anything
			doc, original, _ := part()
			extensions := etree.NewElement("samlp:Extensions")
			extensions.AddChild(evil(original))
			doc.Root().InsertChildAt(1, extensions)
			return doc
		}, saml.CodeStructure, "2 Assertion"},
		"XSW8": {func() *etree.Document { // the Assertion in an Object of its twin's Signature
			doc, original, signature := part()
			twin := evil(original)
			doc.Root().RemoveChild(original)
			original.RemoveChild(signature)
			object := etree.NewElement("ds:Object")
			object.AddChild(original)
			signature.AddChild(object)
			twin.InsertChildAt(1, signature)
			doc.Root().AddChild(twin)
			return doc
		}, saml.CodeStructure, "Object"},
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, p, samltest.Post(t, c.make()), c.code, c.detail) })
	}
}
