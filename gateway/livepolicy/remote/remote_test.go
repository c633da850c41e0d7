package remote_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	oci "oras.land/oras-go/v2/registry/remote"

	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/gateway/livepolicy/remote"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// publisher seals policies and releases.
type publisher struct {
	t   *testing.T
	key *bundle.PrivateKey
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	key, err := bundle.GenerateKey("prod")
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{t, key}
}

// files is a release and its bundle, sealed.
type files struct {
	release, bundle []byte
	digest          string // under which the bundle is put
}

func (p *publisher) publish(gateway string, revision uint64, rule string) files {
	p.t.Helper()
	policy := &policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name:     "orders",
			Upstream: policylang.Upstream{Host: "db.internal", Credentials: "env:DB"},
			Issuers:  []policylang.Issuer{{Name: "corp", URL: "https://login.example.com", Audience: "postern"}},
		}},
		Identities: []policylang.Identity{{Name: "ana", Kind: "human", When: "token.sub == 'u-17'"}},
		QueryRules: []policylang.QueryRule{{Name: rule, When: "statement.class == 'read'", Effect: policylang.EffectAllow}},
	}
	sealed, err := bundle.Seal(policy, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	digest, err := policy.Digest()
	if err != nil {
		p.t.Fatal(err)
	}
	release, err := bundle.SealRelease(bundle.Release{Gateway: gateway, Bundle: digest, Revision: revision, Time: time.Unix(1772600767, 0)}, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return files{release, sealed, digest}
}

// shop is a place under test: where it is, how it is reached, and how a release
// is put there.
type shop struct {
	url    string
	config remote.Config
	put    func(f files)
	reads  func() int // of bundles; nil where they are not counted

	revalidated func() bool // whether any request had If-None-Match; nil where none has
}

func TestSources(t *testing.T) {
	for name, open := range map[string]func(*testing.T) shop{
		"directory": newDirectory, "https": newWeb, "s3": newS3, "oci": newOCI,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testSource(t, open(t))
		})
	}
}

// testSource publishes good and bad releases at a place: the good ones are
// enforced, the bad ones refused for their reason while the last good one stays.
func testSource(t *testing.T, at shop) {
	pub, thief := newPublisher(t), newPublisher(t)
	ring, err := bundle.NewKeyRing(pub.key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	at.config.Interval = 5 * time.Millisecond
	source, err := remote.Open(at.url, at.config)
	if err != nil {
		t.Fatal(err)
	}
	reports := make(chan livepolicy.Status, 1000)
	live, err := livepolicy.Open(livepolicy.Config{
		Gateway: "orders", Trusted: ring, Source: source, Logger: slog.New(slog.DiscardHandler), Pause: time.Millisecond,
		Report: func(_ context.Context, s livepolicy.Status) { reports <- s },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { live.Run(ctx) })
	defer running.Wait()
	defer stop()
	wait := func(revision uint64, want error) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case s := <-reports:
				if s.Release.Revision == revision && (want == nil) == (s.Err == nil) && errors.Is(s.Err, want) {
					return
				}
			case <-deadline:
				t.Fatalf("revision %d with error %v is not reported; status %+v", revision, want, live.Status())
			}
		}
	}
	altered := pub.publish("orders", 3, "three")
	altered.release = bytes.Replace(altered.release, []byte(`"sig":"`), []byte(`"sig":"AAAA`), 1)
	altered.release = append(altered.release[:len(altered.release)-8], []byte(`=="}]}`)...)
	swapped := pub.publish("orders", 3, "three")
	swapped.bundle = pub.publish("orders", 3, "another").bundle
	stolen := thief.publish("orders", 3, "stolen")

	at.put(pub.publish("orders", 1, "one"))
	wait(1, nil)
	at.put(pub.publish("orders", 2, "two"))
	wait(2, nil)
	reads := 0
	if at.reads != nil {
		reads = at.reads()
	}
	for _, bad := range []struct {
		what string
		f    files
		want error
	}{
		{"rolled back", pub.publish("orders", 1, "one"), bundle.ErrRolledBack},
		{"forked", pub.publish("orders", 2, "zwei"), bundle.ErrFork},
		{"another gateway's", pub.publish("billing", 3, "three"), bundle.ErrWrongGateway},
		{"signed by a key that is not trusted", stolen, bundle.ErrUnknownKey},
		{"altered", altered, bundle.ErrMalformed},
		{"with another bundle", swapped, bundle.ErrWrongBundle},
	} {
		at.put(bad.f)
		wait(2, bad.want)
		if rule := live.Current().Program.Policy().QueryRules[0].Name; rule != "two" {
			t.Fatalf("%s: the rule in force is %q", bad.what, rule)
		}
	}
	good := pub.publish("orders", 3, "three")
	at.put(good)
	wait(3, nil)
	at.put(stolen)
	wait(3, bundle.ErrUnknownKey)
	at.put(good) // what is in force: nothing is wrong any more
	wait(3, nil)
	if at.reads == nil {
		return
	}
	// Nothing is sent again that has not changed.
	if at.reads() <= reads {
		t.Error("no bundle was read")
	}
	reads = at.reads()
	time.Sleep(50 * time.Millisecond)
	if now := at.reads(); now != reads {
		t.Errorf("%d bundles were read while nothing changed", now-reads)
	}
	if at.revalidated != nil && !at.revalidated() {
		t.Error("no request had If-None-Match")
	}
}

