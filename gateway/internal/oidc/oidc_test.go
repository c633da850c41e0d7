package oidc_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/gateway/internal/oidc"
	"github.com/posternhq/postern/policylang"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	issuerURL = "https://id.example.com/realm"
	audience  = "postern"
)

// fakeIssuer answers for issuers without a network.
type fakeIssuer struct {
	discovery, jwks atomic.Int64 // requests answered

	mu     sync.Mutex
	keys   []any    // guarded by mu; published as they are
	asked  []string // hosts; guarded by mu
	answer func(*http.Request) (*http.Response, error)
}

func (f *fakeIssuer) hosts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *fakeIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.asked = append(f.asked, r.URL.Host)
	answer, keys := f.answer, f.keys
	f.mu.Unlock()
	discovers := strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration")
	if discovers {
		f.discovery.Add(1)
	} else {
		f.jwks.Add(1)
	}
	if answer != nil {
		if response, err := answer(r); response != nil || err != nil {
			return response, err
		}
	}
	if discovers {
		issuer := strings.TrimSuffix(r.URL.String(), "/.well-known/openid-configuration")
		return respond(http.StatusOK, map[string]any{"issuer": issuer, "jwks_uri": issuer + "/jwks"}), nil
	}
	return respond(http.StatusOK, map[string]any{"keys": keys}), nil
}

func (f *fakeIssuer) set(answer func(*http.Request) (*http.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fakeIssuer) publish(keys ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys = append([]any{}, keys...)
}

func respond(status int, v any) *http.Response {
	data, ok := v.([]byte)
	if !ok {
		data, _ = json.Marshal(v)
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(data)),
	}
}

// fakeClock is a clock that moves when told.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is one verifier with its issuer, clock and log.
type bench struct {
	*oidc.Verifier
	issuer  *fakeIssuer
	clock   *fakeClock
	log     *lockedBuffer
	issuers *atomic.Pointer[[]policylang.Issuer]
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newBench(t *testing.T, keys ...any) *bench {
	t.Helper()
	b := &bench{
		issuer:  &fakeIssuer{keys: keys},
		clock:   &fakeClock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		log:     &lockedBuffer{},
		issuers: new(atomic.Pointer[[]policylang.Issuer]),
	}
	b.issuers.Store(&[]policylang.Issuer{{Name: "corp", URL: issuerURL, Audience: audience}})
	b.Verifier = oidc.NewVerifier(oidc.Config{
		Issuers:   func() []policylang.Issuer { return *b.issuers.Load() },
		Transport: b.issuer, Clock: b.clock.Now,
		Logger: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return b
}

// testKey is a private key with the name it is published under.
type testKey struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

func (k testKey) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Use: "sig", Algorithm: string(k.algorithm)}
}

func ecKey(t testing.TB, id string) testKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{id, jose.ES256, private}
}

