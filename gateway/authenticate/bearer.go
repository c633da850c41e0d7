package authenticate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/posternhq/postern/gateway/internal/api"
)

// MechanismOAuthBearer is the mechanism's name (RFC 7628). It is never offered
// together with SCRAM: libpq 18 takes the first of a list and fails.
const MechanismOAuthBearer = "OAUTHBEARER"

// BearerAcknowledged is how a client ends an exchange that failed (RFC 7628,
// section 3.2.3).
const BearerAcknowledged = "\x01"

// maxBearer bounds a client's message, in bytes.
const maxBearer = 65535

// errDiscovery is a client that sent no token, to be told where to get one
// (RFC 7628, section 4.3). It is no failed login.
var errDiscovery = errors.New("the client asks where to get a token")

// IsDiscovery reports whether an error of [Authenticator.Bearer] is a client
// that only asked where to get a token.
func IsDiscovery(err error) bool { return errors.Is(err, errDiscovery) }

// Bearer reads a client's OAUTHBEARER message and returns the claims of its
// token. An error is a [*Failure].
func (a *Authenticator) Bearer(ctx context.Context, message []byte) (map[string]any, error) {
	token, err := parseBearer(message)
	switch {
	case err != nil:
		return nil, &Failure{
			Code: "oauthbearer_malformed", Public: "the OAUTHBEARER message is malformed", Hint: "use libpq 18, or pgx 5.9, or newer",
			Reason: err.Error(), Err: err,
		}
	case token == "":
		return nil, &Failure{
			Code: "oauthbearer_discovery", Public: "no token was sent", Hint: "get one of the issuer that the server names, and connect again",
			Reason: errDiscovery.Error(), Err: errDiscovery,
		}
	}
	return a.Token(ctx, token)
}

// parseBearer reads the client's message (RFC 7628, section 3.1), with its one
// key "auth", and returns the token, or nothing if it only asks:
//
//	n,,^Aauth=Bearer TOKEN^A^A
//
// There is no authorisation identity and no channel binding, which PostgreSQL
// refuses too. Errors hold nothing of the message.
func parseBearer(message []byte) (token string, err error) {
	if len(message) > maxBearer {
		return "", errors.New("it is longer than 65535 bytes")
	}
	rest, ok := bytes.CutPrefix(message, []byte("n,,\x01"))
	if !ok {
		if rest, ok = bytes.CutPrefix(message, []byte("y,,\x01")); !ok {
			return "", errors.New("it does not begin with the GS2 header n,, or y,,")
		}
	}
	rest, ok = bytes.CutSuffix(rest, []byte("\x01\x01"))
	if !ok {
		return "", errors.New("it does not end with two times 0x01")
	}
	var value []byte
	found := false
	for _, pair := range bytes.Split(rest, []byte{1}) {
		name, v, ok := bytes.Cut(pair, []byte("="))
		switch {
		case !ok || !isKey(name) || slices.ContainsFunc(v, func(b byte) bool { return b < ' ' || b > '~' }):
			return "", errors.New("a key and value pair is malformed")
		case string(name) == "auth" && found:
			return "", errors.New("it has the key auth twice")
		case string(name) == "auth":
			value, found = v, true
		}
	}
	if !found {
		return "", errors.New("it has no key auth")
	}
	return bearerToken(string(value))
}

func isKey(name []byte) bool {
	return len(name) > 0 && !slices.ContainsFunc(name, func(b byte) bool { return (b|0x20) < 'a' || (b|0x20) > 'z' })
}

// bearerToken reads "Bearer TOKEN", whose scheme is in letters of any case (RFC
// 6750, section 2.1).
func bearerToken(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	scheme, token, _ := strings.Cut(value, " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", errors.New("auth is not of the scheme Bearer")
	}
	body := strings.TrimRight(token, "=")
	if body == "" || strings.ContainsFunc(body, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	}) {
		return "", errors.New("the bearer token has characters that none has")
	}
	return token, nil
}

// BearerChallenge is what a client is told whose token is missing or refused
// (RFC 7628, section 3.2.2): where the issuer of the policy is discovered that
// is named, or the first that is an identity provider.
func (a *Authenticator) BearerChallenge(issuer, scope string) []byte {
	challenge := struct {
		Status        string `json:"status"`
		Configuration string `json:"openid-configuration,omitempty"`
		Scope         string `json:"scope"`
	}{Status: "invalid_token", Scope: scope}
	for _, i := range a.issuers() {
		if i.SAMLMetadata != "" { // it has nothing to discover
			continue
		}
		if i.Name == issuer || issuer == "" && i.Name != api.CredentialIssuer {
			challenge.Configuration = strings.TrimSuffix(i.URL, "/") + "/.well-known/openid-configuration"
			break
		}
	}
	text, err := json.Marshal(challenge)
	if err != nil { // three strings
		return []byte(`{"status":"invalid_token"}`)
	}
	return text
}
