package oidc

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// maxTokenBytes bounds a token before anything reads it.
const maxTokenBytes = 64 << 10

// algorithms lists the signature algorithms that are accepted: asymmetric ones
// alone, so that a public key can never serve as an HMAC secret.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

func algorithmNames() []string {
	var names []string
	for _, a := range algorithms() {
		names = append(names, string(a))
	}
	return names
}

// envelope is what a token says about itself before its signature was checked:
// good for choosing keys, and for nothing else.
type envelope struct {
	raw       string
	algorithm jose.SignatureAlgorithm
	keyID     string
	issuer    string
	audience  []string

	kind kind
}

// parseEnvelope reads the header of a compact JWS and the claims that choose
// the verifier.
func parseEnvelope(raw string) (envelope, *Error) {
	if len(raw) > maxTokenBytes {
		return envelope{}, refuse(CodeMalformed, "longer than %d bytes", maxTokenBytes)
	}
	if strings.ContainsFunc(raw, notBase64URL) {
		return envelope{}, refuse(CodeMalformed, "not a token: it has characters that no JWT has")
	}
	parts := strings.Split(raw, ".")
	if len(parts) == 5 {
		return envelope{}, refuse(CodeMalformed, "an encrypted token, or none")
	}
	if len(parts) != 3 {
		return envelope{}, refuse(CodeMalformed, "not a token: a JWT has three parts")
	}
	header, ok := decodeObject(parts[0])
	if !ok {
		return envelope{}, refuse(CodeMalformed, "not a token: the first part is no JSON object")
	}
	token := envelope{raw: raw}
	if err := token.readHeader(header); err != nil {
		return envelope{}, err
	}
	claims, ok := decodeObject(parts[1])
	if !ok {
		return envelope{}, refuse(CodeMalformed, "not a token: the second part is no JSON object")
	}
	token.issuer, ok = claims["iss"].(string)
	if !ok {
		return envelope{}, refuse(CodeMalformed, "the token has no issuer")
	}
	token.audience, _ = stringOrList(claims["aud"])
	return token, nil
}

// notBase64URL reports the characters that a compact JWS never has; the
// standard library's decoder would skip line breaks.
func notBase64URL(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		return false
	}
	return true
}

func (e *envelope) readHeader(header map[string]any) *Error {
	if _, critical := header["crit"]; critical {
		return refuse(CodeTokenType, "the token has critical extensions")
	}
	algorithm, _ := header["alg"].(string)
	e.algorithm = jose.SignatureAlgorithm(algorithm)
	if !slices.Contains(algorithms(), e.algorithm) {
		return refuse(CodeAlgorithm, "the token is unsigned, or its algorithm is not one of %s",
			strings.Join(algorithmNames(), ", "))
	}
	if kid, present := header["kid"]; present {
		id, ok := kid.(string)
		if !ok {
			return refuse(CodeMalformed, "the token's key id is not a string")
		}
		e.keyID = id
	}
	typ, present := header["typ"]
	e.kind = kindOf(typ)
	if present && e.kind == kindBearer && !isLoginType(typ) {
		return refuse(CodeTokenType, "the token's type is neither JWT nor at+jwt, nor that of a credential")
	}
	return nil
}

// isLoginType reports whether a header's "typ" is that of an ID token or of an
// access token (RFC 9068), not of a logout token, a DPoP proof and so on.
func isLoginType(typ any) bool {
	name, ok := typ.(string)
	if !ok {
		return false
	}
	name = strings.TrimPrefix(strings.ToLower(name), "application/")
	return name == "jwt" || name == "at+jwt"
}

func decodeObject(part string) (map[string]any, bool) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, false
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		return nil, false
	}
	return object, true
}
