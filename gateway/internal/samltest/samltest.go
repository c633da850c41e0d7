// Package samltest is a SAML identity provider for tests, which says and signs
// whatever a test wants: what is right, and what must be refused.
//
//	idp := samltest.New(t)
//	issuer.SAMLMetadata = samltest.Metadata(idp)
//	posted := samltest.Post(t, idp.Signed(t, samltest.Answer("id-of-the-request")))
package samltest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// Who the identity provider is, and who the service provider.
const (
	EntityID = "https://idp.example.com/metadata"
	Audience = "https://control.example.com/saml"
	ACS      = "https://control.example.com/saml/acs"
)

// IDP is an identity provider.
type IDP struct {
	key         *rsa.PrivateKey
	certificate []byte
}

// NewBetween returns one whose certificate is good for a time.
func NewBetween(t testing.TB, from, until time.Time) *IDP {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &IDP{key: key, certificate: der}
}

// New returns one whose certificate is good today.
func New(t testing.TB) *IDP {
	t.Helper()
	return NewBetween(t, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
}

// Metadata is of one identity provider with the certificates of some.
func Metadata(of ...*IDP) string {
	var keys strings.Builder
	for _, i := range of {
		fmt.Fprintf(&keys, `<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>%s</X509Certificate></X509Data></KeyInfo></KeyDescriptor>`,
			base64.StdEncoding.EncodeToString(i.certificate))
	}
	return `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="` + EntityID + `">` +
		`<IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">` + keys.String() +
		`<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.com/sso"/>` +
		`</IDPSSODescriptor></EntityDescriptor>`
}

// Response is what an identity provider answers, in parts that a test may
// change before it is signed. Times are RFC 3339, lists are XML.
type Response struct {
	ID                                                       string // of the Assertion
	Destination, ResponseTo, Issuer, Status                  string
	AssertionIssuer, NameID, Format                          string
	Recipient, ConfirmationTo, ConfirmedUntil, Method        string
	From, Until, Audiences                                   string
	Instant, Session                                         string // AuthnInstant, SessionNotOnOrAfter
	Attributes, MoreSubject, MoreStatements, MoreInAssertion string
}

// Answer is a right answer to a request.
func Answer(request string) Response {
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	return Response{
		ID:          "_" + rand.Text(),
		Destination: ACS, ResponseTo: request, Issuer: EntityID, Status: "urn:oasis:names:tc:SAML:2.0:status:Success",
		AssertionIssuer: EntityID, NameID: "u-17", Format: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
		Recipient: ACS, ConfirmationTo: request, ConfirmedUntil: at(5 * time.Minute), Method: "urn:oasis:names:tc:SAML:2.0:cm:bearer",
		From: at(-time.Minute), Until: at(5 * time.Minute), Audiences: "<saml:Audience>" + Audience + "</saml:Audience>",
		Instant: at(-time.Second), Session: at(time.Hour),
		Attributes: `<saml:Attribute Name="groups"><saml:AttributeValue>dba</saml:AttributeValue><saml:AttributeValue>oncall</saml:AttributeValue></saml:Attribute>`,
	}
}

func (r Response) xml() string {
	now := time.Now().UTC().Format(time.RFC3339)
	return `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"` +
		` ID="_response" Version="2.0" IssueInstant="` + now + `" Destination="` + r.Destination + `" InResponseTo="` + r.ResponseTo + `">` +
		`<saml:Issuer>` + r.Issuer + `</saml:Issuer>` +
		`<samlp:Status><samlp:StatusCode Value="` + r.Status + `"/></samlp:Status>` +
		`<saml:Assertion ID="` + r.ID + `" Version="2.0" IssueInstant="` + now + `">` +
		`<saml:Issuer>` + r.AssertionIssuer + `</saml:Issuer>` +
		`<saml:Subject><saml:NameID Format="` + r.Format + `">` + r.NameID + `</saml:NameID>` +
		`<saml:SubjectConfirmation Method="` + r.Method + `"><saml:SubjectConfirmationData Recipient="` + r.Recipient + `" InResponseTo="` + r.ConfirmationTo +
		`" NotOnOrAfter="` + r.ConfirmedUntil + `"/></saml:SubjectConfirmation>` + r.MoreSubject + `</saml:Subject>` +
		`<saml:Conditions NotBefore="` + r.From + `" NotOnOrAfter="` + r.Until + `"><saml:AudienceRestriction>` + r.Audiences + `</saml:AudienceRestriction></saml:Conditions>` +
		`<saml:AuthnStatement AuthnInstant="` + r.Instant + `" SessionIndex="_s1" SessionNotOnOrAfter="` + r.Session + `"><saml:AuthnContext>` +
		`<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>` +
		r.MoreStatements + `<saml:AttributeStatement>` + r.Attributes + `</saml:AttributeStatement>` + r.MoreInAssertion +
		`</saml:Assertion></samlp:Response>`
}

// Document is the response, unsigned.
func (r Response) Document(t testing.TB) *etree.Document {
	t.Helper()
	doc := etree.NewDocument()
	if err := doc.ReadFromString(r.xml()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// Sign signs an element in its place: after its Issuer, as the schema wants it.
// By default that is RSA with SHA-256.
func (i *IDP) Sign(t testing.TB, e *etree.Element, methods ...string) {
	t.Helper()
	context := dsig.NewDefaultSigningContext(dsig.TLSCertKeyStore(tls.Certificate{Certificate: [][]byte{i.certificate}, PrivateKey: i.key}))
	context.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	context.Hash = crypto.SHA256
	for _, m := range methods {
		if err := context.SetSignatureMethod(m); err != nil {
			t.Fatal(err)
		}
	}
	alone := e.Copy()
	if e.Parent() != nil && e.Tag == "Assertion" {
		alone.CreateAttr("xmlns:saml", "urn:oasis:names:tc:SAML:2.0:assertion")
	}
	signature, err := context.ConstructSignature(alone, true)
	if err != nil {
		t.Fatal(err)
	}
	e.InsertChildAt(1, signature)
}

// Signed is a response whose Assertion is signed.
func (i *IDP) Signed(t testing.TB, r Response) *etree.Document {
	t.Helper()
	doc := r.Document(t)
	i.Sign(t, AssertionOf(doc))
	return doc
}

// AssertionOf is the Assertion of a document.
func AssertionOf(doc *etree.Document) *etree.Element { return doc.FindElement("//Assertion") }

// Post is the form value of a document.
func Post(t testing.TB, doc *etree.Document) string {
	t.Helper()
	data, err := doc.WriteToBytes()
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(data)
}