// claimsAt returns good claims with the changes applied; nil removes a claim.
func claimsAt(now time.Time, changes map[string]any) map[string]any {
	claims := map[string]any{
		"iss": issuerURL, "aud": audience, "sub": "u-1", "jti": "t-1",
		"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

func sign(t testing.TB, key testKey, header, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return signBytes(t, key.algorithm, key.private, key.id, header, payload)
}

func signBytes(t testing.TB, algorithm jose.SignatureAlgorithm, private any, kid string, header map[string]any, payload []byte) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", kid)
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
		if value == nil {
			delete(options.ExtraHeaders, jose.HeaderKey(name))
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: private}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// mustRefuse verifies a token that must fail for one reason, and scans all
// that was said about it for parts of the token.
func (b *bench) mustRefuse(t *testing.T, token string, want oidc.Code) *oidc.Error {
	t.Helper()
	claims, err := b.Verify(t.Context(), token)
	if claims != nil {
		t.Errorf("claims were returned with an error")
	}
	refused, ok := errors.AsType[*oidc.Error](err)
	if !ok {
		t.Fatalf("got error %v, want %s", err, want)
	}
	if refused.Code != want {
		t.Fatalf("got %v, want %s", refused, want)
	}
	b.mustNotQuote(t, token, refused.Error())
	return refused
}

func (b *bench) mustAccept(t *testing.T, token string) map[string]any {
	t.Helper()
	claims, err := b.Verify(t.Context(), token)
	if err != nil {
		t.Fatalf("refused: %v\nlog: %s", err, b.log)
	}
	b.mustNotQuote(t, token)
	return claims
}

func (b *bench) mustNotQuote(t *testing.T, token string, texts ...string) {
	t.Helper()
	for _, text := range append(texts, b.log.String()) {
		for part := range strings.SplitSeq(token, ".") {
			for i := 0; i+12 <= len(part); i += 4 {
				if strings.Contains(text, part[i:i+12]) {
					t.Fatalf("a part of the token is in %q", text)
				}
			}
		}
	}
}

func TestVerifyAcceptsEachAlgorithm(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signers := map[jose.SignatureAlgorithm]crypto.Signer{
		jose.RS256: rsaKey, jose.RS384: rsaKey, jose.RS512: rsaKey,
		jose.PS256: rsaKey, jose.PS384: rsaKey, jose.PS512: rsaKey, jose.EdDSA: edKey,
	}
	for algorithm, curve := range map[jose.SignatureAlgorithm]elliptic.Curve{
		jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521(),
	} {
		signers[algorithm], err = ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
	}
	for algorithm, private := range signers {
		t.Run(string(algorithm), func(t *testing.T) {
			key := testKey{"k1", algorithm, private}
			b := newBench(t, key.public())
			claims := b.mustAccept(t, sign(t, key, nil, claimsAt(b.clock.Now(), nil)))
			if claims["sub"] != "u-1" {
				t.Errorf("got sub %v, want u-1", claims["sub"])
			}
		})
	}
}

func TestVerifyClaims(t *testing.T) {
	key := ecKey(t, "k1")
	now := newBench(t).clock.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	tests := []struct {
		name    string
		changes map[string]any
		header  map[string]any
		want    oidc.Code // "" accepts
	}{
		{name: "plain"},
		{name: "no type", header: map[string]any{"typ": nil}},
		{name: "access token", header: map[string]any{"typ": "at+jwt"}},
		{name: "media type", header: map[string]any{"typ": "application/AT+JWT"}},
		{name: "logout token", header: map[string]any{"typ": "logout+jwt"}, want: oidc.CodeTokenType},
		{name: "type is a number", header: map[string]any{"typ": 1}, want: oidc.CodeTokenType},
		{name: "critical extension", header: map[string]any{"crit": []string{"exp"}, "exp": 1}, want: oidc.CodeTokenType},
		{
			name: "security event", want: oidc.CodeTokenType,
			changes: map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}},
		},

		{name: "other issuer", changes: map[string]any{"iss": "https://evil.example.com"}, want: oidc.CodeUnknownIssuer},
		{name: "issuer with a slash", changes: map[string]any{"iss": issuerURL + "/"}, want: oidc.CodeUnknownIssuer},
		{name: "no issuer", changes: map[string]any{"iss": nil}, want: oidc.CodeMalformed},
		{name: "issuer is a list", changes: map[string]any{"iss": []string{issuerURL}}, want: oidc.CodeMalformed},

		{name: "other audience", changes: map[string]any{"aud": "billing"}, want: oidc.CodeAudience},
		{name: "no audience", changes: map[string]any{"aud": nil}, want: oidc.CodeAudience},
		{name: "empty audiences", changes: map[string]any{"aud": []string{}}, want: oidc.CodeAudience},
		{name: "audience in another case", changes: map[string]any{"aud": nil, "AUD": audience}, want: oidc.CodeAudience},
		{name: "list of one audience", changes: map[string]any{"aud": []string{audience}}},
		{name: "one audience, azp is the client", changes: map[string]any{"azp": "cli"}},
		{name: "two audiences without azp", changes: map[string]any{"aud": []string{"billing", audience}}, want: oidc.CodeAuthorizedParty},
		{name: "two audiences, azp is the other", changes: map[string]any{"aud": []string{audience, "billing"}, "azp": "billing"}, want: oidc.CodeAuthorizedParty},
		{name: "two audiences, azp is ours", changes: map[string]any{"aud": []string{audience, "billing"}, "azp": audience}},

		{name: "expired within the leeway", changes: map[string]any{"iat": at(-time.Hour), "exp": at(-29 * time.Second)}},
		{name: "expired", changes: map[string]any{"iat": at(-time.Hour), "exp": at(-31 * time.Second)}, want: oidc.CodeExpired},
		{name: "no expiry", changes: map[string]any{"exp": nil}, want: oidc.CodeMalformed},
		{name: "expiry is a string", changes: map[string]any{"exp": "2030-01-01"}, want: oidc.CodeMalformed},
		{name: "expiry in another case", changes: map[string]any{"iat": at(-time.Hour), "exp": at(-time.Minute), "Exp": at(time.Minute)}, want: oidc.CodeExpired},
		{name: "expiry beyond all dates", changes: map[string]any{"exp": 1e300}, want: oidc.CodeMalformed},
		{name: "fractional times", changes: map[string]any{"iat": float64(at(0)) + 0.5, "exp": float64(at(time.Minute)) + 0.5}},
		{name: "issued within the leeway", changes: map[string]any{"iat": at(29 * time.Second)}},
		{name: "issued in the future", changes: map[string]any{"iat": at(31 * time.Second)}, want: oidc.CodeNotYetValid},
		{name: "no time of issue", changes: map[string]any{"iat": nil}, want: oidc.CodeMalformed},
		{name: "not before within the leeway", changes: map[string]any{"nbf": at(29 * time.Second)}},
		{name: "not before", changes: map[string]any{"nbf": at(31 * time.Second)}, want: oidc.CodeNotYetValid},
		{name: "not before is a string", changes: map[string]any{"nbf": "soon"}, want: oidc.CodeMalformed},
		{name: "longest life", changes: map[string]any{"exp": at(24 * time.Hour)}},
		{name: "too long a life", changes: map[string]any{"exp": at(24*time.Hour + time.Second)}, want: oidc.CodeLifetime},
		{name: "too long a life, nearly over", changes: map[string]any{"iat": at(-48 * time.Hour), "exp": at(time.Minute)}, want: oidc.CodeLifetime},

		{name: "bound to a key", changes: map[string]any{"cnf": map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}, want: oidc.CodeTokenType},
		{name: "no subject", changes: map[string]any{"sub": nil}, want: oidc.CodeMalformed},
		{name: "empty subject", changes: map[string]any{"sub": ""}, want: oidc.CodeMalformed},
		{name: "id is a number", changes: map[string]any{"jti": 7}, want: oidc.CodeMalformed},
		{name: "distributed claims without a source", changes: map[string]any{"_claim_names": map[string]any{"groups": "src1"}}, want: oidc.CodeMalformed},

		{name: "no key id, one key", header: map[string]any{"kid": nil}},
		{name: "another key id", header: map[string]any{"kid": "k2"}, want: oidc.CodeUnknownKey},
		{name: "key id is a number", header: map[string]any{"kid": 1}, want: oidc.CodeMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, key.public())
			token := sign(t, key, test.header, claimsAt(now, test.changes))
			if test.want == "" {
				b.mustAccept(t, token)
			} else {
				_ = b.mustRefuse(t, token, test.want)
			}
		})
	}
}

