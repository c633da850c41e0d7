package mask

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"
)

// minSecretBytes is the least secret that hashes and tokens are made with.
const minSecretBytes = 32

// Keys derives what hash and token need from one secret. All gateways that
// share the secret give equal values equal hashes and tokens.
type Keys struct {
	secret []byte

	mu       sync.Mutex
	policies map[string]*policyKeys // guarded by mu
}

// NewKeys returns the keys of a secret of at least 32 bytes. It copies them.
func NewKeys(secret []byte) (*Keys, error) {
	if len(secret) < minSecretBytes {
		return nil, fmt.Errorf("make masking keys: the secret has %d bytes, want at least %d", len(secret), minSecretBytes)
	}
	return &Keys{secret: append([]byte(nil), secret...), policies: make(map[string]*policyKeys)}, nil
}

// policyKeys is one masking policy's keys: HMAC-SHA-256 under a key of its own,
// and AES-256 under another for the round function of tokens.
type policyKeys struct {
	block cipher.Block
	pool  sync.Pool // of *scratch
}

// of returns a masking policy's keys.
func (k *Keys) of(policy string) *policyKeys {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.policies[policy]
	if p == nil {
		hashKey := k.derive("hash", policy)
		block, err := aes.NewCipher(k.derive("token", policy))
		if err != nil {
			panic(fmt.Sprintf("mask: %v", err)) // the key has 32 bytes: cannot fail
		}
		p = &policyKeys{block: block}
		p.pool.New = func() any { return &scratch{mac: hmac.New(sha256.New, hashKey)} }
		k.policies[policy] = p
	}
	return p
}

func (k *Keys) derive(use, policy string) []byte {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte("postern mask v1 " + use + "\x00" + policy))
	return mac.Sum(nil)
}

// scratch is what one value needs while it is rewritten: buffers that would
// escape to the heap for each value.
type scratch struct {
	mac  hash.Hash
	sum  []byte // of the last digest
	text []byte // a canonical form

	symbols []byte // what is permuted
	radix   []byte // of each symbol; 0 stands for 256
	extra   []byte // what the permutation depends on besides
	base    [aes.BlockSize]byte
	state   [aes.BlockSize]byte
	stream  [aes.BlockSize]byte
}

// maxScratch is the largest buffer that is kept for the next value.
const maxScratch = 64 << 10

// get lends a scratch, which put takes back, its contents wiped.
func (k *policyKeys) get() *scratch {
	s, ok := k.pool.Get().(*scratch)
	if !ok {
		panic("mask: the pool holds something else") // New makes nothing else
	}
	return s
}

func (k *policyKeys) put(s *scratch) {
	for _, buffer := range []*[]byte{&s.text, &s.symbols, &s.radix, &s.extra} {
		clear(*buffer)
		if *buffer = (*buffer)[:0]; cap(*buffer) > maxScratch {
			*buffer = nil
		}
	}
	s.mac.Reset()
	k.pool.Put(s)
}

// digest is the HMAC of a canonical form. It is valid until the next one.
func (s *scratch) digest(canonical []byte) []byte {
	s.mac.Reset()
	s.mac.Write(canonical)
	s.sum = s.mac.Sum(s.sum[:0])
	return s.sum
}
