package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	maxAnswerBytes = 1 << 20
	fetchTimeout   = 5 * time.Second // of discovery and keys together
)

// fetcher reads JSON documents from issuers.
type fetcher struct {
	client        *http.Client
	allowLoopback bool
}

func newFetcher(transport http.RoundTripper, allowLoopback bool) *fetcher {
	if transport == nil {
		transport = &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			ForceAttemptHTTP2: true,
			DisableKeepAlives: true, // one request in ten minutes: no connection waits for the next
		}
	}
	return &fetcher{
		allowLoopback: allowLoopback,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// get reads the JSON document at address into v.
func (f *fetcher) get(ctx context.Context, address string, v any) error {
	if err := f.checkAddress(address); err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("read %q: %w", address, err)
	}
	request.Header.Set("Accept", "application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return fmt.Errorf("read from the issuer: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		return fmt.Errorf("read %q: it redirects, which is refused", address)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("read %q: status %d", address, response.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	if err != nil {
		return fmt.Errorf("read %q: %w", address, err)
	}
	if len(data) > maxAnswerBytes {
		return fmt.Errorf("read %q: the answer is longer than %d bytes", address, maxAnswerBytes)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %q: the answer is not the JSON that was expected", address)
	}
	return nil
}

// checkAddress accepts absolute HTTPS URLs, and HTTP ones of loopback where
// that is allowed. A name that resolves to loopback is not loopback.
func (f *fetcher) checkAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("the issuer's address is not a URL")
	}
	switch {
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("%q is not the plain URL of an issuer", u.Redacted())
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && f.allowLoopback && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"):
		return nil
	}
	return fmt.Errorf("%q is not an https URL", address)
}
