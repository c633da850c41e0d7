// Package controlclient calls the control plane's API, for gateways, the
// command line and the console. [New] makes a [Client]; its methods are the
// API's operations, in package api's types. [Client.Broker] is the approve.Broker
// of a gateway, [Client.Source] its source of releases and bundles.
//
// Requests that may be repeated are, a few times and with growing pauses, when
// the control plane does not answer or says that it is not available. Errors
// name the control plane's URL, wrap an [*api.Error] if the control plane gave
// one, and wrap [ErrUnavailable] if trying again later may help. They never
// hold a token. A Client is safe for concurrent use.
package controlclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang/bundle"
)

// ErrUnavailable says that the control plane did not answer, or answered that
// it cannot at the moment.
var ErrUnavailable = errors.New("the control plane is not available")

// How often and with which pauses a request is tried, and how long one attempt
// may take beyond the time it asks the control plane to wait.
const (
	attempts       = 4
	firstPause     = 100 * time.Millisecond
	lastPause      = 2 * time.Second
	attemptTimeout = 20 * time.Second
)

// maxAnswer bounds the answers read, in bytes; sealed bundles are the largest.
const maxAnswer = bundle.MaxBundleSize + 1<<20

// Config says where the control plane is and who calls. URL must be set.
type Config struct {
	// URL is the control plane's, https://host:port. Plain http:// is refused
	// but for this machine, since it would show the token.
	URL string
	// Token returns the token to send. It is called for each request, so that
	// a token that expires can be replaced. Nil sends none.
	Token func(ctx context.Context) (string, error)
	// Certificate is shown to the control plane, which may take it in place of
	// a token.
	Certificate *tls.Certificate
	// RootCAs are the authorities that may have signed the control plane's
	// certificate; nil means the system's.
	RootCAs *x509.CertPool
	// Transport replaces the network, as InProcess does.
	Transport http.RoundTripper
	// UserAgent names the program: "postern/0.1.0".
	UserAgent string
}

// StaticToken returns a Config.Token that is always the same.
func StaticToken(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}

// Client calls a control plane.
type Client struct {
	config Config
	base   *url.URL
	http   *http.Client
}

// New returns a client. It does not connect.
func New(c Config) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(c.URL, "/"))
	if err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" {
		return nil, errors.New("the control plane's URL must be https://HOST[:PORT], without a user or a query")
	}
	if base.Scheme != "https" && (base.Scheme != "http" || !isLoopback(base.Hostname())) {
		return nil, fmt.Errorf("the control plane's URL %s must start with https://", base)
	}
	transport := c.Transport
	if transport == nil {
		var certificates []tls.Certificate
		if c.Certificate != nil {
			certificates = append(certificates, *c.Certificate)
		}
		transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:       &tls.Config{RootCAs: c.RootCAs, Certificates: certificates, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   5 * time.Second,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   8,
			IdleConnTimeout:       90 * time.Second,
			ResponseHeaderTimeout: api.MaxWait + attemptTimeout,
		}
	}
	return &Client{config: c, base: base, http: &http.Client{
		Transport: transport,
		// A redirect would carry the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// URL returns the control plane's URL.
func (c *Client) URL() string { return c.base.String() }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// call is one operation.
type call struct {
	method string
	path   string // escaped
	query  url.Values
	header map[string]string
	body   []byte
	wait   time.Duration // that the control plane may wait for news
	once   bool          // not to be repeated
}

// response is an answer of status 2xx or 304.
type response struct {
	status int
	header http.Header
	body   []byte
}

// do makes the call, again if it may and if that may help.
func (c *Client) do(ctx context.Context, k call) (response, error) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		r, retryAfter, err := c.attempt(ctx, k)
		if err == nil || ctx.Err() != nil || k.once || attempt == attempts || !errors.Is(err, ErrUnavailable) {
			return r, err
		}
		select {
		case <-ctx.Done():
			return response{}, err
		case <-time.After(max(jitter(pause), min(retryAfter, lastPause))):
		}
		pause = min(2*pause, lastPause)
	}
}

