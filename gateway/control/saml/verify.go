package saml

import (
	"encoding/xml"
	"errors"
	"strings"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
)

// Login is what a response says of a person.
type Login struct {
	ID     string         // names the Assertion among all of its issuer
	Until  time.Time      // when the Assertion is too late to be shown again
	Claims map[string]any // for the policy's identities, see [Provider.Verify]
	Ends   time.Time      // when the identity provider ends the session; zero if it does not say
}

// Verify returns who signed in, given the form value SAMLResponse and the id of
// the request that is under way, or an [*Error].
//
// The claims are iss (the entityID), sub (the NameID), sid (the SessionIndex, if
// there is one), iat and auth_time (seconds since 1970), and attributes: an
// object that has, by the name of each attribute, the list of its values.
func (p *Provider) Verify(posted, requestID string) (*Login, error) {
	data, refused := decode(posted)
	if refused != nil {
		return nil, refused
	}
	login, refused := p.accept(data, requestID)
	if refused != nil {
		return nil, refused
	}
	return login, nil
}

func (p *Provider) accept(data []byte, requestID string) (*Login, *Error) {
	d, err := parse(data)
	if err != nil {
		return nil, err
	}
	if err := p.checkResponse(d.response, requestID); err != nil {
		return nil, err
	}
	if d.assertion == nil {
		return nil, refuse(CodeStructure, "it has no Assertion")
	}
	signed, err := p.verifySignatures(d)
	if err != nil {
		return nil, err
	}
	assertion, err := readAssertion(signed)
	if err != nil {
		return nil, err
	}
	if err := p.checkAssertion(signed, assertion, requestID); err != nil {
		return nil, err
	}
	if _, err := p.library.ParseXMLResponse(data, []string{requestID}, p.acs); err != nil {
		return nil, refuse(CodeLibrary, "%s", libraryReason(err))
	}
	return p.login(assertion)
}

// verifySignatures returns what was signed of the Assertion. A signature of the
// whole Response must verify as well, and does not stand for the Assertion's.
func (p *Provider) verifySignatures(d *document) (assertion *etree.Element, err *Error) {
	for _, e := range d.signed {
		signed, err := p.verify(e)
		if err != nil {
			return nil, err
		}
		if e == d.assertion {
			assertion = signed
		}
	}
	if assertion == nil {
		return nil, refuse(CodeUnsigned, "the Assertion is not signed")
	}
	return assertion, nil
}

// libraryReason is the library's reason without what it was given.
func libraryReason(err error) string {
	var invalid *saml.InvalidResponseError
	if errors.As(err, &invalid) && invalid.PrivateErr != nil {
		return invalid.PrivateErr.Error()
	}
	return "it gives no reason"
}

func readAssertion(signed *etree.Element) (*saml.Assertion, *Error) {
	doc := etree.NewDocument()
	doc.SetRoot(signed.Copy())
	data, err := doc.WriteToBytes()
	if err != nil {
		return nil, refuse(CodeMalformed, "the Assertion cannot be read")
	}
	var assertion saml.Assertion
	if err := xml.Unmarshal(data, &assertion); err != nil {
		return nil, refuse(CodeMalformed, "the Assertion cannot be read")
	}
	return &assertion, nil
}

// login makes a login of an assertion that was checked.
func (p *Provider) login(a *saml.Assertion) (*Login, *Error) {
	session := a.AuthnStatements[0]
	claims := map[string]any{
		"iss": p.issuer.URL, "sub": strings.TrimSpace(a.Subject.NameID.Value),
		"iat": p.now().Unix(), "auth_time": session.AuthnInstant.Unix(), "attributes": attributes(a),
	}
	if session.SessionIndex != "" {
		claims["sid"] = session.SessionIndex
	}
	out := &Login{
		ID: p.issuer.URL + " " + a.ID, Claims: claims,
		Until: a.Subject.SubjectConfirmations[0].SubjectConfirmationData.NotOnOrAfter.Add(Leeway),
	}
	if end := session.SessionNotOnOrAfter; end != nil {
		out.Ends = *end
	}
	return out, nil
}

func attributes(a *saml.Assertion) map[string]any {
	out := map[string]any{}
	for _, statement := range a.AttributeStatements {
		for _, attribute := range statement.Attributes {
			values, _ := out[attribute.Name].([]any)
			for _, v := range attribute.Values {
				values = append(values, v.Value)
			}
			out[attribute.Name] = values
		}
	}
	return out
}
