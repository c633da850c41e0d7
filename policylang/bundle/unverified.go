package bundle

import (
	"fmt"

	"github.com/posternhq/postern/policylang"
)

// Unverified is what an envelope says of itself. Anybody may have made it: it
// is for stores, which keep envelopes by what they claim and leave the
// verifying to whoever enforces them.
type Unverified struct {
	Type    string            // TypeBundle or TypeRelease
	KeyID   string            // of the key that claims to have signed it
	Digest  string            // of the payload; a bundle's digest
	Policy  policylang.Policy // of a bundle
	Release Release           // of a release
}

// InspectUnverified reads a bundle or a release without any key. It is as
// strict as [Open] and [OpenRelease] about form, and verifies no signature.
func InspectUnverified(data []byte) (Unverified, error) {
	u, err := inspect(data)
	if err != nil {
		return Unverified{}, fmt.Errorf("inspect envelope: %w", err)
	}
	return u, nil
}

func inspect(data []byte) (Unverified, error) {
	e, err := decode(data, MaxBundleSize)
	if err != nil {
		return Unverified{}, err
	}
	u := Unverified{Type: e.payloadType, KeyID: e.keyID, Digest: policylang.DigestBytes(e.payload)}
	switch e.payloadType {
	case TypeBundle:
		u.Policy, err = policylang.ParseCanonical(e.payload)
		if err != nil {
			return Unverified{}, fmt.Errorf("%w: %w", ErrPayload, err)
		}
	case TypeRelease:
		if len(data) > MaxReleaseSize {
			return Unverified{}, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLarge, len(data), MaxReleaseSize)
		}
		u.Release, err = parseRelease(e.payload)
		if err != nil {
			return Unverified{}, err
		}
	default:
		return Unverified{}, fmt.Errorf("%w: %q", ErrWrongType, e.payloadType)
	}
	return u, nil
}
