package controlclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// StartRollout starts a rollout under an id of the caller's choice, so that the
// request can be repeated.
func (c *Client) StartRollout(ctx context.Context, id string, in api.RolloutInput) (api.Rollout, error) {
	var out api.Rollout
	_, err := c.json(ctx, call{method: http.MethodPut, path: path("v1", "rollouts", id)}, in, &out)
	return out, err
}

// Rollout returns how a rollout stands. It waits for as long as wait while its
// revision is not higher than after.
func (c *Client) Rollout(ctx context.Context, id string, after int64, wait time.Duration) (api.Rollout, error) {
	k := call{method: http.MethodGet, path: path("v1", "rollouts", id), wait: wait}
	k.query = url.Values{"after": {strconv.FormatInt(after, 10)}}
	if wait > 0 {
		k.query.Set("wait", wait.String())
	}
	var out api.Rollout
	_, err := c.json(ctx, k, nil, &out)
	return out, err
}

// Rollouts lists the newest rollouts, newest first.
func (c *Client) Rollouts(ctx context.Context, limit int) ([]api.Rollout, error) {
	k := call{method: http.MethodGet, path: path("v1", "rollouts"), query: url.Values{"limit": {strconv.Itoa(limit)}}}
	var out api.RolloutList
	_, err := c.json(ctx, k, nil, &out)
	return out.Rollouts, err
}

// StopRollout stops a rollout that is running.
func (c *Client) StopRollout(ctx context.Context, id string) (api.Rollout, error) {
	var out api.Rollout
	_, err := c.json(ctx, call{method: http.MethodDelete, path: path("v1", "rollouts", id), once: true}, nil, &out)
	return out, err
}
