package evidence

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Key signs a journal's checkpoints. It belongs to one gateway and is not a key
// that publishes policy.
type Key struct {
	Signer   note.Signer
	Verifier string // the public key, as package note writes it: NAME+HASH+BASE64
}

// GenerateKey makes a key. The secret is one line, as package note writes it.
func GenerateKey(name string) (secret string, k Key, err error) {
	secret, verifier, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", Key{}, fmt.Errorf("generate evidence key: %w", err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return "", Key{}, fmt.Errorf("generate evidence key: %w", err)
	}
	return secret, Key{Signer: signer, Verifier: verifier}, nil
}

// LoadKey reads the key from a file, which it makes with a new key of that
// name, readable for this user alone, if there is none. Beside it, with ".pub"
// added, is the public key, for auditors to keep elsewhere.
func LoadKey(file, name string) (Key, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return createKey(file, name)
	}
	if err != nil {
		return Key{}, fmt.Errorf("load evidence key: %w", err)
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(data)))
	if err != nil {
		return Key{}, fmt.Errorf("load evidence key %s: it is damaged, or not an evidence key", file)
	}
	verifier, err := os.ReadFile(file + ".pub")
	if err != nil {
		return Key{}, fmt.Errorf("load evidence key: %w", err)
	}
	k := Key{Signer: signer, Verifier: strings.TrimSpace(string(verifier))}
	if err := k.check(); err != nil {
		return Key{}, fmt.Errorf("load evidence key %s: %w", file, err)
	}
	return k, nil
}

// check makes sure that both halves are one key.
func (k Key) check() error {
	if k.Signer == nil {
		return errors.New("no key to sign with")
	}
	v, err := note.NewVerifier(k.Verifier)
	if err != nil {
		return fmt.Errorf("public key: %w", err)
	}
	const message = "postern evidence key\n"
	signature, err := k.Signer.Sign([]byte(message))
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	if v.Name() != k.Signer.Name() || v.KeyHash() != k.Signer.KeyHash() || !v.Verify([]byte(message), signature) {
		return errors.New("the public key is not that of the private one")
	}
	return nil
}

func createKey(file, name string) (Key, error) {
	secret, k, err := GenerateKey(name)
	if err != nil {
		return Key{}, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return Key{}, fmt.Errorf("create evidence key: %w", err)
	}
	// The public half first: a crash between the two leaves no key, not half a one.
	if err := replaceFile(file+".pub", []byte(k.Verifier+"\n"), 0o644); err != nil {
		return Key{}, fmt.Errorf("create evidence key: %w", err)
	}
	if err := replaceFile(file, []byte(secret+"\n"), 0o600); err != nil {
		return Key{}, fmt.Errorf("create evidence key: %w", err)
	}
	return k, nil
}

// Verifiers reads public keys, one a line; blank lines and lines that start
// with # are ignored.
func Verifiers(text string) (note.Verifiers, error) {
	var list []note.Verifier
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := note.NewVerifier(line)
		if err != nil {
			return nil, fmt.Errorf("read evidence key %q: %w", line, err)
		}
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil, errors.New("read evidence keys: there is none")
	}
	return note.VerifierList(list...), nil
}
