package livepolicy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/posternhq/postern/policylang/bundle"
)

const (
	releaseFile  = "release.json"
	bundleSuffix = ".bundle.json"
	tempPattern  = ".tmp-*"
)

// errNothingKept says that there is no policy on disk.
var errNothingKept = errors.New("no policy is kept")

// store keeps the policy in force on disk, laid out as the package comment
// says. With an empty dir it keeps nothing.
type store struct{ dir string }

// prepare makes the directory, readable for this user alone, and removes what
// a crash left in it.
func (s store) prepare() error {
	if s.dir == "" {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(s.dir, tempPattern))
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// load reads the release and the bundle that it names. Nothing is verified.
func (s store) load() (sealed, error) {
	release, claim, err := s.loadRelease()
	if err != nil {
		return sealed{}, err
	}
	sealedBundle, err := s.loadBundle(claim)
	return sealed{release: release, bundle: sealedBundle}, err
}

// loadRelease reads the release, and what it claims to be.
func (s store) loadRelease() ([]byte, bundle.Release, error) {
	if s.dir == "" {
		return nil, bundle.Release{}, errNothingKept
	}
	data, err := readLimited(filepath.Join(s.dir, releaseFile), bundle.MaxReleaseSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, bundle.Release{}, errNothingKept
	}
	if err != nil {
		return nil, bundle.Release{}, err
	}
	claim, err := bundle.InspectUnverified(data)
	switch {
	case err != nil:
		return nil, bundle.Release{}, fmt.Errorf("%s: %w", releaseFile, err)
	case claim.Type != bundle.TypeRelease:
		return nil, bundle.Release{}, fmt.Errorf("%s: %w: %q", releaseFile, bundle.ErrWrongType, claim.Type)
	}
	return data, claim.Release, nil
}

func (s store) loadBundle(r bundle.Release) ([]byte, error) {
	return readLimited(filepath.Join(s.dir, bundleFile(r.Bundle)), bundle.MaxBundleSize)
}

// save replaces what is kept. A crash at any point leaves either.
func (s store) save(p sealed) error {
	if s.dir == "" {
		return nil
	}
	claim, err := bundle.InspectUnverified(p.release)
	if err != nil {
		return err
	}
	name := bundleFile(claim.Release.Bundle)
	if err := s.write(name, p.bundle); err != nil {
		return err
	}
	if err := s.write(releaseFile, p.release); err != nil {
		return err
	}
	return s.removeOthers(name)
}

// removeOthers deletes the bundles of former releases.
func (s store) removeOthers(keep string) error {
	bundles, err := filepath.Glob(filepath.Join(s.dir, "sha256-*"+bundleSuffix))
	if err != nil {
		return err
	}
	for _, path := range bundles {
		if filepath.Base(path) == keep {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// write replaces a file: readers see all of the old or all of the new.
func (s store) write(name string, data []byte) (err error) {
	f, err := os.CreateTemp(s.dir, tempPattern)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one that counts
		}
	}()
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(s.dir, name)); err != nil {
		return err
	}
	return syncDir(s.dir)
}

// bundleFile is a bundle's file name: the digest, without the colon.
func bundleFile(digest string) string {
	return strings.Replace(digest, ":", "-", 1) + bundleSuffix
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readLimited reads a file, and one byte more than the limit at most: opening
// what is in it then says that it is too large.
func readLimited(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	return data, errors.Join(err, f.Close())
}
