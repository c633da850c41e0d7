package saml_test

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/posternhq/postern/gateway/control/saml"
	"github.com/posternhq/postern/gateway/internal/samltest"
	"github.com/posternhq/postern/policylang"
)

const request = "id-request"

func provider(t testing.TB, of ...*samltest.IDP) *saml.Provider {
	t.Helper()
	p, err := saml.New(saml.Config{ACS: samltest.ACS, Issuer: policylang.Issuer{
		Name: "corp", URL: samltest.EntityID, Audience: samltest.Audience, SAMLMetadata: samltest.Metadata(of...),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestAccepted is what all refusals differ from in one thing each.
func TestAccepted(t *testing.T) {
	i := samltest.New(t)
	next := samltest.New(t)
	p := provider(t, next, i) // during a change of certificates
	check := func(t *testing.T, doc *etree.Document) {
		t.Helper()
		login, err := p.Verify(samltest.Post(t, doc), request)
		if err != nil {
			t.Fatal(err)
		}
		if login.Claims["iss"] != samltest.EntityID || login.Claims["sub"] != "u-17" || login.Claims["sid"] != "_s1" {
			t.Errorf("claims %v", login.Claims)
		}
		groups, _ := login.Claims["attributes"].(map[string]any)["groups"].([]any)
		if len(groups) != 2 || groups[0] != "dba" || groups[1] != "oncall" {
			t.Errorf("attributes %v", login.Claims["attributes"])
		}
		if !login.Ends.After(time.Now().Add(50*time.Minute)) || !login.Until.After(time.Now()) || login.ID != samltest.EntityID+" "+samltest.AssertionOf(doc).SelectAttrValue("ID", "") {
			t.Errorf("login %+v", login)
		}
	}
	t.Run("the Assertion signed", func(t *testing.T) { check(t, i.Signed(t, samltest.Answer(request))) })
	t.Run("by the next certificate", func(t *testing.T) { check(t, next.Signed(t, samltest.Answer(request))) })
	t.Run("the Response signed as well", func(t *testing.T) {
		doc := i.Signed(t, samltest.Answer(request))
		i.Sign(t, doc.Root())
		check(t, doc)
	})
	t.Run("with an XML declaration", func(t *testing.T) {
		doc := i.Signed(t, samltest.Answer(request))
		doc.InsertChildAt(0, etree.NewProcInst("xml", `version="1.0" encoding="UTF-8"`))
		check(t, doc)
	})
	t.Run("no end of the session", func(t *testing.T) {
		doc := samltest.Answer(request).Document(t)
		doc.FindElement("//AuthnStatement").RemoveAttr("SessionNotOnOrAfter")
		i.Sign(t, samltest.AssertionOf(doc))
		login, err := p.Verify(samltest.Post(t, doc), request)
		if err != nil || !login.Ends.IsZero() {
			t.Errorf("%+v, %v", login, err)
		}
	})
}

func wantRefused(t *testing.T, p *saml.Provider, posted string, code saml.Code, detail string) {
	t.Helper()
	login, err := p.Verify(posted, request)
	var refused *saml.Error
	if !errors.As(err, &refused) || login != nil {
		t.Fatalf("accepted: %+v, %v", login, err)
	}
	if refused.Code != code || !strings.Contains(refused.Detail, detail) {
		t.Errorf("refused by %v, want %s … %s", err, code, detail)
	}
	if strings.Contains(err.Error(), "u-17") || strings.Contains(err.Error(), "oncall") {
		t.Errorf("the error tells what the Assertion says: %v", err)
	}
}

// TestRefusedClaims signs, well, what must not be accepted.
func TestRefusedClaims(t *testing.T) {
	i := samltest.New(t)
	p := provider(t, i)
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	for name, c := range map[string]struct {
		change func(*samltest.Response)
		code   saml.Code
		detail string
	}{
		"destination":                     {func(r *samltest.Response) { r.Destination = "https://other.example.com/samltest.ACS" }, saml.CodeDestination, "other.example.com"},
		"no destination":                  {func(r *samltest.Response) { r.Destination = "" }, saml.CodeDestination, `""`},
		"destination that starts like it": {func(r *samltest.Response) { r.Destination = samltest.ACS + "/x" }, saml.CodeDestination, "/x"},
		"recipient":                       {func(r *samltest.Response) { r.Recipient = "https://other.example.com/samltest.ACS" }, saml.CodeRecipient, "other.example.com"},
		"audience":                        {func(r *samltest.Response) { r.Audiences = "<saml:Audience>https://other</saml:Audience>" }, saml.CodeAudience, "Audience is not"},
		"audience among others":           {func(r *samltest.Response) { r.Audiences += "<saml:Audience>https://other</saml:Audience>" }, saml.CodeAudience, "that alone"},
		"no audience":                     {func(r *samltest.Response) { r.Audiences = "" }, saml.CodeAudience, "Audience is not"},
		"issuer of the response":          {func(r *samltest.Response) { r.Issuer = "https://other" }, saml.CodeIssuer, "Response"},
		"issuer of the assertion":         {func(r *samltest.Response) { r.AssertionIssuer = "https://other" }, saml.CodeIssuer, "Assertion"},
		"IdP-initiated":                   {func(r *samltest.Response) { r.ResponseTo, r.ConfirmationTo = "", "" }, saml.CodeUnsolicited, "answers no request"},
		"confirmation answers nothing":    {func(r *samltest.Response) { r.ConfirmationTo = "" }, saml.CodeUnsolicited, "answers no request"},
		"answers another request":         {func(r *samltest.Response) { r.ResponseTo, r.ConfirmationTo = "id-other", "id-other" }, saml.CodeUnsolicited, "another request"},
		"confirmation answers another":    {func(r *samltest.Response) { r.ConfirmationTo = "id-other" }, saml.CodeUnsolicited, "another request"},
		"expired":                         {func(r *samltest.Response) { r.Until = at(-time.Minute) }, saml.CodeExpired, "Conditions"},
		"confirmation expired":            {func(r *samltest.Response) { r.ConfirmedUntil = at(-time.Minute) }, saml.CodeExpired, "SubjectConfirmation"},
		"session over":                    {func(r *samltest.Response) { r.Session = at(-time.Minute) }, saml.CodeExpired, "session"},
		"not yet valid":                   {func(r *samltest.Response) { r.From = at(time.Minute) }, saml.CodeNotYetValid, "Conditions"},
		"signed in in the future":         {func(r *samltest.Response) { r.Instant = at(time.Minute) }, saml.CodeNotYetValid, "AuthnInstant"},
		"status":                          {func(r *samltest.Response) { r.Status = "urn:oasis:names:tc:SAML:2.0:status:Responder" }, saml.CodeStatus, "Responder"},
		"transient NameID":                {func(r *samltest.Response) { r.Format = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient" }, saml.CodeSubject, "transient"},
		"empty NameID":                    {func(r *samltest.Response) { r.NameID = " " }, saml.CodeSubject, "NameID"},
		"two NameIDs":                     {func(r *samltest.Response) { r.MoreSubject = "<saml:NameID>root</saml:NameID>" }, saml.CodeSubject, "NameID"},
		"not a bearer":                    {func(r *samltest.Response) { r.Method = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key" }, saml.CodeSubject, "bearer"},
		"two confirmations": {func(r *samltest.Response) {
			r.MoreSubject = `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"/>`
		}, saml.CodeSubject, "SubjectConfirmation"},
		"two subjects": {func(r *samltest.Response) {
			r.MoreInAssertion = "<saml:Subject><saml:NameID>root</saml:NameID></saml:Subject>"
		}, saml.CodeSubject, "NameID"},
		"two conditions": {func(r *samltest.Response) { r.MoreInAssertion = "<saml:Conditions/>" }, saml.CodeAudience, "one element Conditions"},
		"two statements": {func(r *samltest.Response) { r.MoreStatements = `<saml:AuthnStatement AuthnInstant="` + at(0) + `"/>` }, saml.CodeSubject, "AuthnStatement"},
	} {
		t.Run(name, func(t *testing.T) {
			r := samltest.Answer(request)
			c.change(&r)
			wantRefused(t, p, samltest.Post(t, i.Signed(t, r)), c.code, c.detail)
		})
	}
}

// TestRefusedMarkup has what no parser gets to see.
func TestRefusedMarkup(t *testing.T) {
	i := samltest.New(t)
	p := provider(t, i)
	good := samltest.Post(t, i.Signed(t, samltest.Answer(request)))
	raw, err := base64.StdEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, c := range map[string]struct {
		posted string
		code   saml.Code
		detail string
	}{
		"document type":           {encode("<!DOCTYPE x [<!ENTITY e 'root'>]>" + text), saml.CodeDoctype, "document type"},
		"document type, small":    {encode("<!doctype x>" + text), saml.CodeDoctype, "document type"},
		"comment in the NameID":   {encode(strings.Replace(text, "u-17", "u-1<!---->7", 1)), saml.CodeComment, "comment"},
		"comment at the end":      {encode(text + "<!-- -->"), saml.CodeComment, "comment"},
		"CDATA":                   {encode(strings.Replace(text, "u-17", "<![CDATA[u-17]]>", 1)), saml.CodeMalformed, "CDATA"},
		"processing instruction":  {encode(strings.Replace(text, "u-17", "u-1<?x?>7", 1)), saml.CodeMalformed, "processing instruction"},
		"another encoding":        {encode(`<?xml version="1.0" encoding="UTF-16"?>` + text), saml.CodeMalformed, "UTF-8"},
		"UTF-16":                  {encode("\xfe\xff" + strings.Join(strings.Split(text, ""), "\x00")), saml.CodeMalformed, "UTF-8"},
		"not base64":              {"<" + good, saml.CodeMalformed, "base64"},
		"nothing":                 {"", saml.CodeMalformed, "not XML"},
		"not XML":                 {encode("hello"), saml.CodeMalformed, "not XML"},
		"cut":                     {encode(text[:len(text)/2]), saml.CodeMalformed, "not XML"},
		"names that change":       {encode(strings.Replace(text, "<samlp:Status>", "<samlp:Status><x::y/>", 1)), saml.CodeMalformed, "reads the same twice"},
		"too long":                {encode(text + strings.Repeat(" ", 256<<10)), saml.CodeMalformed, "longer than"},
		"nested too deep":         {encode(strings.Replace(text, "u-17", strings.Repeat("<a>", 70)+strings.Repeat("</a>", 70), 1)), saml.CodeStructure, "nested"},
		"something else than one": {encode("<Response/>"), saml.CodeStructure, "not a Response"},
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, p, c.posted, c.code, c.detail) })
	}
}

// TestRefusedSignatures has documents whose signatures are not good enough.
func TestRefusedSignatures(t *testing.T) {
	i, stranger := samltest.New(t), samltest.New(t)
	p := provider(t, i)
	set := func(doc *etree.Document, path, attr, value string) { doc.FindElement(path).CreateAttr(attr, value) }
	for name, c := range map[string]struct {
		make   func() *etree.Document
		code   saml.Code
		detail string
	}{
		"unsigned": {func() *etree.Document { return samltest.Answer(request).Document(t) }, saml.CodeUnsigned, "not signed"},
		"only the Response signed": {func() *etree.Document {
			doc := samltest.Answer(request).Document(t)
			i.Sign(t, doc.Root())
			return doc
		}, saml.CodeUnsigned, "not signed"},
		"somebody else's key": {func() *etree.Document { return stranger.Signed(t, samltest.Answer(request)) }, saml.CodeSignature, "none of the metadata's 1 certificates"},
		"the Response by somebody else": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			stranger.Sign(t, doc.Root())
			return doc
		}, saml.CodeSignature, "of the Response"},
		"altered": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			doc.FindElement("//NameID").SetText("root")
			return doc
		}, saml.CodeSignature, "of the Assertion"},
		"SHA-1": {func() *etree.Document {
			doc := samltest.Answer(request).Document(t)
			i.Sign(t, samltest.AssertionOf(doc), dsig.RSASHA1SignatureMethod)
			return doc
		}, saml.CodeAlgorithm, "rsa-sha1"},
		"SHA-1 for the digest alone": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			set(doc, "//DigestMethod", "Algorithm", "http://www.w3.org/2000/09/xmldsig#sha1")
			return doc
		}, saml.CodeAlgorithm, "digest"},
		"HMAC": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			set(doc, "//SignatureMethod", "Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")
			return doc
		}, saml.CodeAlgorithm, "hmac"},
		"canonicalization with comments": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			set(doc, "//CanonicalizationMethod", "Algorithm", "http://www.w3.org/2001/10/xml-exc-c14n#WithComments")
			return doc
		}, saml.CodeAlgorithm, "exclusive"},
		"another transform": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			set(doc, "//Transform[2]", "Algorithm", "http://www.w3.org/TR/1999/REC-xslt-19991116")
			return doc
		}, saml.CodeAlgorithm, "transforms"},
		"over the whole document": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			set(doc, "//Reference", "URI", "")
			return doc
		}, saml.CodeReference, "not over the element"},
		"over another element": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			set(doc, "//Reference", "URI", "#_response")
			return doc
		}, saml.CodeReference, "not over the element"},
		"two references": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			info := doc.FindElement("//SignedInfo")
			info.AddChild(info.FindElement("Reference").Copy())
			return doc
		}, saml.CodeReference, "2 references"},
		"two signatures": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			i.Sign(t, samltest.AssertionOf(doc))
			return doc
		}, saml.CodeStructure, "two signatures"},
		"a signature elsewhere": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			s := doc.FindElement("//Signature")
			doc.FindElement("//Subject").AddChild(s)
			return doc
		}, saml.CodeStructure, "neither directly"},
		"two Assertions, both signed": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			second := samltest.Answer(request)
			other := second.Document(t)
			samltest.AssertionOf(other).CreateAttr("ID", "_second")
			i.Sign(t, samltest.AssertionOf(other))
			doc.Root().AddChild(samltest.AssertionOf(other))
			return doc
		}, saml.CodeStructure, "2 Assertion"},
		"an encrypted Assertion": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			doc.Root().AddChild(etree.NewElement("saml:EncryptedAssertion"))
			return doc
		}, saml.CodeEncrypted, "EncryptedAssertion"},
		"no Assertion": {func() *etree.Document {
			doc := samltest.Answer(request).Document(t)
			doc.Root().RemoveChild(samltest.AssertionOf(doc))
			return doc
		}, saml.CodeStructure, "no Assertion"},
		"the same ID twice": {func() *etree.Document {
			doc := i.Signed(t, samltest.Answer(request))
			doc.Root().CreateAttr("ID", samltest.AssertionOf(doc).SelectAttrValue("ID", ""))
			return doc
		}, saml.CodeStructure, "same ID"},
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, p, samltest.Post(t, c.make()), c.code, c.detail) })
	}
	t.Run("a certificate that has expired", func(t *testing.T) {
		old := samltest.NewBetween(t, time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour))
		wantRefused(t, provider(t, old), samltest.Post(t, old.Signed(t, samltest.Answer(request))), saml.CodeSignature, "1 of which are out of their time")
	})
	t.Run("an old response", func(t *testing.T) {
		doc := i.Signed(t, samltest.Answer(request))
		set(doc, "//Response", "IssueInstant", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
		wantRefused(t, p, samltest.Post(t, doc), saml.CodeLibrary, "IssueInstant")
	})
}

