package authenticate

import (
	"strings"
	"testing"

	"github.com/posternhq/postern/policylang"
)

// bearerMessages are clients' OAUTHBEARER messages: what libpq 18 and pgx
// send, and what is refused.
var bearerMessages = []struct{ name, message, token, err string }{
	{name: "libpq", message: "n,,\x01auth=Bearer eyJh.eyJp.c2ln\x01\x01", token: "eyJh.eyJp.c2ln"},
	{name: "a client that could bind", message: "y,,\x01auth=Bearer a\x01\x01", token: "a"},
	{name: "scheme in capitals, more space", message: "n,,\x01auth=BEARER  a+/~-._=\x01\x01", token: "a+/~-._="},
	{name: "host and port", message: "n,,\x01host=db\x01port=5432\x01auth=Bearer a\x01\x01", token: "a"},
	{name: "discovery", message: "n,,\x01auth=\x01\x01", token: ""},
	{name: "channel binding", message: "p=tls-unique,,\x01auth=Bearer a\x01\x01", err: "GS2"},
	{name: "authorisation identity", message: "n,a=root,\x01auth=Bearer a\x01\x01", err: "GS2"},
	{name: "no header", message: "auth=Bearer a\x01\x01", err: "GS2"},
	{name: "no end", message: "n,,\x01auth=Bearer a\x01", err: "end"},
	{name: "bytes behind the end", message: "n,,\x01auth=Bearer a\x01\x01x", err: "end"},
	{name: "no key auth", message: "n,,\x01host=db\x01\x01", err: "no key auth"},
	{name: "two keys auth", message: "n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01", err: "twice"},
	{name: "two keys auth, the first empty", message: "n,,\x01auth=\x01auth=Bearer b\x01\x01", err: "twice"},
	{name: "another scheme", message: "n,,\x01auth=Basic YTpi\x01\x01", err: "scheme"},
	{name: "no token", message: "n,,\x01auth=Bearer \x01\x01", err: "scheme"},
	{name: "only padding", message: "n,,\x01auth=Bearer ==\x01\x01", err: "characters"},
	{name: "padding inside", message: "n,,\x01auth=Bearer a=b\x01\x01", err: "characters"},
	{name: "a space in the token", message: "n,,\x01auth=Bearer a b\x01\x01", err: "characters"},
	{name: "a zero byte", message: "n,,\x01auth=Bearer a\x00\x01\x01", err: "malformed"},
	{name: "a pair without =", message: "n,,\x01auth\x01\x01", err: "malformed"},
	{name: "an empty pair", message: "n,,\x01\x01auth=Bearer a\x01\x01", err: "malformed"},
	{name: "a key with digits", message: "n,,\x01a1=x\x01auth=Bearer a\x01\x01", err: "malformed"},
	{name: "empty", message: "", err: "GS2"},
	{name: "longest", message: "n,,\x01auth=Bearer " + strings.Repeat("a", maxBearer-len("n,,\x01auth=Bearer \x01\x01")) + "\x01\x01", token: strings.Repeat("a", maxBearer-len("n,,\x01auth=Bearer \x01\x01"))},
	{name: "too long", message: "n,,\x01auth=Bearer " + strings.Repeat("a", maxBearer) + "\x01\x01", err: "longer"},
}

func TestParseBearer(t *testing.T) {
	for _, test := range bearerMessages {
		t.Run(test.name, func(t *testing.T) {
			token, err := parseBearer([]byte(test.message))
			switch {
			case test.err == "" && (err != nil || token != test.token):
				t.Errorf("got %q, %v, want %q", token, err, test.token)
			case test.err != "" && (err == nil || token != "" || !strings.Contains(err.Error(), test.err)):
				t.Errorf("got %q, %v, want an error with %q", token, err, test.err)
			}
		})
	}
}

// FuzzParseBearer: what is accepted is, but for the scheme's case and other
// pairs, the message that would be made of the result.
func FuzzParseBearer(f *testing.F) {
	for _, test := range bearerMessages {
		f.Add([]byte(test.message))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		token, err := parseBearer(message)
		if err != nil {
			if token != "" {
				t.Error("an error with a result")
			}
			return
		}
		if strings.ContainsAny(token, "\x00\x01 \n") || !strings.HasSuffix(string(message), "\x01\x01") || !strings.Contains(string(message), token) {
			t.Errorf("%q gives %q", message, token)
		}
	})
}

// TestBearerChallenge sends clients to an identity provider, never to the
// control plane, which has no way to sign in by OAuth.
func TestBearerChallenge(t *testing.T) {
	a := New(Config{Issuers: func() []policylang.Issuer {
		return []policylang.Issuer{
			{Name: "acme", URL: "https://saml.example", SAMLMetadata: "<EntityDescriptor/>"}, {Name: "postern", URL: "https://control.example"}, {Name: "corp", URL: "https://login.example/realm/"}, {Name: "jobs", URL: "https://ci.example"},
		}
	}})
	for issuer, want := range map[string]string{
		"":     `{"status":"invalid_token","openid-configuration":"https://login.example/realm/.well-known/openid-configuration","scope":"openid"}`,
		"jobs": `{"status":"invalid_token","openid-configuration":"https://ci.example/.well-known/openid-configuration","scope":"openid"}`,
		"gone": `{"status":"invalid_token","scope":"openid"}`,
	} {
		if got := string(a.BearerChallenge(issuer, "openid")); got != want {
			t.Errorf("for the issuer %q it is %s, want %s", issuer, got, want)
		}
	}
}
