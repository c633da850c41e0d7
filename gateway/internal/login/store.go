package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/zalando/go-keyring"
)

// Store keeps the login of this user on this machine: its tokens in the
// operating system's keyring and the rest in a file, or all of it in the file,
// which only the user may read.
type Store struct {
	File    string // the login; its directory is made
	Keyring bool   // try the keyring first
}

// ErrNone says that nobody is signed in.
var ErrNone = errors.New("you are not signed in; run: postern login")

const keyringService = "postern"

// DefaultStore is in the user's configuration directory. POSTERN_LOGIN_FILE
// names another file, and keeps the tokens in it.
func DefaultStore() (*Store, error) {
	if file := os.Getenv("POSTERN_LOGIN_FILE"); file != "" {
		return &Store{File: file}, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil, fmt.Errorf("find the directory for the login: %w", err)
	}
	return &Store{File: filepath.Join(dir, "postern", "login.json"), Keyring: true}, nil
}

// stored is the file's content: a login, with or without its tokens.
type stored struct {
	Login
	InKeyring bool `json:"in_keyring,omitempty"`
}

// secrets is what the keyring holds.
type secrets struct {
	IDToken string `json:"id_token"`
	Refresh string `json:"refresh_token,omitempty"`
}

// Save keeps a login in place of any other, and reports whether its tokens are
// in the keyring.
func (s *Store) Save(l *Login) (inKeyring bool, err error) {
	kept := stored{Login: *l}
	if s.Keyring {
		data, err := json.Marshal(secrets{l.IDToken, l.Refresh})
		if err != nil {
			return false, fmt.Errorf("keep the login: %w", err)
		}
		// Any failure means that there is no keyring to use: none runs, it is
		// locked, or it takes no text of this length.
		if keyring.Set(keyringService, l.Control, string(data)) == nil {
			kept.InKeyring, kept.IDToken, kept.Refresh = true, "", ""
		}
	}
	data, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return false, fmt.Errorf("keep the login: %w", err)
	}
	return kept.InKeyring, s.write(append(data, '\n'))
}

// write replaces the file as a whole, so that another process never reads half
// of it.
func (s *Store) write(data []byte) (err error) {
	dir := filepath.Dir(s.File)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	f, err := os.CreateTemp(dir, ".login-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.File)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep the login: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// Load returns the login, or ErrNone.
func (s *Store) Load() (*Login, error) {
	kept, err := s.read()
	if err != nil {
		return nil, err
	}
	if !kept.InKeyring {
		return &kept.Login, nil
	}
	text, err := keyring.Get(keyringService, kept.Control)
	if errors.Is(err, keyring.ErrNotFound) {
		return nil, ErrNone
	}
	var have secrets
	if err == nil {
		err = json.Unmarshal([]byte(text), &have)
	}
	if err != nil {
		return nil, fmt.Errorf("read the login from the keyring: %w", err)
	}
	kept.IDToken, kept.Refresh = have.IDToken, have.Refresh
	return &kept.Login, nil
}

func (s *Store) read() (*stored, error) {
	info, err := os.Stat(s.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("read the login: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("read the login: %s may be read by others; remove it and run: postern login", s.File)
	}
	data, err := os.ReadFile(s.File)
	if err != nil {
		return nil, fmt.Errorf("read the login: %w", err)
	}
	var kept stored
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, fmt.Errorf("read the login: %s is not one; remove it and run: postern login", s.File)
	}
	return &kept, nil
}

// Remove forgets the login. That there is none is fine.
func (s *Store) Remove() error {
	kept, err := s.read()
	if err == nil && kept.InKeyring {
		if err := keyring.Delete(keyringService, kept.Control); err != nil && !errors.Is(err, keyring.ErrNotFound) {
			return fmt.Errorf("remove the login from the keyring: %w", err)
		}
	}
	if err := os.Remove(s.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the login: %w", err)
	}
	return nil
}
