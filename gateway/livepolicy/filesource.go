package livepolicy

import (
	"context"
	"errors"
	"time"

	"github.com/posternhq/postern/policylang/bundle"
)

// FileSource is a directory laid out as the package comment says: put the
// bundle there first, then release.json, each by renaming. It may be on a
// shared volume, filled by a configuration tool, or another gateway's.
type FileSource struct {
	Dir      string
	Interval time.Duration // between looks at it; one second if zero

	spoke bool // the last call of Next failed or returned something, which may have been refused
}

// Next waits until the directory's release is not the one in force.
func (s *FileSource) Next(ctx context.Context, after bundle.Release) (sealedRelease, sealedBundle []byte, err error) {
	interval := s.Interval
	if interval <= 0 {
		interval = time.Second
	}
	spoke := s.spoke
	defer func() { s.spoke = err != nil || sealedRelease != nil }()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	dir := store{dir: s.Dir}
	for {
		release, claim, err := dir.loadRelease()
		switch {
		case errors.Is(err, errNothingKept):
		case err != nil:
			return nil, nil, err
		case claim.Revision != after.Revision || claim.Bundle != after.Bundle:
			sealedBundle, err := dir.loadBundle(claim)
			return release, sealedBundle, err
		}
		if spoke {
			return nil, nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-ticker.C:
		}
	}
}
