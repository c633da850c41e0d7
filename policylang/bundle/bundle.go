// Package bundle seals policies and releases into signed bytes and opens them
// again. A bundle carries a policy's canonical source, so that its digest
// covers everything a gateway enforces and gateways compile it themselves. A
// release says which bundle a gateway must run. Both are signed by whoever
// publishes policy and merely stored by everyone in between: a store that is
// stolen can neither publish nor roll back.
//
// Most callers need [Seal] and [SealRelease] on one side, [OpenRelease] and
// [OpenReleased] on the other. Functions are pure and safe for concurrent use;
// an error always comes with a zero result.
//
// Both are one [DSSE] envelope with one Ed25519 signature, and there is one
// encoding of each: whatever differs from it in a byte is refused. The format is
// specified in docs/bundle-format.md, well enough for a second implementation.
//
// [DSSE]: https://github.com/secure-systems-lab/dsse
package bundle

import (
	"fmt"

	"github.com/posternhq/postern/policylang"
)

// The payload types of envelopes.
const (
	TypeBundle  = "application/vnd.postern.bundle.v1+json"
	TypeRelease = "application/vnd.postern.release.v1+json"
)

// The sizes in bytes above which an envelope is neither made nor read.
const (
	MaxBundleSize  = 32 << 20
	MaxReleaseSize = 16 << 10
)

// Info describes a bundle that was opened.
type Info struct {
	Digest string // of the policy: "sha256:" and 64 hexadecimal digits
	KeyID  string // of the trusted key that signed it
	Size   int    // of the envelope, in bytes
}

// Seal signs the canonical encoding of p. The same policy and Ed25519 key give
// the same bytes. An error wraps [ErrTooLarge] if the bundle would exceed
// [MaxBundleSize]; other errors are the policy's (two objects of one name, text
// that is not UTF-8) or the signer's.
func Seal(p *policylang.Policy, s Signer) ([]byte, error) {
	payload, err := p.Canonical()
	if err != nil {
		return nil, fmt.Errorf("seal bundle: %w", err)
	}
	// What cannot be read back must not be signed: text that is not UTF-8
	// would be replaced silently.
	if _, err := policylang.ParseCanonical(payload); err != nil {
		return nil, fmt.Errorf("seal bundle: %w", err)
	}
	data, err := seal(TypeBundle, payload, MaxBundleSize, s)
	if err != nil {
		return nil, fmt.Errorf("seal bundle: %w", err)
	}
	return data, nil
}

// Open verifies a bundle and returns its policy in canonical form. It does not
// say that the bundle is the one a gateway must run: see [OpenReleased]. The
// error wraps one of [ErrTooLarge], [ErrTruncated], [ErrMalformed],
// [ErrWrongType], [ErrUnknownKey], [ErrRevokedKey], [ErrSignature] and
// [ErrPayload].
func Open(data []byte, trusted KeyRing) (policylang.Policy, Info, error) {
	return openAside(data, trusted, func() {})
}

func openAside(data []byte, trusted KeyRing, yield func()) (policylang.Policy, Info, error) {
	e, err := open(TypeBundle, data, MaxBundleSize, trusted)
	if err != nil {
		return policylang.Policy{}, Info{}, fmt.Errorf("open bundle: %w", err)
	}
	p, err := policylang.ParseCanonicalAside(e.payload, yield)
	if err != nil {
		return policylang.Policy{}, Info{}, fmt.Errorf("open bundle: %w: %w", ErrPayload, err)
	}
	return p, Info{Digest: policylang.DigestBytes(e.payload), KeyID: e.keyID, Size: len(data)}, nil
}

// OpenReleased is [Open] for the bundle that r names: any other, however well
// signed, is refused with [ErrWrongBundle].
func OpenReleased(data []byte, r Release, trusted KeyRing) (policylang.Policy, Info, error) {
	return OpenReleasedAside(data, r, trusted, func() {})
}

// OpenReleasedAside is [OpenReleased] for who has something more urgent to do,
// as a gateway has: it calls yield between small pieces of work.
func OpenReleasedAside(data []byte, r Release, trusted KeyRing, yield func()) (policylang.Policy, Info, error) {
	p, info, err := openAside(data, trusted, yield)
	if err != nil {
		return policylang.Policy{}, Info{}, err
	}
	if info.Digest != r.Bundle {
		return policylang.Policy{}, Info{}, fmt.Errorf("open bundle: %w: revision %d names %s, this is %s",
			ErrWrongBundle, r.Revision, r.Bundle, info.Digest)
	}
	return p, info, nil
}
