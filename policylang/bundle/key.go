package bundle

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The first field of a key's text. The private one is meant to be found by
// scanners for leaked secrets.
const (
	publicPrefix  = "postern-public-key"
	privatePrefix = "postern-private-key"
)

const maxKeyName = 64

// Signer signs with one key. [*PrivateKey] is a Signer; [NewSigner] makes one
// of a key that stays in a hardware module or a key management service.
type Signer interface {
	PublicKey() PublicKey
	Sign(message []byte) ([]byte, error) // Ed25519 over message itself, not over a digest of it
}

// PublicKey verifies what one private key signed. It is comparable. The zero
// PublicKey verifies nothing.
type PublicKey struct {
	name string
	key  [ed25519.PublicKeySize]byte
}

// NewPublicKey names an Ed25519 public key.
func NewPublicKey(name string, key ed25519.PublicKey) (PublicKey, error) {
	if err := checkKeyName(name); err != nil {
		return PublicKey{}, err
	}
	if len(key) != ed25519.PublicKeySize {
		return PublicKey{}, fmt.Errorf("public key %q has %d bytes, want %d", name, len(key), ed25519.PublicKeySize)
	}
	return PublicKey{name: name, key: [ed25519.PublicKeySize]byte(key)}, nil
}

// ParsePublicKey reads the text of a public key. White space around it is
// ignored.
func ParsePublicKey(text string) (PublicKey, error) {
	name, fingerprint, raw, err := parseKey(publicPrefix, text)
	if err != nil {
		return PublicKey{}, fmt.Errorf("read public key: %w", err)
	}
	k, err := NewPublicKey(name, raw)
	if err != nil {
		return PublicKey{}, fmt.Errorf("read public key: %w", err)
	}
	if k.fingerprint() != fingerprint {
		return PublicKey{}, fmt.Errorf("read public key %q: its fingerprint is %s, the text says %q", name, k.fingerprint(), fingerprint)
	}
	return k, nil
}

// Name returns the key's name.
func (k PublicKey) Name() string { return k.name }

// ID returns the name, "+" and the fingerprint, as envelopes name the key.
func (k PublicKey) ID() string { return k.name + "+" + k.fingerprint() }

// String returns the key's text, on one line.
func (k PublicKey) String() string {
	return publicPrefix + "+" + k.ID() + "+" + base64.StdEncoding.EncodeToString(k.key[:])
}

func (k PublicKey) fingerprint() string {
	h := sha256.New()
	h.Write([]byte("postern-key-v1\n" + k.name + "\n"))
	h.Write(k.key[:])
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (k PublicKey) verify(message, signature []byte) bool {
	return k != PublicKey{} && ed25519.Verify(k.key[:], message, signature)
}

// PrivateKey signs. However it is formatted, it does not show its secret: only
// [PrivateKey.Secret] does.
type PrivateKey struct {
	public  PublicKey
	private ed25519.PrivateKey
}

// GenerateKey makes a new private key of that name.
func GenerateKey(name string) (*PrivateKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, fmt.Errorf("generate key %q: %w", name, err)
	}
	return newPrivateKey(name, seed)
}

// ParsePrivateKey reads the text of a private key. White space around it is
// ignored. An error never holds any of the secret.
func ParsePrivateKey(text string) (*PrivateKey, error) {
	name, fingerprint, seed, err := parseKey(privatePrefix, text)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	k, err := newPrivateKey(name, seed)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	if k.public.fingerprint() != fingerprint {
		return nil, errors.New("read private key: its fingerprint does not match: the text was altered")
	}
	return k, nil
}

func newPrivateKey(name string, seed []byte) (*PrivateKey, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("private key has %d bytes, want %d", len(seed), ed25519.SeedSize)
	}
	private := ed25519.NewKeyFromSeed(seed)
	public, err := NewPublicKey(name, ed25519.PublicKey(private[ed25519.SeedSize:]))
	if err != nil {
		return nil, err
	}
	return &PrivateKey{public: public, private: private}, nil
}

// PublicKey returns the key that verifies what k signs.
func (k *PrivateKey) PublicKey() PublicKey { return k.public }

// Sign signs the message.
func (k *PrivateKey) Sign(message []byte) ([]byte, error) {
	return ed25519.Sign(k.private, message), nil
}

// Secret returns the key's text, on one line: whoever has it can publish
// policy.
func (k *PrivateKey) Secret() string {
	return privatePrefix + "+" + k.public.ID() + "+" + base64.StdEncoding.EncodeToString(k.private.Seed())
}

// Format writes the key's id in place of its secret, for every verb.
func (k *PrivateKey) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, privatePrefix+"+"+k.public.ID()+"+REDACTED")
}

// NewSigner names a key that is held elsewhere. It must be an Ed25519 key that
// signs messages themselves ("pure" Ed25519).
func NewSigner(name string, s crypto.Signer) (Signer, error) {
	key, ok := s.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("key %q is a %T, want an Ed25519 key", name, s.Public())
	}
	public, err := NewPublicKey(name, key)
	if err != nil {
		return nil, err
	}
	return &remoteSigner{public: public, signer: s}, nil
}

type remoteSigner struct {
	public PublicKey
	signer crypto.Signer
}

func (s *remoteSigner) PublicKey() PublicKey { return s.public }

func (s *remoteSigner) Sign(message []byte) ([]byte, error) {
	return s.signer.Sign(rand.Reader, message, crypto.Hash(0))
}

// parseKey takes a key's text apart. Its errors may be shown: they never hold
// the last field.
func parseKey(prefix, text string) (name, fingerprint string, raw []byte, err error) {
	fields := strings.SplitN(strings.TrimSpace(text), "+", 4)
	if len(fields) != 4 || fields[0] != prefix {
		if fields[0] == privatePrefix {
			return "", "", nil, fmt.Errorf("this is a private key, want %s+NAME+FINGERPRINT+BASE64", prefix)
		}
		if fields[0] == publicPrefix {
			return "", "", nil, fmt.Errorf("this is a public key, want %s+NAME+FINGERPRINT+BASE64", prefix)
		}
		return "", "", nil, fmt.Errorf("not a key, want %s+NAME+FINGERPRINT+BASE64", prefix)
	}
	raw, err = base64.StdEncoding.Strict().DecodeString(fields[3])
	if err != nil {
		return "", "", nil, errors.New("its last field is not base64")
	}
	return fields[1], fields[2], raw, nil
}

// checkKeyID checks the form of a key's id.
func checkKeyID(id string) error {
	name, fingerprint, _ := strings.Cut(id, "+")
	if raw, err := hex.DecodeString(fingerprint); err != nil || len(raw) != 8 || fingerprint != strings.ToLower(fingerprint) {
		return fmt.Errorf("%q is not a key's id, want NAME+FINGERPRINT, as postern bundle keygen prints it", id)
	}
	return checkKeyName(name)
}

func checkKeyName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if name == "" || len(name) > maxKeyName || strings.Trim(name, allowed) != "" {
		return fmt.Errorf("key name %q is not 1 to %d letters, digits, dots, underscores and hyphens", name, maxKeyName)
	}
	return nil
}
