package controlclient

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

// Version returns the control plane's version.
func (c *Client) Version(ctx context.Context) (api.VersionInfo, error) {
	var out api.VersionInfo
	_, err := c.json(ctx, call{method: http.MethodGet, path: path("v1", "version")}, nil, &out)
	return out, err
}

// VersionAt is Version, and the time by the control plane's clock, to the second;
// the zero time if it does not say.
func (c *Client) VersionAt(ctx context.Context) (api.VersionInfo, time.Time, error) {
	var out api.VersionInfo
	r, err := c.json(ctx, call{method: http.MethodGet, path: path("v1", "version")}, nil, &out)
	if err != nil {
		return out, time.Time{}, err
	}
	date, err := http.ParseTime(r.header.Get("Date"))
	if err != nil {
		return out, time.Time{}, nil //nolint:nilerr // without a date there is none to tell
	}
	return out, date, nil
}

// Whoami returns who the token makes the caller.
func (c *Client) Whoami(ctx context.Context) (api.Caller, error) {
	var out api.Caller
	_, err := c.json(ctx, call{method: http.MethodGet, path: path("v1", "whoami")}, nil, &out)
	return out, err
}

// Gateways lists the gateways that the control plane has heard of.
func (c *Client) Gateways(ctx context.Context) ([]api.Gateway, error) {
	var out api.GatewayList
	_, err := c.json(ctx, call{method: http.MethodGet, path: path("v1", "gateways")}, nil, &out)
	return out.Gateways, err
}

// Instances lists the instances of a gateway.
func (c *Client) Instances(ctx context.Context, gateway string) ([]api.Instance, error) {
	var out api.InstanceList
	_, err := c.json(ctx, call{method: http.MethodGet, path: path("v1", "gateways", gateway, "instances")}, nil, &out)
	return out.Instances, err
}

// Report says how an instance of a gateway fares.
func (c *Client) Report(ctx context.Context, gateway, instance string, h api.Heartbeat) error {
	_, err := c.json(ctx, call{method: http.MethodPost, path: path("v1", "gateways", gateway, "instances", instance)}, h, nil)
	return err
}

// Leave says that an instance of a gateway has ended.
func (c *Client) Leave(ctx context.Context, gateway, instance string) error {
	_, err := c.json(ctx, call{method: http.MethodDelete, path: path("v1", "gateways", gateway, "instances", instance)}, nil, nil)
	return err
}

// Live returns the live release of a gateway if its revision is higher than
// after, for which it waits, and nil if there is none.
func (c *Client) Live(ctx context.Context, gateway string, after uint64, wait time.Duration) (*api.Release, error) {
	k := call{method: http.MethodGet, path: path("v1", "gateways", gateway, "release"), wait: wait}
	k.query = url.Values{"after": {strconv.FormatUint(after, 10)}}
	if wait > 0 {
		k.query.Set("wait", wait.String())
	}
	var out api.Release
	r, err := c.json(ctx, k, nil, &out)
	if status, code := Status(err); status == http.StatusNotFound && code == api.CodeNotFound {
		return nil, nil
	}
	if err != nil || r.status == http.StatusNotModified {
		return nil, err
	}
	return &out, nil
}

// Releases returns the newest releases of a gateway, newest first.
func (c *Client) Releases(ctx context.Context, gateway string, limit int) ([]api.Release, error) {
	k := call{method: http.MethodGet, path: path("v1", "gateways", gateway, "releases")}
	k.query = url.Values{"limit": {strconv.Itoa(limit)}}
	var out api.ReleaseList
	_, err := c.json(ctx, k, nil, &out)
	return out.Releases, err
}

// Publish makes a sealed release live if the bundle live until now is seen,
// which is empty if none was. If another is live the error is an *api.Error
// with CodeChanged, and live is that one.
func (c *Client) Publish(ctx context.Context, gateway string, signed []byte, seen string) (live *api.Release, err error) {
	return c.PublishFrom(ctx, gateway, signed, seen, Origin{})
}

// Origin is where a release is made: the URL of a run or a job, and the commit
// of the policy's source. Both may be empty.
type Origin struct{ Run, Commit string }

// PublishFrom is Publish by a publisher that says where the release was made.
func (c *Client) PublishFrom(ctx context.Context, gateway string, signed []byte, seen string, from Origin) (live *api.Release, err error) {
	k := call{method: http.MethodPost, path: path("v1", "gateways", gateway, "releases"), body: signed}
	k.header = map[string]string{"Content-Type": "application/octet-stream"}
	if seen != "" {
		k.header["If-Match"] = `"` + seen + `"`
	} else {
		k.header["If-None-Match"] = "*"
	}
	for name, text := range map[string]string{api.HeaderRun: from.Run, api.HeaderCommit: from.Commit} {
		if text != "" {
			k.header[name] = text
		}
	}
	r, err := c.do(ctx, k)
	if err != nil {
		var refused api.ErrorBody
		_ = json.Unmarshal(r.body, &refused) // without a body that says so, nothing is known of what is live
		return refused.Live, err
	}
	var out api.ReleaseCreated
	if err := json.Unmarshal(r.body, &out); err != nil {
		return nil, errors.Join(errors.New("the answer to a release cannot be read"), err)
	}
	return &out.Live, nil
}

// Bundles lists the stored bundles, newest first.
func (c *Client) Bundles(ctx context.Context) ([]api.Bundle, error) {
	var out api.BundleList
	_, err := c.json(ctx, call{method: http.MethodGet, path: path("v1", "bundles")}, nil, &out)
	return out.Bundles, err
}

// Bundle returns a sealed bundle.
func (c *Client) Bundle(ctx context.Context, digest string) ([]byte, error) {
	r, err := c.do(ctx, call{method: http.MethodGet, path: path("v1", "bundles", digest)})
	return r.body, err
}

// PutBundle stores a sealed bundle under its policy's digest.
func (c *Client) PutBundle(ctx context.Context, digest string, sealed []byte) error {
	_, err := c.do(ctx, call{
		method: http.MethodPut, path: path("v1", "bundles", digest), body: sealed,
		header: map[string]string{"Content-Type": "application/octet-stream"},
	})
	return err
}

// Objects lists the drafts of a kind.
func (c *Client) Objects(ctx context.Context, kind string) ([]api.Object, error) {
	var out api.ObjectList
	_, err := c.json(ctx, call{method: http.MethodGet, path: path("v1", "objects", kind)}, nil, &out)
	return out.Objects, err
}
