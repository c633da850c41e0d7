package bundle

import "errors"

// What can be wrong with an envelope. Each error of this package about bytes
// that it was given wraps exactly one of these.
var (
	// ErrTooLarge says that the envelope exceeds its type's size.
	ErrTooLarge = errors.New("too large")
	// ErrTruncated says that the envelope ends too early.
	ErrTruncated = errors.New("truncated")
	// ErrMalformed says that the bytes are not an envelope in its one encoding.
	ErrMalformed = errors.New("malformed envelope")
	// ErrWrongType says that the envelope holds something else than was asked
	// for, such as a release where a bundle is wanted.
	ErrWrongType = errors.New("wrong payload type")
	// ErrUnknownKey says that the key that claims to have signed is not trusted.
	ErrUnknownKey = errors.New("unknown key")
	// ErrRevokedKey says that the key that claims to have signed is revoked.
	ErrRevokedKey = errors.New("revoked key")
	// ErrSignature says that the key named did not sign this: the envelope was
	// altered, or another key signed it.
	ErrSignature = errors.New("bad signature")
	// ErrPayload says that the payload is well signed but is not in canonical
	// form, or of a version that this one cannot read.
	ErrPayload = errors.New("unreadable payload")
)

// What can be wrong with a release that is well signed.
var (
	// ErrWrongGateway says that the release is another gateway's.
	ErrWrongGateway = errors.New("release of another gateway")
	// ErrRolledBack says that the revision is lower than one seen before.
	ErrRolledBack = errors.New("rolled back")
	// ErrFork says that two different releases have one revision.
	ErrFork = errors.New("forked history")
	// ErrWrongBundle says that a bundle is not the one its release names.
	ErrWrongBundle = errors.New("wrong bundle")
)
