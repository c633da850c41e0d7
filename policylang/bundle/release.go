package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// releaseVersion is the version of a release's payload.
const releaseVersion = 1

// MaxRevision is the highest revision: the largest integer that every JSON
// reader and SQL store holds exactly.
const MaxRevision = 1<<53 - 1

// maxNote and maxGatewayName keep releases small, in bytes.
const (
	maxNote        = 1024
	maxGatewayName = 128
)

// Release says which bundle a gateway must run. Releases are comparable with
// == once they were opened. The zero Release stands for "none yet".
type Release struct {
	Gateway     string    // the gateway's name
	Bundle      string    // digest of the bundle to run
	Predecessor string    // digest of the bundle that was live before; empty for the first release
	Revision    uint64    // from 1 to MaxRevision; only grows
	Time        time.Time // when it was signed; UTC, whole seconds
	Note        string    // for people; at most 1,024 bytes
}

// canonicalRelease is a release's payload. Its member order is the format's.
type canonicalRelease struct {
	Version     int       `json:"version"`
	Gateway     string    `json:"gateway"`
	Bundle      string    `json:"bundle"`
	Predecessor string    `json:"predecessor"`
	Revision    uint64    `json:"revision"`
	Time        time.Time `json:"time"`
	Note        string    `json:"note"`
}

// SealRelease signs r. Its time is brought to UTC and whole seconds. An error
// says which field is out of its bounds, or is the signer's.
func SealRelease(r Release, s Signer) ([]byte, error) {
	r.Time = r.Time.UTC().Truncate(time.Second)
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("seal release: %w", err)
	}
	payload, err := r.canonical()
	if err != nil {
		return nil, fmt.Errorf("seal release: %w", err)
	}
	data, err := seal(TypeRelease, payload, MaxReleaseSize, s)
	if err != nil {
		return nil, fmt.Errorf("seal release: %w", err)
	}
	return data, nil
}

// OpenRelease verifies a release and that it is the named gateway's. It cannot
// know what was released before: see [Release.Follows]. The error wraps
// [ErrWrongGateway] or one of the errors that [Open] names.
func OpenRelease(data []byte, trusted KeyRing, gateway string) (Release, error) {
	e, err := open(TypeRelease, data, MaxReleaseSize, trusted)
	if err != nil {
		return Release{}, fmt.Errorf("open release: %w", err)
	}
	r, err := parseRelease(e.payload)
	if err != nil {
		return Release{}, fmt.Errorf("open release: %w", err)
	}
	if r.Gateway != gateway {
		return Release{}, fmt.Errorf("open release: %w: it is for %q, this is %q", ErrWrongGateway, r.Gateway, gateway)
	}
	return r, nil
}

// Follows reports whether a gateway that runs prev may run r: prev is the zero
// Release, or r is prev itself, or r is the same gateway's at a higher
// revision. The error wraps [ErrWrongGateway], [ErrRolledBack] or [ErrFork].
// Two releases at one revision are the same if they name the same bundle and
// predecessor, whenever each was signed. A gateway that was away has not seen
// every release, so r's predecessor need not be prev's bundle.
func (r Release) Follows(prev Release) error {
	switch {
	case prev == Release{}:
		return nil
	case r.Gateway != prev.Gateway:
		return fmt.Errorf("%w: it is for %q, this is %q", ErrWrongGateway, r.Gateway, prev.Gateway)
	case r.Revision < prev.Revision:
		return fmt.Errorf("%w: revision %d after %d", ErrRolledBack, r.Revision, prev.Revision)
	case r.Revision == prev.Revision && (r.Bundle != prev.Bundle || r.Predecessor != prev.Predecessor):
		return fmt.Errorf("%w: revision %d names bundle %s after %s and now bundle %s after %s", ErrFork, r.Revision,
			prev.Bundle, orNone(prev.Predecessor), r.Bundle, orNone(r.Predecessor))
	}
	return nil
}

func (r Release) check() error {
	var errs []error
	if r.Gateway == "" || len(r.Gateway) > maxGatewayName || !utf8.ValidString(r.Gateway) {
		errs = append(errs, fmt.Errorf("gateway %q is not a name of 1 to %d bytes", r.Gateway, maxGatewayName))
	}
	if !isDigest(r.Bundle) {
		errs = append(errs, fmt.Errorf("bundle %q is not a digest", r.Bundle))
	}
	if r.Predecessor != "" && !isDigest(r.Predecessor) {
		errs = append(errs, fmt.Errorf("predecessor %q is not a digest", r.Predecessor))
	}
	if r.Revision == 0 || r.Revision > MaxRevision {
		errs = append(errs, fmt.Errorf("revision %d is not between 1 and %d", r.Revision, uint64(MaxRevision)))
	}
	if y := r.Time.Year(); y < 1970 || y > 9999 || r.Time.Nanosecond() != 0 || r.Time.Location() != time.UTC {
		errs = append(errs, fmt.Errorf("time %s is not in UTC, whole seconds and this era", r.Time.Format(time.RFC3339Nano)))
	}
	if len(r.Note) > maxNote || !utf8.ValidString(r.Note) {
		errs = append(errs, fmt.Errorf("note of %d bytes is not UTF-8 of at most %d bytes", len(r.Note), maxNote))
	}
	return errors.Join(errs...)
}

func (r Release) canonical() ([]byte, error) {
	return marshal(canonicalRelease{
		Version: releaseVersion, Gateway: r.Gateway, Bundle: r.Bundle, Predecessor: r.Predecessor,
		Revision: r.Revision, Time: r.Time, Note: r.Note,
	})
}

// parseRelease reads a canonical release and nothing else.
func parseRelease(payload []byte) (Release, error) {
	var c canonicalRelease
	if err := json.Unmarshal(payload, &c); err != nil {
		return Release{}, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	if c.Version != releaseVersion {
		return Release{}, fmt.Errorf("%w: release version %d is not supported, want %d", ErrPayload, c.Version, releaseVersion)
	}
	r := Release{
		Gateway: c.Gateway, Bundle: c.Bundle, Predecessor: c.Predecessor,
		Revision: c.Revision, Time: c.Time.UTC(), Note: c.Note,
	}
	if err := r.check(); err != nil {
		return Release{}, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	again, err := r.canonical()
	if err != nil {
		return Release{}, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	if !bytes.Equal(again, payload) {
		return Release{}, fmt.Errorf("%w: the encoding is not canonical", ErrPayload)
	}
	return r, nil
}

func isDigest(s string) bool {
	digits, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == ""
}

func orNone(digest string) string {
	if digest == "" {
		return "none"
	}
	return digest
}