func (c *Client) attempt(ctx context.Context, k call) (r response, retryAfter time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.wait+attemptTimeout)
	defer cancel()
	req, err := c.request(ctx, k)
	if err != nil {
		return response{}, 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return response{}, 0, c.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return response{}, 0, c.unreachable(err)
	case len(body) > maxAnswer:
		return response{}, 0, fmt.Errorf("control plane %s: the answer is larger than %d bytes", c.base, maxAnswer)
	case resp.StatusCode/100 == 2, resp.StatusCode == http.StatusNotModified:
		return response{status: resp.StatusCode, header: resp.Header, body: body}, 0, nil
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return response{body: body}, time.Duration(seconds) * time.Second, c.refused(resp, body)
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	u := *c.base
	target := u.String() + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, bytes.NewReader(k.body))
	if err != nil {
		return nil, fmt.Errorf("control plane %s: %w", c.base, err)
	}
	req.Header.Set("Accept", "application/json")
	if c.config.UserAgent != "" {
		req.Header.Set("User-Agent", c.config.UserAgent)
	}
	for name, value := range k.header {
		req.Header.Set(name, value)
	}
	if c.config.Token != nil {
		token, err := c.config.Token(ctx)
		if err != nil {
			return nil, fmt.Errorf("get a token for control plane %s: %w", c.base, err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, nil
}

// unreachable names the URL's host and the cause, without the path and query
// that net/http adds.
func (c *Client) unreachable(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &hostname):
		return fmt.Errorf("control plane %s: its certificate is for another name: %w: use a name that it has, or give the control plane this one with --host", c.base, err)
	case errors.As(err, &unknown):
		return fmt.Errorf("control plane %s: its certificate is not trusted: %w: name its authority with --ca or POSTERN_CA_FILE", c.base, err)
	case errors.As(err, &invalid):
		return fmt.Errorf("control plane %s: its certificate is not trusted: %w", c.base, err)
	}
	return fmt.Errorf("control plane %s: %w: %w", c.base, ErrUnavailable, err)
}

// refused turns an answer into an error.
func (c *Client) refused(resp *http.Response, body []byte) error {
	var parsed api.ErrorBody
	e := &parsed.Error
	if json.Unmarshal(body, &parsed) != nil || e.Message == "" {
		e = &api.Error{Message: "the answer is " + resp.Status, Hint: "is this the URL of a Postern control plane?"}
	}
	e.Status = resp.StatusCode
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("control plane %s: %w: %w", c.base, ErrUnavailable, e)
	}
	return fmt.Errorf("control plane %s: %w", c.base, e)
}

// json makes the call with in as its body, if it is not nil, and reads the
// answer into out, if that is not nil.
func (c *Client) json(ctx context.Context, k call, in, out any) (response, error) {
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return response{}, fmt.Errorf("control plane %s: write the request: %w", c.base, err)
		}
		k.body = body
		k.header = withHeader(k.header, "Content-Type", "application/json")
	}
	r, err := c.do(ctx, k)
	if err != nil || out == nil || r.status == http.StatusNotModified || r.status == http.StatusNoContent {
		return r, err
	}
	if err := json.Unmarshal(r.body, out); err != nil {
		return response{}, fmt.Errorf("control plane %s: the answer cannot be read: %w", c.base, err)
	}
	return r, nil
}

func withHeader(h map[string]string, name, value string) map[string]string {
	out := map[string]string{name: value}
	for n, v := range h {
		out[n] = v
	}
	return out
}

// jitter returns between half of d and d, so that clients do not come in step.
func jitter(d time.Duration) time.Duration {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return d
	}
	return d/2 + time.Duration(binary.BigEndian.Uint64(raw[:])%uint64(d/2+1))
}

// newNonce names one request, so that it can be repeated.
func newNonce() string { return rand.Text() }

func path(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

// Status returns the status and code of the control plane's refusal that err
// wraps, if there is one.
func Status(err error) (status int, code string) {
	var e *api.Error
	if !errors.As(err, &e) {
		return 0, ""
	}
	return e.Status, e.Code
}
