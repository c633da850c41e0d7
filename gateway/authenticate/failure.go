package authenticate

import "github.com/posternhq/postern/gateway/internal/oidc"

// Failure is a client that could not prove who it is. It never holds the
// credential.
type Failure struct {
	Code   string // names the check; stable: "token_expired", "token_audience" ...
	Public string // for the client: one line, safe to send before it is known who it is
	Hint   string // for the client: what to do about it
	Reason string // for the operator's log: which check failed, and for which issuer
	Err    error  // what lies beneath; its text is safe for the operator's log
}

// Error returns the code and the operator's reason.
func (f *Failure) Error() string { return "authenticate: " + f.Code + ": " + f.Reason }

// Unwrap returns what lies beneath.
func (f *Failure) Unwrap() error { return f.Err }

// voice is what a client is told.
type voice struct{ public, hint string }

const hintLogin = "run: postern login"

func voiceOf(code oidc.Code) voice {
	switch code {
	case oidc.CodeMalformed:
		return voice{"the password is not a token", hintLogin}
	case oidc.CodeTruncated:
		return voice{
			"the token was cut at 4095 bytes",
			"psql's password prompt takes no more: set PGPASSWORD, or run: postern psql",
		}
	case oidc.CodeTokenType:
		return voice{"the token is not of a kind to log in with", hintLogin}
	case oidc.CodeAlgorithm:
		return voice{"the token's signature algorithm is not accepted", hintLogin}
	case oidc.CodeUnknownIssuer:
		return voice{"the token's issuer is not accepted here", "use a token of an issuer that this gateway's policy names; " + hintLogin}
	case oidc.CodeIssuerUnreachable:
		return voice{"the token can't be checked now: its issuer does not answer", "try again in a minute; the gateway's log says more"}
	case oidc.CodeUnknownKey:
		return voice{"the token was signed by a key that its issuer does not publish", "get a fresh token (" + hintLogin + "); if the issuer has just changed its keys, try again in 30 seconds"}
	case oidc.CodeSignature:
		return voice{"the token's signature does not match", "the token was altered or copied in part; " + hintLogin}
	case oidc.CodeAudience:
		return voice{"the token is meant for somebody else", "ask the issuer for this gateway's audience; " + hintLogin}
	case oidc.CodeAuthorizedParty:
		return voice{"the token was issued to another party", "use a token with this gateway's audience alone; " + hintLogin}
	case oidc.CodeExpired:
		return voice{"the token has expired", hintLogin}
	case oidc.CodeNotYetValid:
		return voice{"the token is not valid yet", "wait, and compare this machine's clock with the issuer's"}
	case oidc.CodeLifetime:
		return voice{"the token lives too long", "ask the issuer for a token of shorter life; " + hintLogin}
	}
	return voice{"the token is not accepted", hintLogin}
}
