package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// minRSABits is the least that RFC 7518 allows.
const minRSABits = 2048

// trustedKeys reads the published keys that may verify a signature. The others
// (for encryption, symmetric, too short, of an unknown kind) are left out.
func trustedKeys(published []json.RawMessage) []jose.JSONWebKey {
	var keys []jose.JSONWebKey
	for _, data := range published {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(data); err != nil {
			continue
		}
		if key.Use != "" && key.Use != "sig" {
			continue
		}
		if !key.Valid() || family(key.Key) == "" {
			continue
		}
		keys = append(keys, key)
	}
	return keys
}

// family returns the kind of signature that a public key verifies, "" for any
// other key.
func family(key any) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() >= minRSABits {
			return "RSA"
		}
	case *ecdsa.PublicKey:
		switch key.Curve.Params().BitSize {
		case 256:
			return string(jose.ES256)
		case 384:
			return string(jose.ES384)
		case 521:
			return string(jose.ES512)
		}
	case ed25519.PublicKey:
		return string(jose.EdDSA)
	}
	return ""
}

// fits reports whether a key is the one that the token names, and of the kind
// that its algorithm needs.
func fits(key jose.JSONWebKey, token envelope) bool {
	if token.keyID != "" && key.KeyID != token.keyID {
		return false
	}
	if key.Algorithm != "" && key.Algorithm != string(token.algorithm) {
		return false
	}
	want := string(token.algorithm)
	if strings.HasPrefix(want, "RS") || strings.HasPrefix(want, "PS") {
		want = "RSA"
	}
	return family(key.Key) == want
}

// signature checks one token's signature for go-oidc, whose errors don't wrap
// ours, and keeps what it found. It serves a single call.
type signature struct {
	token envelope
	keys  *keySet

	payload []byte
	failed  *Error
}

// VerifySignature implements go-oidc's KeySet.
func (s *signature) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(raw, algorithms())
	if err != nil {
		s.failed = refuse(CodeMalformed, "the token is not a signed JWT")
		return nil, s.failed
	}
	key, failed := s.keys.find(ctx, s.token)
	if failed != nil {
		s.failed = failed
		return nil, failed
	}
	payload, err := signed.Verify(key)
	if err != nil {
		s.failed = refuse(CodeSignature, "the signature does not match the key that %q publishes", s.token.issuer)
		return nil, s.failed
	}
	s.payload = payload
	return payload, nil
}
