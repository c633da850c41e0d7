package api

import "time"

// MaxCredentialLife is the longest life of what the control plane mints.
const MaxCredentialLife = 15 * time.Minute

// CredentialType is the type in a credential's header, so that it is never
// mistaken for an ID token, nor an ID token for it.
const CredentialType = "postern+jwt"

// SCRAMGrantType is the type in the header of a SCRAM grant.
const SCRAMGrantType = "postern-scram+jwt"

// CredentialIssuer is the name that a policy gives to the issuer whose tokens
// are credentials: its control plane.
const CredentialIssuer = "postern"

// LoginClient is the client identifier of people's command lines at the control
// plane, where they sign in by way of a SAML identity provider.
const LoginClient = "postern-login"

// The names of RFC 6749 and RFC 8693.
const (
	GrantCode          = "authorization_code"
	GrantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	TokenTypeID        = "urn:ietf:params:oauth:token-type:id_token"
	TokenTypeAccess    = "urn:ietf:params:oauth:token-type:access_token"
	TokenTypeJWT       = "urn:ietf:params:oauth:token-type:jwt"
)

// What the token endpoint gives in place of a credential, as its
// requested_token_type: URNs of our own, for RFC 8693 has none.
const (
	TokenTypeCertificate = "urn:postern:params:oauth:token-type:client-certificate"
	TokenTypeSCRAM       = "urn:postern:params:oauth:token-type:scram-grant"
)

// SignIn answers GET /oauth/sign-in.
type SignIn struct {
	Issuers  []SignInIssuer  `json:"issuers"`
	Gateways []SignInGateway `json:"gateways"`
}

// SignInIssuer is an identity provider that people sign in at.
type SignInIssuer struct {
	Name     string `json:"name"`
	URL      string `json:"url"`
	ClientID string `json:"client_id"`
	SAML     bool   `json:"saml,omitempty"` // URL is then the control plane's, which sends people there
}

// SignInGateway is a gateway that credentials are minted for.
type SignInGateway struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"` // "host:port"
}

// TokenGranted answers POST /oauth/token.
type TokenGranted struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type"`
	TokenType       string `json:"token_type"`
	ExpiresIn       int64  `json:"expires_in"` // seconds

	// What the policy makes of the token.
	Subject      string `json:"subject"`
	Identity     string `json:"identity"`
	Kind         string `json:"kind"`
	Actor        string `json:"actor,omitempty"`
	DatabaseRole string `json:"database_role"`
	Gateway      string `json:"gateway"`
	Address      string `json:"address,omitempty"`
}

// LoginGranted answers POST /oauth/token for an authorization code.
type LoginGranted struct {
	AccessToken string `json:"access_token"` // the ID token: there is nothing else to access
	IDToken     string `json:"id_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

// OAuthError answers POST /oauth/token when it refuses (RFC 6749, section
// 5.2). It is an error.
type OAuthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	Hint        string `json:"hint,omitempty"`
}

// Error returns the description, and the hint if there is one.
func (e *OAuthError) Error() string {
	if e.Hint == "" {
		return e.Description
	}
	return e.Description + "; " + e.Hint
}
