package oidc

import (
	"maps"
	"strings"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
)

// kind tells what a control plane minted from what identity providers issue.
type kind string

const (
	kindBearer     kind = "JWT" // an identity provider's
	kindCredential kind = api.CredentialType
	kindSCRAM      kind = api.SCRAMGrantType
	kindLogout     kind = "logout+jwt" // an identity provider's, and nothing to log in with
)

// kindOf reads a header's "typ".
func kindOf(typ any) kind {
	name, _ := typ.(string)
	if k := kind(strings.TrimPrefix(strings.ToLower(name), "application/")); k == kindCredential || k == kindSCRAM || k == kindLogout {
		return k
	}
	return kindBearer
}

// checkKind keeps credentials and the tokens of identity providers apart: the
// issuer that the policy names as the control plane makes nothing else, and
// nobody else makes them.
func (e envelope) checkKind(issuers []policylang.Issuer) *Error {
	for _, issuer := range issuers {
		if issuer.URL != e.issuer {
			continue
		}
		switch minted := issuer.Name == api.CredentialIssuer; {
		case e.kind != kindBearer && !minted:
			return refuse(CodeTokenType, "the token is a credential, but the policy names %q %q and not %q", e.issuer, issuer.Name, api.CredentialIssuer)
		case e.kind == kindBearer && minted:
			return refuse(CodeTokenType, "the token of %q is not a credential that the control plane minted", e.issuer)
		}
	}
	return nil
}

// unwrap returns the claims that a credential was minted for, with the
// credential's own id and expiry. The control plane may speak for the issuers
// that the policy names, and for no other; nor for itself.
func unwrap(claims map[string]any, issuers []policylang.Issuer) (map[string]any, *Error) {
	inner, ok := claims["claims"].(map[string]any)
	if !ok {
		return nil, refuse(CodeMalformed, "the credential holds no claims")
	}
	if err := vouchable(inner, issuers); err != nil {
		return nil, err
	}
	if subject, _ := inner["sub"].(string); subject == "" {
		return nil, refuse(CodeMalformed, "the credential's claims have no subject")
	}
	if act, acts := inner["act"]; acts {
		actor, ok := act.(map[string]any)
		if !ok {
			return nil, refuse(CodeMalformed, "the credential's actor is no object")
		}
		if err := vouchable(actor, issuers); err != nil {
			return nil, err
		}
	}
	out := maps.Clone(inner)
	out["exp"], out["jti"] = claims["exp"], claims["jti"]
	return out, nil
}

func vouchable(claims map[string]any, issuers []policylang.Issuer) *Error {
	from, _ := claims["iss"].(string)
	for _, issuer := range issuers {
		if issuer.URL == from && issuer.Name != api.CredentialIssuer {
			return nil
		}
	}
	return refuse(CodeUnknownIssuer, "the credential speaks for the issuer %s, which is not among the policy's", describeIssuer(from))
}
