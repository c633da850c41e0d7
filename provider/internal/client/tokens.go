package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
)

// TokenRequest asks for an API token.
type TokenRequest struct {
	Name      string   `json:"name"`
	Roles     []string `json:"roles"`
	ExpiresIn string   `json:"expires_in"` // a Go duration
}

// MintToken makes an API token. The control plane shows it this once.
func (c *Client) MintToken(ctx context.Context, r TokenRequest) (string, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	a, err := c.do(ctx, call{method: http.MethodPost, path: []string{"v1", "tokens"}, body: body})
	if err != nil {
		return "", err
	}
	var minted struct {
		Token string `json:"token"`
	}
	return minted.Token, decode(a.body, &minted)
}

// CredentialRequest asks for a database credential.
type CredentialRequest struct {
	Gateway      string
	SubjectToken string // of whom it is for; the client's own token if it is empty
	ActorToken   string // of an agent that acts for them; may be empty
}

// Credential is a database credential, and what the policy makes of it.
type Credential struct {
	Token        string `json:"access_token"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
	Subject      string `json:"subject"`
	DatabaseRole string `json:"database_role"`
	Address      string `json:"address"`
}

// The names of token exchange (RFC 8693).
const (
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	tokenTypeJWT       = "urn:ietf:params:oauth:token-type:jwt"
)

// Credential exchanges a token of an identity provider for a credential.
func (c *Client) Credential(ctx context.Context, r CredentialRequest) (Credential, error) {
	form := url.Values{"grant_type": {grantTokenExchange}, "audience": {r.Gateway}, "subject_token_type": {tokenTypeJWT}}
	form.Set("subject_token", cmp.Or(r.SubjectToken, c.token))
	if r.ActorToken != "" {
		form.Set("actor_token", r.ActorToken)
		form.Set("actor_token_type", tokenTypeJWT)
	}
	a, err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"oauth", "token"}, body: []byte(form.Encode()), anonymous: true,
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	})
	if err != nil {
		return Credential{}, err
	}
	var granted Credential
	if err := decode(a.body, &granted); err != nil {
		return Credential{}, err
	}
	if granted.Token == "" {
		return Credential{}, errors.New("the control plane returned no credential")
	}
	return granted, nil
}