func writeFiles(t *testing.T, dir string, f files) {
	t.Helper()
	for _, file := range []struct {
		name string
		data []byte
	}{{strings.Replace(f.digest, ":", "-", 1) + ".bundle.json", f.bundle}, {"release.json", f.release}} {
		path := filepath.Join(dir, file.name)
		if err := os.WriteFile(path+".new", file.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

func newDirectory(t *testing.T) shop {
	dir := t.TempDir()
	return shop{url: "file://" + dir, put: func(f files) { writeFiles(t, dir, f) }}
}

// counter counts the bundles that a handler sends.
type counter struct {
	mu                   sync.Mutex
	bundles, conditional int
}

func (c *counter) count(next http.Handler, isBundle func(path string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		if isBundle(r.URL.Path) {
			c.bundles++
		}
		if r.Header.Get("If-None-Match") != "" {
			c.conditional++
		}
		c.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (c *counter) reads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bundles
}

func (c *counter) revalidated() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conditional > 0
}

// withTags gives files entity tags by their content.
func withTags(dir string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.Base(r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data)) // heeds If-None-Match
	})
}

// isBundleFile also tells that of an altered release, which counts for nothing.
func isBundleFile(path string) bool { return strings.HasSuffix(path, ".bundle.json") }

func rootsOf(s *httptest.Server) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return roots
}

func newWeb(t *testing.T) shop {
	dir := t.TempDir()
	var c counter
	protected := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sesame" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		withTags(dir).ServeHTTP(w, r)
	})
	s := httptest.NewTLSServer(c.count(protected, isBundleFile))
	t.Cleanup(s.Close)
	return shop{
		url: s.URL + "/policies/orders/", config: remote.Config{RootCAs: rootsOf(s), Token: "sesame"},
		put: func(f files) { writeFiles(t, dir, f) }, reads: c.reads, revalidated: c.revalidated,
	}
}

const (
	accessKey = "AKIDEXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

func newS3(t *testing.T) shop {
	dir := t.TempDir()
	var c counter
	objects := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/policies/team a/orders/") {
			http.NotFound(w, r)
			return
		}
		withTags(dir).ServeHTTP(w, r)
	})
	s := httptest.NewTLSServer(c.count(checkSignature(t, objects), isBundleFile))
	t.Cleanup(s.Close)
	return shop{
		url:    "s3://policies/team%20a/orders?endpoint=" + s.URL + "&region=eu-central-1",
		config: remote.Config{RootCAs: rootsOf(s), S3: remote.S3Credentials{AccessKey: accessKey, SecretKey: secretKey, SessionToken: "session"}},
		put:    func(f files) { writeFiles(t, dir, f) }, reads: c.reads, revalidated: c.revalidated,
	}
}