// TestRequest sends the browser to the identity provider, without saying
// anything about anybody.
func TestRequest(t *testing.T) {
	p := provider(t, samltest.New(t))
	page, id, err := p.Request("RELAY")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(page)
	if err != nil || u.Host != "idp.example.com" || u.Query().Get("RelayState") != "RELAY" || u.Query().Get("SAMLRequest") == "" || id == "" {
		t.Errorf("%s, %q, %v", page, id, err)
	}
	_, again, _ := p.Request("RELAY")
	if again == id {
		t.Error("two requests have the same id")
	}
}

func TestMetadata(t *testing.T) {
	data, err := provider(t, samltest.New(t)).Metadata()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`entityID="` + samltest.Audience + `"`, `Location="` + samltest.ACS + `"`, `WantAssertionsSigned="true"`, "HTTP-POST"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("it lacks %s:\n%s", want, data)
		}
	}
	if strings.Contains(string(data), "SingleLogoutService") {
		t.Error("it offers a logout that there is not")
	}
}

func TestNewRefuses(t *testing.T) {
	good := samltest.Metadata(samltest.New(t))
	for name, issuer := range map[string]policylang.Issuer{
		"not XML":        {URL: samltest.EntityID, SAMLMetadata: "hello"},
		"another entity": {URL: "https://other", SAMLMetadata: good},
		"no certificate": {URL: samltest.EntityID, SAMLMetadata: samltest.Metadata()},
	} {
		if _, err := saml.New(saml.Config{ACS: samltest.ACS, Issuer: issuer}); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}
