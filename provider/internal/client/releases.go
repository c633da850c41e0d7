package client

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"
)

// Release is what a gateway must run, as the control plane holds it. Only
// Signed proves anything.
type Release struct {
	Gateway     string    `json:"gateway"`
	Bundle      string    `json:"bundle"` // digest
	Predecessor string    `json:"predecessor"`
	Revision    uint64    `json:"revision"`
	Time        time.Time `json:"time"`
	ReleasedBy  string    `json:"released_by"`
	ReleasedAt  time.Time `json:"released_at"`
	Note        string    `json:"note"`
	Signed      []byte    `json:"signed"` // the sealed statement
}

// Instance is a gateway process, by its own account.
type Instance struct {
	Instance  string    `json:"instance"`
	Version   string    `json:"version"`
	Bundle    string    `json:"bundle"` // digest of the bundle it enforces
	Revision  uint64    `json:"revision"`
	Error     string    `json:"error"` // why it does not enforce a newer one
	Sessions  int64     `json:"sessions"`
	SeenAt    time.Time `json:"seen_at"`
	StartedAt time.Time `json:"started_at"`
}

// PutBundle stores a sealed bundle under its digest. It is idempotent.
func (c *Client) PutBundle(ctx context.Context, digest string, sealed []byte) error {
	_, err := c.do(ctx, call{
		method: http.MethodPut, path: []string{"v1", "bundles", digest}, body: sealed,
		header: http.Header{"Content-Type": {"application/octet-stream"}}, repeatable: true,
	})
	return err
}

// Bundle returns a sealed bundle, or fails with [ErrNotFound]. Whether its
// digest is the one asked for is for the caller to check.
func (c *Client) Bundle(ctx context.Context, digest string) ([]byte, error) {
	a, err := c.do(ctx, call{method: http.MethodGet, path: []string{"v1", "bundles", digest}, repeatable: true})
	return a.body, err
}

// DeleteBundle removes a bundle. It fails with [ErrNotFound] if there is none,
// and with [ErrExists] if it was ever released and so is part of history.
func (c *Client) DeleteBundle(ctx context.Context, digest string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: []string{"v1", "bundles", digest}, repeatable: true})
	return err
}

// Release returns the live release of a gateway, or fails with [ErrNotFound].
func (c *Client) Release(ctx context.Context, gateway string) (Release, error) {
	var r Release
	_, err := c.get(ctx, &r, "v1", "gateways", gateway, "release")
	return r, err
}

// Gateways returns the names of the gateways that the control plane has heard
// of: by an object, a release or a process.
func (c *Client) Gateways(ctx context.Context) ([]string, error) {
	var list struct {
		Gateways []struct {
			Name string `json:"name"`
		} `json:"gateways"`
	}
	_, err := c.get(ctx, &list, "v1", "gateways")
	names := make([]string, len(list.Gateways))
	for i, g := range list.Gateways {
		names[i] = g.Name
	}
	return names, err
}

// Publish makes a signed release live if the bundle of digest live is the live
// one now; live is empty if none must be. It fails with [ErrChanged], and then
// the error's Live says what is live instead.
//
// When the control plane dies in the middle, nobody knows whether it stored the
// release: Publish asks, and succeeds if it did.
func (c *Client) Publish(ctx context.Context, gateway, live string, signed []byte) (Release, error) {
	condition := http.Header{"If-Match": {`"` + live + `"`}}
	if live == "" {
		condition = http.Header{"If-None-Match": {"*"}}
	}
	condition.Set("Content-Type", "application/octet-stream")
	addOrigin(condition)
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"v1", "gateways", gateway, "releases"}, header: condition, body: signed,
	})
	if err != nil && !uncertain(err) {
		return Release{}, err
	}
	stored, readErr := c.Release(ctx, gateway)
	switch {
	case err == nil && readErr != nil:
		return Release{}, readErr
	case err == nil:
		return stored, nil
	case readErr == nil && bytes.Equal(stored.Signed, signed):
		return stored, nil
	}
	return Release{}, err
}

// uncertain reports whether the request may have been carried out in spite of
// the error.
func uncertain(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.Status >= http.StatusInternalServerError
	}
	var v *VersionError
	return !errors.As(err, &v)
}

// Instances returns the processes that run as the gateway, and the time by the
// control plane's clock, by which each was seen.
func (c *Client) Instances(ctx context.Context, gateway string) ([]Instance, time.Time, error) {
	a, err := c.do(ctx, call{
		method: http.MethodGet, path: []string{"v1", "gateways", gateway, "instances"}, repeatable: true,
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	var list struct {
		Instances []Instance `json:"instances"`
	}
	return list.Instances, a.date, decode(a.body, &list)
}
