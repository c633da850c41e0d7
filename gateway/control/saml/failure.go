package saml

import "fmt"

// Code names the check that a response failed. Codes are stable.
type Code string

// The codes.
const (
	CodeMalformed   Code = "saml_malformed"     // not base64, not XML, too long, or not what a response has
	CodeDoctype     Code = "saml_doctype"       // it has a document type
	CodeComment     Code = "saml_comment"       // it has a comment
	CodeStructure   Code = "saml_structure"     // not one Response, one Assertion, and signatures where they belong
	CodeEncrypted   Code = "saml_encrypted"     // something in it is encrypted
	CodeStatus      Code = "saml_status"        // the identity provider says that it did not sign anybody in
	CodeUnsigned    Code = "saml_unsigned"      // the Assertion has no signature
	CodeReference   Code = "saml_reference"     // a signature is over something else, or over more than one thing
	CodeAlgorithm   Code = "saml_algorithm"     // SHA-1, or another algorithm that is not of the list
	CodeSignature   Code = "saml_signature"     // no certificate of the metadata verifies it
	CodeIssuer      Code = "saml_issuer"        // somebody else's
	CodeDestination Code = "saml_destination"   // posted here, and meant for elsewhere
	CodeRecipient   Code = "saml_recipient"     // likewise
	CodeAudience    Code = "saml_audience"      // made for another service
	CodeUnsolicited Code = "saml_unsolicited"   // answers no request, or another one
	CodeExpired     Code = "saml_expired"       // too late
	CodeNotYetValid Code = "saml_not_yet_valid" // too early
	CodeSubject     Code = "saml_subject"       // it does not say, once and for good, who it is about
	CodeLibrary     Code = "saml_refused"       // crewjam/saml does not accept it
)

// Error is a response refused.
type Error struct {
	Code   Code
	Detail string // for the operator; holds nothing of the Assertion
}

// Error returns the code and the detail.
func (e *Error) Error() string { return fmt.Sprintf("refuse SAML response: %s: %s", e.Code, e.Detail) }

func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}
