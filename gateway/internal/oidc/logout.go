package oidc

import (
	"context"
	"time"
)

// logoutEvent is the member of "events" that makes a token a logout token.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// maxLogoutLife bounds exp - iat of a logout token, and its age where it has no
// exp, as the drafts before the final specification had it.
const maxLogoutLife = 10 * time.Minute

// Logout is what a logout token says: that its issuer ended one session, or all
// sessions of a subject.
type Logout struct {
	Issuer  string
	Subject string    // "sub"; empty if it is about one session alone
	Session string    // "sid"; empty if it is about all of the subject
	ID      string    // "jti"
	Expires time.Time // when it is too late to be shown again
}

// VerifyLogout returns what a logout token says (OpenID Connect Back-Channel
// Logout 1.0, section 2.6), or an [*Error]. That it counts once is for the
// caller to keep, by issuer and ID.
func (v *Verifier) VerifyLogout(ctx context.Context, raw string) (Logout, error) {
	out, err := v.verifyLogout(ctx, raw)
	if err != nil {
		return Logout{}, err
	}
	return out, nil
}

func (v *Verifier) verifyLogout(ctx context.Context, raw string) (Logout, *Error) {
	token, err := parseEnvelope(raw)
	if err != nil {
		return Logout{}, err
	}
	if token.kind != kindBearer && token.kind != kindLogout {
		return Logout{}, refuse(CodeTokenType, "a token of the type %s is no logout token", token.kind)
	}
	audiences, keys := v.lookUp(token.issuer, v.issuers())
	if keys == nil {
		return Logout{}, refuse(CodeUnknownIssuer, "the issuer %s is not among the policy's", describeIssuer(token.issuer))
	}
	signed := &signature{token: token, keys: keys}
	if _, err := signed.VerifySignature(ctx, raw); err != nil {
		if signed.failed != nil {
			return Logout{}, signed.failed
		}
		return Logout{}, refuse(CodeMalformed, "the token is not a signed JWT")
	}
	claims, err := readClaims(signed.payload)
	if err != nil {
		return Logout{}, err
	}
	expected := expectation{issuer: token.issuer, audiences: audiences, now: v.clock(), maxLifetime: maxLogoutLife}
	return expected.logout(claims)
}

func (e expectation) logout(claims map[string]any) (Logout, *Error) {
	if err := e.checkAudience(claims); err != nil {
		return Logout{}, err
	}
	events, _ := claims["events"].(map[string]any)
	if _, ok := events[logoutEvent].(map[string]any); !ok {
		return Logout{}, refuse(CodeTokenType, "the token of %q is no logout token", e.issuer)
	}
	if _, present := claims["nonce"]; present {
		return Logout{}, refuse(CodeTokenType, "the token of %q has a nonce, which no logout token has", e.issuer)
	}
	if _, present := claims["exp"]; !present {
		if issued, ok := numericDate(claims["iat"]); ok {
			claims["exp"] = issued.Add(maxLogoutLife).Unix()
		}
	}
	if err := e.checkTimes(claims); err != nil {
		return Logout{}, err
	}
	out := Logout{Issuer: e.issuer}
	out.Subject, _ = claims["sub"].(string)
	out.Session, _ = claims["sid"].(string)
	out.ID, _ = claims["jti"].(string)
	expires, _ := numericDate(claims["exp"])
	out.Expires = expires.Add(Leeway)
	if out.ID == "" || out.Subject == "" && out.Session == "" {
		return Logout{}, refuse(CodeMalformed, "the logout token of %q has no jti, or neither sub nor sid", e.issuer)
	}
	return out, nil
}
