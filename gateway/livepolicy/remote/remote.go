// Package remote pulls a gateway's policy from places that are not a control
// plane: a directory, an HTTPS server, an S3-compatible store, an OCI registry.
// [Open] returns the source that a URL names:
//
//	file:///etc/postern/orders             a directory, as package livepolicy lays it out
//	https://policy.example.com/orders      the same files under a path of a web server
//	s3://bucket/orders                     the same files as objects; ?endpoint=URL&region=NAME for stores other than AWS
//	oci://registry.example.com/policy:tag  an OCI artifact of two layers
//
// The first three hold release.json, the sealed release, and
// sha256-HEX.bundle.json, the sealed bundle that it names; put the bundle there
// before the release. An artifact's manifest has one layer of media type
// bundle.TypeRelease and one of bundle.TypeBundle; a moving tag points at the
// release to run.
//
// None of these is trusted: package livepolicy verifies what they give exactly
// as it does a control plane's, signature, gateway, revision and digest. A place
// that is stolen can withhold news and nothing else.
//
// A place is asked every [Config.Interval], with what HTTP and OCI have against
// sending again what has not changed: an entity tag, a manifest's digest.
package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/policylang/bundle"
)

// Config says how a place is reached. The zero Config is sensible.
type Config struct {
	// Interval is between two looks; 5 seconds unless set. It is varied by a
	// tenth so that a fleet does not ask in step.
	Interval time.Duration
	// RootCAs are the authorities that may have signed the server's
	// certificate; nil means the system's.
	RootCAs *x509.CertPool
	// Token is sent to an HTTPS server as Authorization: Bearer; empty sends
	// none.
	Token string
	// S3 are the credentials of an S3-compatible store.
	S3 S3Credentials
	// UserAgent names the program.
	UserAgent string
}

// Source is a place to pull from. It is used by one goroutine at a time.
type Source interface {
	livepolicy.Source
	String() string // names the place for people, without secrets
}

// Open returns the source that a URL names. It does not connect.
func Open(text string, c Config) (Source, error) {
	if c.Interval <= 0 {
		c.Interval = 5 * time.Second
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("the source cannot be read as a URL") // url's error quotes it
	case u.User != nil:
		return nil, errors.New("the source must hold no user or password: they show in process lists and logs; see docs/bundle.md for how to give credentials")
	}
	var at place
	switch u.Scheme {
	case "file":
		if u.Host != "" || u.Path == "" {
			return nil, errors.New("a file source must be file:///DIRECTORY")
		}
		return &directory{livepolicy.FileSource{Dir: filepath.FromSlash(u.Path)}}, nil
	case "http", "https":
		at, err = c.openWeb(u)
	case "s3":
		at, err = c.openS3(u)
	case "oci":
		at, err = c.openOCI(u)
	default:
		err = fmt.Errorf("a source of scheme %q is not known; want file, https, s3 or oci", u.Scheme)
	}
	if err != nil {
		return nil, err
	}
	return &poller{place: at, interval: c.Interval}, nil
}

// directory is a FileSource with a name.
type directory struct{ livepolicy.FileSource }

func (d *directory) String() string { return "directory " + d.Dir }

// place holds one release at a time and bundles by their digests.
type place interface {
	// release returns the sealed release, the same slice as before if nothing
	// has changed since.
	release(ctx context.Context) ([]byte, error)
	// bundle returns the sealed bundle of a digest that release named last.
	bundle(ctx context.Context, digest string) ([]byte, error)
	String() string
}

// poller makes a place a source.
type poller struct {
	place    place
	interval time.Duration
	asked    bool
	spoke    bool // the last call of Next failed or returned something, which may have been refused
}

// String names the place.
func (p *poller) String() string { return p.place.String() }

// Next asks at once the first time, and then at intervals, until the place has
// another release than the one in force.
func (p *poller) Next(ctx context.Context, after bundle.Release) (sealedRelease, sealedBundle []byte, err error) {
	spoke := p.spoke
	defer func() { p.spoke = err != nil || sealedRelease != nil }()
	for {
		if p.asked {
			if err := p.pause(ctx); err != nil {
				return nil, nil, err
			}
		}
		p.asked = true
		sealedRelease, err := p.place.release(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p, err)
		}
		claim, err := bundle.InspectUnverified(sealedRelease)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("%s: the release: %w", p, err)
		case claim.Type != bundle.TypeRelease:
			return nil, nil, fmt.Errorf("%s: the release: %w: %q", p, bundle.ErrWrongType, claim.Type)
		case claim.Release == after && spoke:
			return nil, nil, nil
		case claim.Release == after:
			continue
		}
		sealedBundle, err := p.place.bundle(ctx, claim.Release.Bundle)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: the bundle of revision %d: %w", p, claim.Release.Revision, err)
		}
		return sealedRelease, sealedBundle, nil
	}
}

// pause waits for about the interval.
func (p *poller) pause(ctx context.Context) error {
	d := p.interval + time.Duration((rand.Float64()-0.5)*float64(p.interval)/5)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// attemptTimeout bounds one request, the answer's body included.
const attemptTimeout = time.Minute

// client returns an HTTP client that follows no redirect to plain HTTP, and
// shows its credentials to nobody that it is sent to.
func (c *Config) client() *http.Client {
	return &http.Client{
		Timeout: attemptTimeout,
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:       &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			ForceAttemptHTTP2:     true,
			IdleConnTimeout:       90 * time.Second,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case len(via) >= 5:
				return errors.New("more than five redirects")
			case r.URL.Scheme != "https" && via[0].URL.Scheme == "https":
				return errors.New("a redirect from https to " + r.URL.Scheme)
			}
			if r.URL.Host != via[0].URL.Host { // net/http does not care for ports
				r.Header.Del("Authorization")
			}
			return nil
		},
	}
}

// checkScheme refuses plain HTTP but for this machine: it would show
// credentials, and who runs which policy.
func checkScheme(u *url.URL) error {
	switch {
	case u.Host == "":
		return errors.New("the source names no host")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("the source must be reached by https, not by %s", u.Scheme)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// readLimited reads a body, and one byte more than the limit at most: opening
// it then says that it is too large.
func readLimited(r io.Reader, limit int64) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, limit+1))
}

// bundleFile is a bundle's name in a directory: the digest, without the colon.
func bundleFile(digest string) string {
	return strings.Replace(digest, ":", "-", 1) + ".bundle.json"
}
