package saml

import (
	"strings"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
)

const (
	bearer    = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
	transient = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
)

// checkResponse checks what surrounds the Assertion. It may be unsigned: it can
// only have the Assertion refused.
func (p *Provider) checkResponse(response *etree.Element, requestID string) *Error {
	if v := response.SelectAttrValue("Version", ""); v != "2.0" {
		return refuse(CodeMalformed, "its version is not 2.0")
	}
	if issuer := only(response, assertionNS, "Issuer"); issuer != nil && strings.TrimSpace(issuer.Text()) != p.issuer.URL {
		return refuse(CodeIssuer, "the Response is not of %q", p.issuer.URL)
	}
	if d := response.SelectAttrValue("Destination", ""); d != p.acs.String() {
		return refuse(CodeDestination, "the Destination is %.200q, not %q", d, p.acs.String())
	}
	if err := answers(response.SelectAttrValue("InResponseTo", ""), requestID); err != nil {
		return err
	}
	status := only(response, protocolNS, "Status")
	if status == nil || only(status, protocolNS, "StatusCode") == nil {
		return refuse(CodeMalformed, "it has no status")
	}
	if value := only(status, protocolNS, "StatusCode").SelectAttrValue("Value", ""); value != saml.StatusSuccess {
		return refuse(CodeStatus, "the identity provider signed nobody in: %.120q", value)
	}
	return nil
}

func answers(inResponseTo, requestID string) *Error {
	switch {
	case inResponseTo == "":
		return refuse(CodeUnsolicited, "it answers no request: sign-in starts here, not at the identity provider")
	case requestID == "" || inResponseTo != requestID:
		return refuse(CodeUnsolicited, "it answers another request")
	}
	return nil
}

// checkAssertion checks what was signed.
func (p *Provider) checkAssertion(signed *etree.Element, a *saml.Assertion, requestID string) *Error {
	switch {
	case a.Version != "2.0" || a.ID == "":
		return refuse(CodeMalformed, "the Assertion's version is not 2.0, or it has no ID")
	case strings.TrimSpace(a.Issuer.Value) != p.issuer.URL:
		return refuse(CodeIssuer, "the Assertion is not of %q", p.issuer.URL)
	}
	if err := p.checkSubject(signed, a, requestID); err != nil {
		return err
	}
	if err := p.checkConditions(signed, a); err != nil {
		return err
	}
	return p.checkSession(a)
}

func (p *Provider) checkSubject(signed *etree.Element, a *saml.Assertion, requestID string) *Error {
	subject := only(signed, assertionNS, "Subject")
	if subject == nil || only(subject, assertionNS, "NameID") == nil || a.Subject.NameID == nil || strings.TrimSpace(a.Subject.NameID.Value) == "" {
		return refuse(CodeSubject, "the Assertion has not one NameID")
	}
	if a.Subject.NameID.Format == transient {
		return refuse(CodeSubject, "the NameID is transient, another one at each sign-in; have the identity provider send a persistent one")
	}
	confirmations := a.Subject.SubjectConfirmations
	if len(confirmations) != 1 || confirmations[0].Method != bearer || confirmations[0].SubjectConfirmationData == nil {
		return refuse(CodeSubject, "the Assertion has not one SubjectConfirmation, of the method bearer")
	}
	data := confirmations[0].SubjectConfirmationData
	if data.Recipient != p.acs.String() {
		return refuse(CodeRecipient, "the Recipient is %.200q, not %q", data.Recipient, p.acs.String())
	}
	if err := answers(data.InResponseTo, requestID); err != nil {
		return err
	}
	if data.NotOnOrAfter.IsZero() {
		return refuse(CodeMalformed, "the SubjectConfirmation does not say until when it holds (NotOnOrAfter)")
	}
	return p.within("SubjectConfirmation", data.NotBefore, data.NotOnOrAfter)
}

func (p *Provider) checkConditions(signed *etree.Element, a *saml.Assertion) *Error {
	conditions := only(signed, assertionNS, "Conditions")
	if conditions == nil {
		return refuse(CodeAudience, "the Assertion has not one element Conditions, so that it is for everybody")
	}
	restriction := only(conditions, assertionNS, "AudienceRestriction")
	if restriction == nil {
		return refuse(CodeAudience, "the Assertion has not one AudienceRestriction")
	}
	audience := only(restriction, assertionNS, "Audience")
	if audience == nil || strings.TrimSpace(audience.Text()) != p.issuer.Audience {
		return refuse(CodeAudience, "the Audience is not %q, and that alone", p.issuer.Audience)
	}
	return p.within("Conditions", a.Conditions.NotBefore, a.Conditions.NotOnOrAfter)
}

// checkSession checks that somebody signed in, and not only is known.
func (p *Provider) checkSession(a *saml.Assertion) *Error {
	if len(a.AuthnStatements) != 1 || a.AuthnStatements[0].AuthnInstant.IsZero() {
		return refuse(CodeSubject, "the Assertion has not one AuthnStatement with an AuthnInstant: it does not say that anybody signed in")
	}
	session := a.AuthnStatements[0]
	if session.AuthnInstant.After(p.now().Add(Leeway)) {
		return refuse(CodeNotYetValid, "the AuthnInstant is in the future; compare the clocks")
	}
	if end := session.SessionNotOnOrAfter; end != nil && !p.now().Before(*end) {
		return refuse(CodeExpired, "the session at the identity provider ended at %s", stamp(*end))
	}
	return nil
}

func (p *Provider) within(what string, from, until time.Time) *Error {
	now := p.now()
	if !from.IsZero() && from.After(now.Add(Leeway)) {
		return refuse(CodeNotYetValid, "the %s holds from %s on; compare the clocks", what, stamp(from))
	}
	if !until.IsZero() && !now.Before(until.Add(Leeway)) {
		return refuse(CodeExpired, "the %s held until %s", what, stamp(until))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