// checkSignature verifies Signature Version 4, written from its specification
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)
// and not from the client's library.
func checkSignature(t *testing.T, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := signatureProblem(r); err != nil {
			t.Logf("signature: %v", err)
			http.Error(w, "<Error><Code>SignatureDoesNotMatch</Code></Error>", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func signatureProblem(r *http.Request) error {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return errors.New("not signed")
	}
	fields := map[string]string{}
	for _, f := range strings.Split(rest, ", ") {
		name, value, _ := strings.Cut(f, "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if len(scope) != 5 || scope[0] != accessKey || scope[2] != "eu-central-1" || scope[3] != "s3" || scope[4] != "aws4_request" {
		return fmt.Errorf("scope %v", scope)
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	for _, must := range []string{"host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"} {
		if !slices.Contains(signed, must) {
			return fmt.Errorf("%s is not signed", must)
		}
	}
	var canonical strings.Builder
	fmt.Fprintf(&canonical, "%s\n%s\n%s\n", r.Method, r.URL.EscapedPath(), r.URL.Query().Encode())
	for _, name := range signed {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		fmt.Fprintf(&canonical, "%s:%s\n", name, strings.TrimSpace(value))
	}
	fmt.Fprintf(&canonical, "\n%s\n%s", fields["SignedHeaders"], r.Header.Get("X-Amz-Content-Sha256"))
	hash := sha256.Sum256([]byte(canonical.String()))
	text := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + strings.Join(scope[1:], "/") + "\n" + hex.EncodeToString(hash[:])
	key := []byte("AWS4" + secretKey)
	for _, part := range scope[1:] {
		key = mac(key, part)
	}
	if want := hex.EncodeToString(mac(key, text)); want != fields["Signature"] {
		return fmt.Errorf("the signature is another than %s", want)
	}
	return nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func newOCI(t *testing.T) shop {
	var c counter
	quiet := registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)))
	s := httptest.NewServer(c.count(quiet, func(path string) bool { return strings.Contains(path, "/blobs/") }))
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	repo, err := oci.NewRepository(host + "/policy/orders")
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	repo.Client = client
	put := func(f files) {
		t.Helper()
		var layers []ocispec.Descriptor
		for _, layer := range []struct {
			mediaType string
			data      []byte
		}{{bundle.TypeRelease, f.release}, {bundle.TypeBundle, f.bundle}} {
			d, err := oras.PushBytes(t.Context(), repo, layer.mediaType, layer.data)
			if err != nil {
				t.Fatal(err)
			}
			layers = append(layers, d)
		}
		manifest, err := oras.PackManifest(t.Context(), repo, oras.PackManifestVersion1_1, bundle.TypeRelease, oras.PackManifestOptions{Layers: layers})
		if err != nil {
			t.Fatal(err)
		}
		if err := repo.Tag(t.Context(), manifest, "live"); err != nil {
			t.Fatal(err)
		}
	}
	return shop{url: "oci://" + host + "/policy/orders:live", put: put, reads: c.reads}
}

// TestRefusals are places that do not give what they should.
func TestRefusals(t *testing.T) {
	pub := newPublisher(t)
	one := pub.publish("orders", 1, "one")
	next := func(url string, c remote.Config) error {
		source, err := remote.Open(url, c)
		if err != nil {
			return err
		}
		_, _, err = source.Next(t.Context(), bundle.Release{})
		return err
	}
	web, s3 := newWeb(t), newS3(t)
	for _, at := range []shop{web, s3} {
		if err := next(at.url, at.config); err == nil || !strings.Contains(err.Error(), "release.json: the answer is 404") {
			t.Errorf("an empty place: %v", err)
		}
		at.put(one)
	}
	bare := web.config
	bare.Token = ""
	if err := next(web.url, bare); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without a token: %v", err)
	}
	untrusting := web.config
	untrusting.RootCAs = nil
	if err := next(web.url, untrusting); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the authority: %v", err)
	}
	forged := s3.config
	forged.S3.SecretKey = "another"
	err := next(s3.url, forged)
	if err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("with another secret: %v", err)
	}
	registry := newOCI(t)
	if err := next(registry.url, registry.config); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("without the tag: %v", err)
	}
	registry.put(files{release: one.release, bundle: one.release[:0], digest: one.digest})
	if err := next(registry.url, registry.config); err != nil {
		t.Errorf("an empty layer is refused by whoever opens it, here: %v", err)
	}
	plain := httptest.NewServer(withTags(t.TempDir()))
	defer plain.Close()
	down := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/release.json", http.StatusFound))
	defer down.Close()
	if err := next(down.URL, remote.Config{RootCAs: rootsOf(down)}); err == nil || !strings.Contains(err.Error(), "redirect from https to http") {
		t.Errorf("a redirect to plain HTTP: %v", err)
	}
}

