package oidc

import (
	"context"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// Statement is what a control plane has said of somebody outside a credential,
// in a certificate. Whoever has one has verified who signed it.
type Statement struct {
	Audience string // the gateway that it was made for
	Claims   []byte // a JSON object
	ID       string
	Expires  time.Time
}

// Vouched returns the claims of a statement, with its identifier and expiry, as
// [Verifier.Verify] would of a credential: if the policy in force names an
// issuer "postern" of that audience, and the issuer of the claims. An error is
// an [*Error].
func (v *Verifier) Vouched(s Statement) (map[string]any, error) {
	issuers := v.issuers()
	accepted := false
	for _, issuer := range issuers {
		accepted = accepted || issuer.Name == api.CredentialIssuer && issuer.Audience == s.Audience && s.Audience != ""
	}
	if !accepted {
		return nil, refuse(CodeAudience, "it is for the gateway %.100q, and the policy names no issuer %q of that audience", s.Audience, api.CredentialIssuer)
	}
	inner, err := readClaims(s.Claims)
	if err != nil {
		return nil, err
	}
	claims, err := unwrap(map[string]any{"claims": inner, "jti": s.ID, "exp": s.Expires.Unix()}, issuers)
	if err != nil {
		return nil, err
	}
	return claims, nil
}

// VerifySCRAM verifies a SCRAM grant, as Verify does a credential, and returns
// the claims together with the verifier of the secret that the client must
// prove to have, in PostgreSQL's notation. By itself a grant proves nothing.
func (v *Verifier) VerifySCRAM(ctx context.Context, raw string) (claims map[string]any, verifier string, err error) {
	outer, refused := v.verify(ctx, raw, kindSCRAM)
	if refused != nil {
		return nil, "", refused
	}
	verifier, _ = outer["scram"].(string)
	if verifier == "" {
		return nil, "", refuse(CodeMalformed, "the SCRAM grant has no verifier")
	}
	claims, refused = unwrap(outer, v.issuers())
	if refused != nil {
		return nil, "", refused
	}
	return claims, verifier, nil
}
