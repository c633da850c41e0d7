package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/posternhq/postern/policylang/bundle"
)

// releaseFile is a release's name in a directory.
const releaseFile = "release.json"

// web is files under a path of a web server.
type web struct {
	base   *url.URL
	client *http.Client
	header http.Header
	sign   func(*http.Request) error // nil: not signed

	// The release that was read last, and the entity tag that it had.
	last []byte
	tag  string
}

func (c *Config) openWeb(u *url.URL) (*web, error) {
	if err := checkScheme(u); err != nil {
		return nil, err
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("an https source must have no query: a token in it shows in logs; give it in POSTERN_SOURCE_TOKEN")
	}
	w := &web{base: u, client: c.client(), header: http.Header{}}
	if c.UserAgent != "" {
		w.header.Set("User-Agent", c.UserAgent)
	}
	if c.Token != "" {
		w.header.Set("Authorization", "Bearer "+c.Token)
	}
	return w, nil
}

// String names the server and the path.
func (w *web) String() string { return w.base.String() }

func (w *web) release(ctx context.Context) ([]byte, error) {
	status, header, body, err := w.get(ctx, releaseFile, w.tag, bundle.MaxReleaseSize)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotModified && w.last != nil:
		return w.last, nil
	case status != http.StatusOK:
		return nil, fmt.Errorf("%s: the answer is %d %s", releaseFile, status, http.StatusText(status))
	}
	w.last, w.tag = body, header.Get("ETag")
	return body, nil
}

func (w *web) bundle(ctx context.Context, digest string) ([]byte, error) {
	name := bundleFile(digest)
	status, _, body, err := w.get(ctx, name, "", bundle.MaxBundleSize)
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, fmt.Errorf("%s: the answer is %d %s; put the bundle there before the release", name, status, http.StatusText(status))
	}
	return body, nil
}

// get reads a file, unless it still has the entity tag.
func (w *web) get(ctx context.Context, name, tag string, limit int64) (status int, header http.Header, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(w.base.String(), "/")+"/"+name, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	for key, values := range w.header {
		req.Header[key] = values
	}
	if tag != "" {
		req.Header.Set("If-None-Match", tag)
	}
	if w.sign != nil {
		if err := w.sign(req); err != nil {
			return 0, nil, nil, err
		}
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, nil, nil, unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = readLimited(resp.Body, limit)
	return resp.StatusCode, resp.Header, body, err
}

// unreachable is the cause, without the URL that net/http adds.
func unreachable(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}
