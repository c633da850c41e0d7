package client

import (
	"context"
	"encoding/json"
	"net/http"
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