// TestHostilePlaces are places that somebody else has taken over: nothing that
// they answer leads a gateway elsewhere, or has it read without an end.
func TestHostilePlaces(t *testing.T) {
	pub := newPublisher(t)
	one := pub.publish("orders", 1, "one")
	zeros := func(w http.ResponseWriter, r *http.Request) {
		z := gzip.NewWriter(w)
		w.Header().Set("Content-Encoding", "gzip")
		for range 64 << 4 { // 64 MiB, in some 64 KiB
			if _, err := z.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
		_ = z.Close()
	}
	release := func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(one.release) }
	for name, tt := range map[string]struct {
		release, bundle http.HandlerFunc
		want            error
	}{
		"a release that inflates": {zeros, nil, bundle.ErrTooLarge},
		"a bundle that inflates":  {release, zeros, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/release.json") {
					tt.release(w, r)
					return
				}
				tt.bundle(w, r)
			}))
			defer s.Close()
			source, err := remote.Open(s.URL, remote.Config{RootCAs: rootsOf(s)})
			if err != nil {
				t.Fatal(err)
			}
			_, sealed, err := source.Next(t.Context(), bundle.Release{})
			if tt.want != nil {
				if err == nil {
					t.Fatal("no error")
				}
				return
			}
			if err != nil || len(sealed) != bundle.MaxBundleSize+1 {
				t.Fatalf("%d bytes were read: %v", len(sealed), err)
			}
			ring, err := bundle.NewKeyRing(pub.key.PublicKey())
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := bundle.Open(sealed, ring); !errors.Is(err, bundle.ErrTooLarge) {
				t.Errorf("opening it: %v", err)
			}
		})
	}
	t.Run("a digest that is a path", func(t *testing.T) {
		// An unsigned release may name anything; a name that is no digest is asked of nobody.
		payload := strings.Replace(string(payloadOf(t, one.release)), one.digest, "sha256:../../../../etc/passwd", 1)
		forged := bytes.Replace(one.release, []byte(base64.StdEncoding.EncodeToString(payloadOf(t, one.release))), []byte(base64.StdEncoding.EncodeToString([]byte(payload))), 1)
		for _, at := range []shop{newDirectory(t), newWeb(t), newS3(t), newOCI(t)} {
			at.put(files{release: forged, bundle: one.bundle, digest: one.digest})
			source, err := remote.Open(at.url, at.config)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err = source.Next(t.Context(), bundle.Release{}); !errors.Is(err, bundle.ErrPayload) {
				t.Errorf("%s: %v", source, err)
			}
		}
	})
	t.Run("a redirect elsewhere", func(t *testing.T) {
		var shown []string
		elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, name := range []string{"Authorization", "X-Amz-Security-Token"} {
				if r.Header.Get(name) != "" {
					shown = append(shown, name)
				}
			}
			http.NotFound(w, r)
		}))
		defer elsewhere.Close()
		s := httptest.NewTLSServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
		defer s.Close()
		roots := rootsOf(s)
		roots.AddCert(elsewhere.Certificate())
		for url, want := range map[string]string{s.URL: "404", "s3://policies/orders?region=eu-central-1&endpoint=" + s.URL: "302"} {
			source, err := remote.Open(url, remote.Config{RootCAs: roots, Token: "sesame", S3: remote.S3Credentials{AccessKey: accessKey, SecretKey: secretKey, SessionToken: "session"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := source.Next(t.Context(), bundle.Release{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", url, err, want)
			}
		}
		if len(shown) > 0 {
			t.Errorf("the other host was shown %v", shown)
		}
	})
}

// payloadOf decodes an envelope's payload.
func payloadOf(t *testing.T, sealed []byte) []byte {
	t.Helper()
	var e struct{ Payload []byte }
	if err := json.Unmarshal(sealed, &e); err != nil {
		t.Fatal(err)
	}
	return e.Payload
}

// TestOpenRefuses are URLs that name no place, or would leak.
func TestOpenRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"https://ana:hunter2@policy.example.com/orders":    "must hold no user or password",
		"https://policy.example.com/orders?token=hunter2":  "must have no query",
		"http://policy.example.com/orders":                 "must be reached by https",
		"ftp://policy.example.com/orders":                  `scheme "ftp" is not known`,
		"file://host/orders":                               "file:///DIRECTORY",
		"s3:///orders":                                     "s3://BUCKET",
		"s3://policies/orders?endpoint=http://s3.example":  "must be reached by https",
		"s3://policies/orders?secret=hunter2":              "endpoint and region alone",
		"oci://registry.example.com/policy":                "oci://HOST/REPOSITORY:TAG",
		"oci://registry.example.com/policy:live?x=hunter2": "takes no parameters",
		"https://%zz@hunter2":                              "cannot be read as a URL",
	} {
		_, err := remote.Open(url, remote.Config{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error holds the secret: %v", url, err)
		}
	}
}
