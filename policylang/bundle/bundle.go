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
// # Envelope
//
// A bundle and a release are each one DSSE envelope
// (https://github.com/secure-systems-lab/dsse): a JSON object of exactly these
// members, in this order, without white space before, between or after:
//
//	{"payloadType":TYPE,"payload":PAYLOAD,"signatures":[{"keyid":KEYID,"sig":SIG}]}
//
// PAYLOAD and SIG are standard base64 (RFC 4648, section 4) with padding and
// with zero trailing bits. There is exactly one signature. It is Ed25519
// (RFC 8032) over DSSE's pre-authentication encoding of the type and the
// decoded payload, where SP is one space and LEN a decimal length in bytes:
//
//	"DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload
//
// There is one encoding of each envelope: a reader decodes, encodes again and
// refuses whatever differs, be it white space, an unknown or repeated member,
// an escape, another base64 or a trailing byte. Altering any byte makes an
// envelope unreadable. The type is part of what is signed, so that a release
// cannot pass as a bundle.
//
//	type                                        payload           envelope at most
//	application/vnd.postern.bundle.v1+json      canonical policy  32 MiB
//	application/vnd.postern.release.v1+json     canonical release 16 KiB
//
// # Bundle
//
// The payload is [policylang.Policy.Canonical]'s encoding, and only that:
// bytes that decode to a policy but are not its canonical encoding are
// refused. The bundle's digest is [policylang.DigestBytes] of the payload, and
// so equals [policylang.Policy.Digest].
//
// # Release
//
// The payload is one JSON object without white space and with exactly these
// members in this order, encoded as encoding/json does without HTML escapes:
//
//	version      1
//	gateway      name of the gateway that must run the bundle
//	bundle       digest of the bundle: "sha256:" and 64 lower-case hexadecimal digits
//	predecessor  digest of the bundle that was live before; "" for a gateway's first release
//	revision     from 1 to 2^53-1; a gateway never goes back to a lower one
//	time         when it was signed, UTC in whole seconds: "2006-01-02T15:04:05Z"
//	note         for people; at most 1,024 bytes
//
// Revisions grow but need not be contiguous. Rolling back means releasing an
// older bundle at a newer revision.
//
// # Keys
//
// A key has a name, 1 to 64 letters, digits, dots, underscores and hyphens of
// ASCII. Its fingerprint is the first 8 bytes, in hexadecimal, of SHA-256 over
// "postern-key-v1", a newline, the name, a newline and the 32 bytes of the
// public key. Its id, the envelope's KEYID, is the name, "+" and the
// fingerprint. As text a key is one line, with standard base64 of the public
// key or of the private key's 32-byte seed:
//
//	postern-public-key+NAME+FINGERPRINT+BASE64
//	postern-private-key+NAME+FINGERPRINT+BASE64
//
// Readers trust a [KeyRing], the text of which is one public key a line, blank
// lines and lines starting with # apart. A key is replaced by trusting both
// for a while, and revoked by trusting it no more, or by a line of "revoked",
// one space and its id, which outweighs the key's own line wherever that stands.
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
	e, err := open(TypeBundle, data, MaxBundleSize, trusted)
	if err != nil {
		return policylang.Policy{}, Info{}, fmt.Errorf("open bundle: %w", err)
	}
	p, err := policylang.ParseCanonical(e.payload)
	if err != nil {
		return policylang.Policy{}, Info{}, fmt.Errorf("open bundle: %w: %w", ErrPayload, err)
	}
	return p, Info{Digest: policylang.DigestBytes(e.payload), KeyID: e.keyID, Size: len(data)}, nil
}

// OpenReleased is [Open] for the bundle that r names: any other, however well
// signed, is refused with [ErrWrongBundle].
func OpenReleased(data []byte, r Release, trusted KeyRing) (policylang.Policy, Info, error) {
	p, info, err := Open(data, trusted)
	if err != nil {
		return policylang.Policy{}, Info{}, err
	}
	if info.Digest != r.Bundle {
		return policylang.Policy{}, Info{}, fmt.Errorf("open bundle: %w: revision %d names %s, this is %s",
			ErrWrongBundle, r.Revision, r.Bundle, info.Digest)
	}
	return p, info, nil
}
