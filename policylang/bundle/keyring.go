package bundle

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// KeyRing is the public keys that a reader trusts, immutable. The zero KeyRing
// trusts nobody.
type KeyRing struct {
	byID    map[string]PublicKey
	revoked map[string]bool // ids of keys that are not to be trusted whatever else says so
}

// revokedPrefix starts the line that revokes a key.
const revokedPrefix = "revoked "

// NewKeyRing trusts the keys. Two keys of one id are an error.
func NewKeyRing(keys ...PublicKey) (KeyRing, error) {
	byID := make(map[string]PublicKey, len(keys))
	for _, k := range keys {
		if (k == PublicKey{}) {
			return KeyRing{}, errors.New("make key ring: a key is empty")
		}
		if known, dup := byID[k.ID()]; dup && known != k {
			return KeyRing{}, fmt.Errorf("make key ring: two keys have the id %q", k.ID())
		}
		byID[k.ID()] = k
	}
	return KeyRing{byID: byID}, nil
}

// ParseKeyRing reads one public key, or "revoked" and a key's id, a line. Blank
// lines and lines that start with # are ignored. A key that is revoked is not
// trusted, wherever its own line stands. A ring without any key is an error,
// since it would refuse everything.
func ParseKeyRing(text string) (KeyRing, error) {
	var keys []PublicKey
	var errs []error
	revoked := map[string]bool{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if id, ok := strings.CutPrefix(line, revokedPrefix); ok {
			id = strings.TrimSpace(id)
			if err := checkKeyID(id); err != nil {
				errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			}
			revoked[id] = true
			continue
		}
		k, err := ParsePublicKey(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		keys = append(keys, k)
	}
	if err := errors.Join(errs...); err != nil {
		return KeyRing{}, fmt.Errorf("read key ring: %w", err)
	}
	keys = slices.DeleteFunc(keys, func(k PublicKey) bool { return revoked[k.ID()] })
	if len(keys) == 0 {
		return KeyRing{}, errors.New("read key ring: it holds no key that is not revoked")
	}
	ring, err := NewKeyRing(keys...)
	ring.revoked = revoked
	return ring, err
}

// Trusts reports whether the key of that id is trusted.
func (r KeyRing) Trusts(id string) bool {
	_, ok := r.byID[id]
	return ok
}

// Equal reports whether two rings trust, and revoke, the same keys.
func (r KeyRing) Equal(other KeyRing) bool {
	return maps.Equal(r.byID, other.byID) && maps.Equal(r.revoked, other.revoked)
}

// Keys returns the trusted keys, sorted by id.
func (r KeyRing) Keys() []PublicKey {
	keys := make([]PublicKey, 0, len(r.byID))
	for _, id := range r.ids() {
		keys = append(keys, r.byID[id])
	}
	return keys
}

// String returns the ring's text, which [ParseKeyRing] reads.
func (r KeyRing) String() string {
	var b strings.Builder
	for _, k := range r.Keys() {
		b.WriteString(k.String() + "\n")
	}
	for _, id := range slices.Sorted(maps.Keys(r.revoked)) {
		b.WriteString(revokedPrefix + id + "\n")
	}
	return b.String()
}

func (r KeyRing) ids() []string { return slices.Sorted(maps.Keys(r.byID)) }
