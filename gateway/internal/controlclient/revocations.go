package controlclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// Revoke takes back what was given to somebody. It is not repeated by itself;
// a second one does no harm.
func (c *Client) Revoke(ctx context.Context, in api.RevocationInput) (api.Revocation, error) {
	var out api.Revocation
	_, err := c.json(ctx, call{method: http.MethodPost, path: path("v1", "revocations"), once: true}, in, &out)
	return out, err
}

// Revocations returns what is revoked. It waits for as long as wait while there
// is nothing newer than the revision after.
func (c *Client) Revocations(ctx context.Context, gateway string, after uint64, wait time.Duration) (api.RevocationList, error) {
	k := call{method: http.MethodGet, path: path("v1", "gateways", gateway, "revocations"), wait: wait}
	k.query = url.Values{"after": {strconv.FormatUint(after, 10)}}
	if wait > 0 {
		k.query.Set("wait", wait.String())
	}
	var out api.RevocationList
	_, err := c.json(ctx, k, nil, &out)
	return out, err
}
