package client

import "context"

// Objects lists the objects of a kind, by name.
func (c *Client) Objects(ctx context.Context, kind string) ([]Object, error) {
	var list struct {
		Objects []Object `json:"objects"`
	}
	_, err := c.get(ctx, &list, "v1", "objects", kind)
	return list.Objects, err
}

// Bundles lists the digests of the bundles, newest first.
func (c *Client) Bundles(ctx context.Context) ([]string, error) {
	var list struct {
		Bundles []struct {
			Digest string `json:"digest"`
		} `json:"bundles"`
	}
	_, err := c.get(ctx, &list, "v1", "bundles")
	digests := make([]string, len(list.Bundles))
	for i, b := range list.Bundles {
		digests[i] = b.Digest
	}
	return digests, err
}
