// Package client speaks the control plane's HTTP API on behalf of the
// provider.
//
// A [Client] is safe for concurrent use. Before its first request it asks the
// control plane for its version, and refuses to go on where the two do not
// speak the same API ([VersionError]). Requests that may be repeated without
// harm are repeated when the control plane is away for a moment; nothing else
// is. The token is sent over TLS only, or to a loopback address, never follows
// a redirect and is in no error.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// API is the version of the control plane's API that this package speaks.
const API = 1

// maxBody bounds what is read of an answer: a bundle is at most 32 MiB.
const maxBody = 33 << 20

// How often a request is sent: one that may be repeated, and any that the
// control plane refuses for coming too fast.
const (
	attempts            = 4
	attemptsWhenHurried = 8
)

// longestRetry bounds what the control plane may ask to wait.
const longestRetry = 30 * time.Second

// Config says where the control plane is and how to speak to it.
type Config struct {
	Endpoint string // "https://host:port"; http for loopback addresses only
	Token    string // API token, or an identity's token
	CA       []byte // PEM; empty means the system's roots
	Version  string // of the provider, for the control plane's log and for VersionError

	// Backoff is the pause before a request is repeated for the first time;
	// it doubles each time. Zero means 250 ms.
	Backoff time.Duration
}

// Client speaks to one control plane.
type Client struct {
	base    *url.URL
	token   string
	version string
	backoff time.Duration
	http    *http.Client

	mu           sync.Mutex // guards all below
	checked      bool       // the control plane's version was found to be ours
	controlPlane string     // its version, once checked
}

// New returns a client. It makes no request.
func New(c Config) (*Client, error) {
	base, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return nil, err
	}
	if c.Token == "" {
		return nil, errors.New("the token is empty")
	}
	roots, err := parseRoots(c.CA)
	if err != nil {
		return nil, err
	}
	backoff := c.Backoff
	if backoff == 0 {
		backoff = 250 * time.Millisecond
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     30 * time.Second,
	}
	return &Client{
		base: base, token: c.Token, version: c.Version, backoff: backoff,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       time.Minute,
		},
	}, nil
}

func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, errors.New("the endpoint is not a URL such as https://postern.example.com:8443")
	}
	switch {
	case u.User != nil:
		return nil, errors.New("the endpoint must not hold a user name or password")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the endpoint must not have a query or a fragment")
	case u.Scheme == "https":
	case u.Scheme == "http" && isLoopback(u.Hostname()):
	default:
		return nil, fmt.Errorf("the endpoint's scheme is %q: it must be https, since the token must not be sent in the clear", u.Scheme)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func parseRoots(pem []byte) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the CA holds no certificate in PEM form")
	}
	return pool, nil
}

// Endpoint returns the control plane's URL.
func (c *Client) Endpoint() string { return c.base.String() }

// call is one request.
type call struct {
	method string
	path   []string // segments, escaped here
	query  url.Values
	header http.Header
	body   []byte
	// repeatable says that sending the request twice does what sending it once
	// does.
	repeatable bool
	// anonymous sends no token: the body has one.
	anonymous bool
}

// answer is what came back, with a status below 300.
type answer struct {
	body []byte
	etag string
	date time.Time // by the control plane's clock
}

// do sends the request and returns an *Error for a status from 300.
func (c *Client) do(ctx context.Context, r call) (answer, error) {
	if err := c.checkVersion(ctx); err != nil {
		return answer{}, err
	}
	return c.send(ctx, r)
}

func (c *Client) send(ctx context.Context, r call) (answer, error) {
	pause := c.backoff
	for attempt := 1; ; attempt++ {
		a, err := c.sendOnce(ctx, r)
		wait, again := c.again(r, err, attempt, pause)
		if !again {
			return a, err
		}
		select {
		case <-ctx.Done():
			return answer{}, err
		case <-time.After(wait):
		}
		pause *= 2
	}
}

// again reports whether to send the request once more, and after which pause. A
// request that is refused for coming too fast was not carried out, so that any
// may be sent again.
func (c *Client) again(r call, err error, attempt int, pause time.Duration) (time.Duration, bool) {
	var refused *Error
	switch {
	case err == nil:
		return 0, false
	case errors.As(err, &refused) && refused.Status == http.StatusTooManyRequests:
		return max(pause, refused.retryAfter), attempt < attemptsWhenHurried
	}
	return pause, r.repeatable && attempt < attempts && passing(err)
}

// passing reports whether the error may be gone in a moment.
func passing(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.Status == http.StatusBadGateway || e.Status == http.StatusServiceUnavailable || e.Status == http.StatusGatewayTimeout
	}
	var certificate *tls.CertificateVerificationError
	return !errors.Is(err, context.Canceled) && !errors.As(err, &certificate)
}

func (c *Client) sendOnce(ctx context.Context, r call) (answer, error) {
	u := c.base.JoinPath(escape(r.path)...)
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return answer{}, fmt.Errorf("make a request: %w", err)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if !r.anonymous {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "terraform-provider-postern/"+c.version)
	if len(r.body) > 0 && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("reach the control plane: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return answer{}, fmt.Errorf("read the control plane's answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return answer{}, newError(resp, body)
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		date = time.Now()
	}
	return answer{body: body, etag: resp.Header.Get("ETag"), date: date}, nil
}

// escape keeps a name from meaning more than one segment of a path.
func escape(segments []string) []string {
	out := make([]string, len(segments))
	for i, s := range segments {
		out[i] = url.PathEscape(s)
	}
	return out
}

// get reads a JSON document.
func (c *Client) get(ctx context.Context, into any, segments ...string) (etag string, err error) {
	a, err := c.do(ctx, call{method: http.MethodGet, path: segments, repeatable: true})
	if err != nil {
		return "", err
	}
	return a.etag, decode(a.body, into)
}

// decode is lenient about members that it does not know: the control plane
// may be newer within the same API.
func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read the control plane's answer: %w", err)
	}
	return nil
}
