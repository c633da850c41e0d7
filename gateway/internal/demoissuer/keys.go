package demoissuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// signingKey is a private key and the name it is published under, its RFC 7638
// thumbprint.
type signingKey struct {
	id      string
	private crypto.Signer
	signer  jose.Signer
}

func newSigningKey(algorithm jose.SignatureAlgorithm) (signingKey, error) {
	private, err := generate(algorithm)
	if err != nil {
		return signingKey{}, err
	}
	public := jose.JSONWebKey{Key: private.Public()}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return signingKey{}, fmt.Errorf("name the key: %w", err)
	}
	id := base64.RawURLEncoding.EncodeToString(thumbprint)
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: algorithm, Key: private},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", id))
	if err != nil {
		return signingKey{}, fmt.Errorf("make the signer: %w", err)
	}
	return signingKey{id: id, private: private, signer: signer}, nil
}

func generate(algorithm jose.SignatureAlgorithm) (crypto.Signer, error) {
	switch algorithm {
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.RS256:
		return rsa.GenerateKey(rand.Reader, 2048)
	default:
		return nil, fmt.Errorf("algorithm %q is not known, want ES256 or RS256", algorithm)
	}
}

// Rotate makes a new key that signs from now on. The older keys stay
// published, so that their tokens stay valid.
func (i *Issuer) Rotate() error {
	key, err := newSigningKey(i.algorithm)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, key)
	return nil
}

// Remove withdraws all keys but the newest, which signs: tokens of the others
// must not be believed any more.
func (i *Issuer) Remove() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// Issue returns a token that is valid from now on for ttl. "iss", "iat", "exp"
// and "jti" are set unless claims has them; a claim that is nil is left out.
// Issue panics when a claim has no JSON encoding.
func (i *Issuer) Issue(claims map[string]any, ttl time.Duration) string {
	now := i.clock()
	all := map[string]any{
		"iss": i.url, "iat": now.Unix(), "exp": now.Add(ttl).Unix(), "jti": rand.Text(),
	}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(all)
	if err != nil {
		panic(fmt.Sprintf("demo issuer: encode claims: %v", err))
	}
	return i.sign(payload)
}

func (i *Issuer) sign(payload []byte) string {
	i.mu.Lock()
	key := i.keys[len(i.keys)-1]
	i.mu.Unlock()
	signed, err := key.signer.Sign(payload)
	if err != nil {
		panic(fmt.Sprintf("demo issuer: sign: %v", err)) // an in-memory key of the right kind: cannot fail
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic(fmt.Sprintf("demo issuer: serialize: %v", err)) // one signature, attached payload: cannot fail
	}
	return token
}

// publicKeys returns what the key endpoint serves.
func (i *Issuer) publicKeys() jose.JSONWebKeySet {
	i.mu.Lock()
	defer i.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, k := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{
			Key: k.private.Public(), KeyID: k.id, Algorithm: string(i.algorithm), Use: "sig",
		})
	}
	return set
}
