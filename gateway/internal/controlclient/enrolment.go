package controlclient

import (
	"context"
	"net/http"

	"github.com/posternhq/postern/gateway/internal/api"
)

// CreateEnrolment makes a token with which one gateway enrols, once.
func (c *Client) CreateEnrolment(ctx context.Context, in api.EnrolmentInput) (api.Enrolment, error) {
	var out api.Enrolment
	_, err := c.json(ctx, call{method: http.MethodPost, path: path("v1", "enrolments"), once: true}, in, &out)
	return out, err
}

// Enrol exchanges the enrolment token that the client sends for a token of the
// gateway's own. It is not repeated: the enrolment token is used up.
func (c *Client) Enrol(ctx context.Context, in api.EnrolInput) (api.TokenCreated, error) {
	var out api.TokenCreated
	_, err := c.json(ctx, call{method: http.MethodPost, path: path("v1", "enrol"), once: true}, in, &out)
	return out, err
}
