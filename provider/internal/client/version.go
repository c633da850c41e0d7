package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// VersionError says that the control plane speaks another version of the API, or
// is too old for what was asked of it.
type VersionError struct {
	Endpoint        string
	Provider        string // the provider's version
	ControlPlane    string // the control plane's version
	ControlPlaneAPI int
	Lacks           string // what it is too old for, as "decide about requests"; empty where the APIs differ
}

// Error names both versions and says which one to upgrade.
func (e *VersionError) Error() string {
	if e.Lacks != "" {
		return fmt.Sprintf("the control plane at %s (postern %s) is too old for the provider (terraform-provider-postern %s): it cannot %s. Upgrade the control plane.",
			e.Endpoint, e.ControlPlane, e.Provider, e.Lacks)
	}
	advice := "Upgrade the control plane, or use an older provider."
	if e.ControlPlaneAPI > API {
		advice = "Upgrade the provider."
	}
	return fmt.Sprintf("the provider (terraform-provider-postern %s) speaks version %d of the API, the control plane at %s (postern %s) speaks version %d. %s",
		e.Provider, API, e.Endpoint, e.ControlPlane, e.ControlPlaneAPI, advice)
}

// checkVersion asks for the control plane's version until it was once found to
// be ours.
func (c *Client) checkVersion(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.checked {
		return nil
	}
	a, err := c.send(ctx, call{method: http.MethodGet, path: []string{"v1", "version"}, repeatable: true})
	if err != nil {
		return fmt.Errorf("ask for the control plane's version: %w", err)
	}
	var v struct {
		Version string `json:"version"`
		API     int    `json:"api"`
	}
	if err := decode(a.body, &v); err != nil {
		return err
	}
	if v.API != API {
		return &VersionError{Endpoint: c.Endpoint(), Provider: c.version, ControlPlane: v.Version, ControlPlaneAPI: v.API}
	}
	c.checked, c.controlPlane = true, v.Version
	return nil
}

// lacking turns the refusal of a path that there is not into a [VersionError].
func (c *Client) lacking(err error, what string) error {
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != codeNoSuchPath {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &VersionError{Endpoint: c.Endpoint(), Provider: c.version, ControlPlane: c.controlPlane, ControlPlaneAPI: API, Lacks: what}
}