func TestVerifyKeepsLargeNumbersApart(t *testing.T) {
	key := ecKey(t, "k1")
	b := newBench(t, key.public())
	claims := b.mustAccept(t, sign(t, key, nil, claimsAt(b.clock.Now(), map[string]any{
		"id": int64(9007199254740993), "ratio": 0.5, "nested": map[string]any{"ids": []int64{9007199254740993}},
	})))
	if claims["id"] != int64(9007199254740993) {
		t.Errorf("got id %v (%T)", claims["id"], claims["id"])
	}
	if claims["ratio"] != 0.5 {
		t.Errorf("got ratio %v (%T)", claims["ratio"], claims["ratio"])
	}
	nested, _ := claims["nested"].(map[string]any)
	ids, _ := nested["ids"].([]any)
	if len(ids) != 1 || ids[0] != int64(9007199254740993) {
		t.Errorf("got nested %v", claims["nested"])
	}
}

// TestVerifyForgeries holds tokens that no key of the issuer signed.
func TestVerifyForgeries(t *testing.T) {
	key := ecKey(t, "k1")
	b := newBench(t, key.public())
	good := sign(t, key, nil, claimsAt(b.clock.Now(), nil))
	b.mustAccept(t, good)
	parts := strings.Split(good, ".")
	encode := base64.RawURLEncoding.EncodeToString
	payload := claimsAt(b.clock.Now(), map[string]any{"sub": "admin"})
	payloadJSON, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	stranger := ecKey(t, "k1")
	publicJSON, err := key.public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	strangerJWK := jose.JSONWebKey{Key: stranger.private.Public()}
	changed := "A" + parts[2][1:]
	if parts[2][0] == 'A' {
		changed = "B" + parts[2][1:]
	}
	tests := []struct {
		name  string
		token string
		want  oidc.Code
	}{
		{"empty", "", oidc.CodeMalformed},
		{"a password", "correct horse battery staple", oidc.CodeMalformed},
		{"a password with dots", "a.b.c", oidc.CodeMalformed},
		{"none", encode([]byte(`{"alg":"none"}`)) + "." + encode(payloadJSON) + ".", oidc.CodeAlgorithm},
		{"None", encode([]byte(`{"alg":"None"}`)) + "." + encode(payloadJSON) + ".", oidc.CodeAlgorithm},
		{"no algorithm", encode([]byte(`{"kid":"k1"}`)) + "." + encode(payloadJSON) + ".", oidc.CodeAlgorithm},
		{"HMAC with the public key", signBytes(t, jose.HS256, publicJSON, "k1", nil, payloadJSON), oidc.CodeAlgorithm},
		{"another's key of that name", sign(t, stranger, nil, payload), oidc.CodeSignature},
		{"key in the header", sign(t, stranger, map[string]any{"jwk": strangerJWK}, payload), oidc.CodeSignature},
		{"key at an address", sign(t, stranger, map[string]any{"jku": "https://evil.example.com/jwks"}, payload), oidc.CodeSignature},
		{"certificate at an address", sign(t, stranger, map[string]any{"x5u": "https://evil.example.com/cert.pem"}, payload), oidc.CodeSignature},
		{"key that is a path", sign(t, testKey{"../../../dev/null", jose.ES256, stranger.private}, nil, payload), oidc.CodeUnknownKey},
		{"key that is an injection", sign(t, testKey{"k1' OR '1'='1", jose.ES256, stranger.private}, nil, payload), oidc.CodeUnknownKey},
		{"a signature of zeros", parts[0] + "." + encode(payloadJSON) + "." + encode(make([]byte, 64)), oidc.CodeSignature},
		{"the other kind of key", encode([]byte(`{"alg":"EdDSA","kid":"k1"}`)) + "." + encode(payloadJSON) + "." + encode(make([]byte, 64)), oidc.CodeUnknownKey},
		{"two algorithms", encode([]byte(`{"alg":"ES256","alg":"none","kid":"k1"}`)) + "." + encode(payloadJSON) + ".", oidc.CodeAlgorithm},
		{"an algorithm in another case", encode([]byte(`{"ALG":"none","alg":"ES256","kid":"k1"}`)) + "." + encode(payloadJSON) + ".", oidc.CodeSignature},
		{"a token within a token", signBytes(t, key.algorithm, key.private, "k1", map[string]any{"cty": "JWT"}, []byte(good)), oidc.CodeMalformed},
		{"payload replaced", parts[0] + "." + encode(payloadJSON) + "." + parts[2], oidc.CodeSignature},
		{"signature changed", parts[0] + "." + parts[1] + "." + changed, oidc.CodeSignature},
		{"signature cut", good[:len(good)-8], oidc.CodeSignature},
		{"signature missing", parts[0] + "." + parts[1] + ".", oidc.CodeSignature},
		{"payload is a list", parts[0] + "." + encode([]byte(`[]`)) + "." + parts[2], oidc.CodeMalformed},
		{"payload is null", parts[0] + "." + encode([]byte(`null`)) + "." + parts[2], oidc.CodeMalformed},
		{"encrypted", "a.b.c.d.e", oidc.CodeMalformed},
		{"JSON serialization", `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, oidc.CodeMalformed},
		{"too long", good + strings.Repeat("A", 64<<10), oidc.CodeMalformed},
		{"newline at the end", good + "\n", oidc.CodeMalformed},
		{"newline within", good[:len(good)-9] + "\r\n" + good[len(good)-9:], oidc.CodeMalformed},
		{"padding", good + "=", oidc.CodeMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { _ = b.mustRefuse(t, test.token, test.want) })
	}
	for _, asked := range b.issuer.hosts() {
		if asked != "id.example.com" {
			t.Errorf("a token had %s asked", asked)
		}
	}
}

func TestVerifyTellsACutToken(t *testing.T) {
	key := ecKey(t, "k1")
	b := newBench(t, key.public())
	padded := func(n int) string {
		return sign(t, key, nil, claimsAt(b.clock.Now(), map[string]any{"pad": strings.Repeat("x", n)}))
	}
	_ = b.mustRefuse(t, padded(5000)[:4095], oidc.CodeTruncated)
	_ = b.mustRefuse(t, strings.Repeat("x", 4095), oidc.CodeTruncated)

	// The cut may fall into the signature, and a whole token may be that long.
	base := len(padded(0))
	for n := (4095 - base) * 3 / 4; n < 4095; n++ {
		if token := padded(n); len(token) == 4095 {
			b.mustAccept(t, token)
		} else if len(token) > 4095 {
			_ = b.mustRefuse(t, token[:4095], oidc.CodeTruncated)
			return
		}
	}
	t.Fatal("no token of that length was made")
}

func TestVerifyIssuersFollowThePolicy(t *testing.T) {
	key := ecKey(t, "k1")
	b := newBench(t, key.public())
	token := func(aud string) string {
		return sign(t, key, nil, claimsAt(b.clock.Now(), map[string]any{"aud": aud}))
	}
	b.mustAccept(t, token(audience))

	both := []policylang.Issuer{
		{Name: "a", URL: issuerURL, Audience: audience},
		{Name: "b", URL: issuerURL, Audience: "second"},
		{Name: "c", URL: "https://no-audience.example.com"},
	}
	b.issuers.Store(&both)
	b.mustAccept(t, token("second"))
	b.mustAccept(t, token(audience))
	if n := b.issuer.jwks.Load(); n != 1 {
		t.Errorf("keys were read %d times, want 1 for both audiences", n)
	}
	_ = b.mustRefuse(t, sign(t, key, nil, claimsAt(b.clock.Now(), map[string]any{
		"iss": "https://no-audience.example.com", "aud": "",
	})), oidc.CodeUnknownIssuer)

	b.issuers.Store(&[]policylang.Issuer{})
	_ = b.mustRefuse(t, token(audience), oidc.CodeUnknownIssuer)

	b.issuers.Store(&both)
	b.mustAccept(t, token(audience))
	if n := b.issuer.jwks.Load(); n != 2 {
		t.Errorf("keys were read %d times, want 2: an issuer that was gone is read anew", n)
	}
}

func TestVerifyStopsWaitingWithItsContext(t *testing.T) {
	key := ecKey(t, "k1")
	b := newBench(t, key.public())
	release := make(chan struct{})
	b.issuer.set(func(*http.Request) (*http.Response, error) {
		<-release
		return nil, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Verify(ctx, sign(t, key, nil, claimsAt(b.clock.Now(), nil)))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error beneath", err)
	}
	close(release)
	b.mustAccept(t, sign(t, key, nil, claimsAt(b.clock.Now(), nil))) // shares the request that went on
	if n := b.issuer.jwks.Load(); n != 1 {
		t.Errorf("keys were read %d times, want 1", n)
	}
}
