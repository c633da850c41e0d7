package client

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/posternhq/postern/policylang"
)

// Object is an object that the control plane holds.
type Object struct {
	Kind       policylang.Kind `json:"kind"`
	Name       string          `json:"name"`
	Definition json.RawMessage `json:"definition"`
	Digest     string          `json:"digest"`

	// ETag names this version of the object, for UpdateObject.
	ETag string `json:"-"`
}

// Parse returns the object of the policy language.
func (o Object) Parse() (policylang.Object, error) {
	return policylang.ParseDefinition(o.Kind, o.Name, o.Definition)
}

// Object reads an object, or fails with [ErrNotFound].
func (c *Client) Object(ctx context.Context, kind policylang.Kind, name string) (Object, error) {
	var o Object
	etag, err := c.get(ctx, &o, "v1", "objects", string(kind), name)
	if err != nil {
		return Object{}, err
	}
	o.ETag = etag
	return o, nil
}

// CreateObject stores a new object, or fails with [ErrExists].
func (c *Client) CreateObject(ctx context.Context, o policylang.Object) (Object, error) {
	return c.putObject(ctx, o, http.Header{"If-None-Match": {"*"}})
}

// UpdateObject replaces the version of an object that etag names. It fails with
// [ErrChanged] if the object is of another version now, and with [ErrNotFound]
// if it is gone.
func (c *Client) UpdateObject(ctx context.Context, o policylang.Object, etag string) (Object, error) {
	return c.putObject(ctx, o, http.Header{"If-Match": {etag}})
}

func (c *Client) putObject(ctx context.Context, o policylang.Object, condition http.Header) (Object, error) {
	definition, err := policylang.Definition(o)
	if err != nil {
		return Object{}, err
	}
	body, err := json.Marshal(map[string]json.RawMessage{"definition": definition})
	if err != nil {
		return Object{}, err
	}
	a, err := c.do(ctx, call{
		method: http.MethodPut, path: []string{"v1", "objects", string(o.ObjectKind()), o.ObjectName()},
		header: condition, body: body,
	})
	if err != nil {
		return Object{}, err
	}
	var stored Object
	if err := decode(a.body, &stored); err != nil {
		return Object{}, err
	}
	stored.ETag = a.etag
	return stored, nil
}

// DeleteObject removes an object, or fails with [ErrNotFound].
func (c *Client) DeleteObject(ctx context.Context, kind policylang.Kind, name string) error {
	_, err := c.do(ctx, call{
		method: http.MethodDelete, path: []string{"v1", "objects", string(kind), name}, repeatable: true,
	})
	return err
}
