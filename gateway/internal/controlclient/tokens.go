package controlclient

import (
	"context"
	"net/http"

	"github.com/posternhq/postern/gateway/internal/api"
)

// CreateToken makes an API token. It is not repeated, since each would be
// another token.
func (c *Client) CreateToken(ctx context.Context, in api.TokenInput) (api.TokenCreated, error) {
	var out api.TokenCreated
	_, err := c.json(ctx, call{method: http.MethodPost, path: path("v1", "tokens"), once: true}, in, &out)
	return out, err
}

// Tokens lists the API tokens that are not revoked.
func (c *Client) Tokens(ctx context.Context) ([]api.Token, error) {
	var out api.TokenList
	_, err := c.json(ctx, call{method: http.MethodGet, path: path("v1", "tokens")}, nil, &out)
	return out.Tokens, err
}

// RevokeToken ends an API token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := c.json(ctx, call{method: http.MethodDelete, path: path("v1", "tokens", id)}, nil, nil)
	return err
}
