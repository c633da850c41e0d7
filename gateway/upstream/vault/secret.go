package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Secret is what is at a path.
type Secret struct {
	Data  map[string]string // its fields that are strings
	Lease Lease
}

// Lease is for how long a secret is good that Vault made for us. The zero Lease
// is of one that was stored.
type Lease struct {
	ID        string
	Life      time.Duration
	Renewable bool
}

// Read reads a secret. A path of version 2 of the key-value engine, which has
// "data" behind the mount, gives the newest version.
func (c *Client) Read(ctx context.Context, path string) (*Secret, error) {
	path, err := cleanPath(path)
	if err != nil {
		return nil, err
	}
	var answer struct {
		LeaseID   string                     `json:"lease_id"`
		Life      int64                      `json:"lease_duration"`
		Renewable bool                       `json:"renewable"`
		Data      map[string]json.RawMessage `json:"data"`
	}
	if err := c.call(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return nil, err
	}
	fields := answer.Data
	if _, versioned := fields["metadata"]; versioned {
		if inner, ok := fields["data"]; ok {
			fields = nil
			if json.Unmarshal(inner, &fields) != nil || fields == nil {
				return nil, fmt.Errorf("vault %s: the newest version of the secret was deleted", path)
			}
		}
	}
	s := &Secret{Data: make(map[string]string, len(fields))}
	for name, value := range fields {
		var text string
		if json.Unmarshal(value, &text) == nil {
			s.Data[name] = text
		}
	}
	if answer.LeaseID != "" {
		s.Lease = Lease{ID: answer.LeaseID, Life: time.Duration(answer.Life) * time.Second, Renewable: answer.Renewable}
	}
	return s, nil
}

// cleanPath escapes a path, and refuses one that would lead elsewhere.
func cleanPath(path string) (string, error) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, part := range parts {
		if part == "" || part == "." || part == ".." {
			return "", errors.New("vault: the path has an empty part, or one of dots")
		}
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/"), nil
}

// Renew makes a lease last as long again from now, and returns for how long it
// is good: less, when it nears the longest that Vault allows.
func (c *Client) Renew(ctx context.Context, l Lease) (Lease, error) {
	var answer struct {
		LeaseID   string `json:"lease_id"`
		Life      int64  `json:"lease_duration"`
		Renewable bool   `json:"renewable"`
	}
	body := map[string]any{"lease_id": l.ID, "increment": int64(l.Life.Seconds())}
	if err := c.call(ctx, http.MethodPut, "sys/leases/renew", body, &answer); err != nil {
		return Lease{}, err
	}
	return Lease{ID: l.ID, Life: time.Duration(answer.Life) * time.Second, Renewable: answer.Renewable}, nil
}

// Revoke ends a lease: Vault takes back what it made.
func (c *Client) Revoke(ctx context.Context, l Lease) error {
	return c.call(ctx, http.MethodPut, "sys/leases/revoke", map[string]string{"lease_id": l.ID}, nil)
}
